//! A cluster whose plans are made in its facts, as the nodes would make them, and planned again.

use std::net::Ipv4Addr;

use enxame_core::areas::tunnel::{
    self, CONF_PATH, INTERFACE, NETWORK_PATH, UNIT, UNIT_PATH, conf, unmanaged,
};
use enxame_core::areas::{self, Action, storage};
use enxame_core::change::{Change, Handover};
use enxame_core::config::Config;
use enxame_core::declare::Severity;
use enxame_core::facts::{
    ClusterFacts, DeviceFacts, DirectoryFacts, ExportFacts, FileFacts, InterfaceFacts, KeyFacts, LinkFacts,
    MountFacts, NodeFacts, Observed, PackageFacts, PeerFacts, PlaceFacts, PublicKey, ServerFacts,
    TunnelFacts, UnitFacts,
};
use enxame_core::files::OwnedFile;
use enxame_core::names::NodeName;
use enxame_core::plan::{self, Plan};

use super::{directory, facts};

pub(crate) struct World {
    pub(crate) yaml: String,
    pub(crate) facts: ClusterFacts,
    /// Keys that were made so far: each is another.
    made: u8,
}

impl World {
    /// What a scenario begins with.
    pub(crate) fn of(scenario: &str) -> Self {
        let folder = directory().join(scenario);
        let yaml = std::fs::read_to_string(folder.join("cluster.yaml")).unwrap();
        Self { yaml, facts: facts::read(&directory(), &folder.join("facts.json")), made: 0 }
    }

    pub(crate) fn config(&self) -> Config {
        Config::parse("cluster.yaml", &self.yaml).unwrap()
    }

    pub(crate) fn plan(&self) -> Plan {
        plan::make(&self.config(), &self.facts, None, areas::resources()).unwrap()
    }

    /// What is planned of the tunnels and of what is shared in them.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let changes = self.plan().changes.into_iter();
        changes.filter(|change| matches!(change.action, Action::Tunnel(_) | Action::Storage(_))).collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.changes().iter().map(|change| change.id.to_string()).collect()
    }

    pub(crate) fn only_change(&self) -> Change {
        let mut changes = self.changes();
        assert_eq!(changes.len(), 1, "{changes:?}");
        changes.remove(0)
    }

    pub(crate) fn only_of(&self, node: &str) -> Change {
        let mut changes = self.changes();
        changes.retain(|change| change.node.as_str() == node);
        assert_eq!(changes.len(), 1, "{changes:?}");
        changes.remove(0)
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        let findings = self.plan().findings.into_iter();
        findings.filter(|one| one.severity == Severity::Error).map(|one| one.message).collect()
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut NodeFacts {
        self.facts.get_mut(&NodeName::new(name).unwrap()).unwrap()
    }

    pub(crate) fn seen(&self, name: &str) -> &NodeFacts {
        self.facts.get(&NodeName::new(name).unwrap()).unwrap()
    }

    pub(crate) fn key(&self, name: &str) -> PublicKey {
        self.seen(name).tunnel.key.public().unwrap().clone()
    }

    pub(crate) fn conf(&self, name: &str) -> String {
        self.seen(name).files.get(CONF_PATH).unwrap().content().unwrap().to_owned()
    }

    pub(crate) fn apply(&mut self) {
        for change in self.changes() {
            self.make(&change);
        }
    }

    pub(crate) fn make(&mut self, change: &Change) {
        match &change.action {
            Action::Tunnel(action) => self.make_tunnel(change, action),
            Action::Storage(action) => {
                let address = self.config().node(&change.node).unwrap().tunnel.unwrap();
                make_storage(self.facts.get_mut(&change.node).unwrap(), address, action);
            }
            _ => {}
        }
    }

    fn make_tunnel(&mut self, change: &Change, action: &tunnel::Action) {
        match action {
            tunnel::Action::Key(_) => {
                let public = key(self.made);
                self.made += 1;
                let node = self.facts.get_mut(&change.node).unwrap();
                node.tunnel.key = KeyFacts::Usable { public, mode: 0o600 };
                let installed = PackageFacts { installed: Some("1.0".to_owned()), is_held: false };
                node.packages.insert("wireguard-tools".to_owned(), installed);
            }
            tunnel::Action::Interface(action) => {
                let from = match &change.handover {
                    Some(Handover::TunnelKeys { from }) => from.as_slice(),
                    _ => &[],
                };
                let handed = from.iter().map(|node| (node.clone(), self.key(node.as_str()))).collect();
                let file = conf::file(action.port, &action.peers, &action.operators, &handed).unwrap();
                let address = self.config().node(&change.node).unwrap().tunnel.unwrap();
                let alone = |address: Ipv4Addr| [format!("{address}/32").parse().unwrap()].into();
                let peers = action.peers.iter().map(|peer| {
                    let key = peer.key.clone().or_else(|| handed.get(&peer.node).cloned()).unwrap();
                    (key, alone(peer.address))
                });
                let operators = action.operators.iter().map(|one| (one.key.clone(), alone(one.address)));
                let peers: std::collections::BTreeMap<_, _> = peers.chain(operators).collect();
                let mtu = action.unit.content.split(" mtu ").nth(1).unwrap().split(' ').next().unwrap();
                let node = self.facts.get_mut(&change.node).unwrap();
                let device = DeviceFacts {
                    public_key: node.tunnel.key.public().cloned(),
                    port: action.port,
                    is_up: true,
                    peers,
                };
                let now = node.volatile.clock_unix_ms / 1000;
                let talked = |key: &PublicKey| {
                    (key.clone(), PeerFacts { endpoint: None, handshake_unix_s: Some(now - 40) })
                };
                node.volatile.tunnel_peers = device.peers.keys().map(talked).collect();
                node.tunnel.interface = Observed::Known(Some(device));
                write(node, &file);
                write(node, &action.unit);
                write(node, &unmanaged());
                let unit =
                    UnitFacts { exists: true, active: "active".to_owned(), enabled: "enabled".to_owned() };
                node.units.insert(UNIT.to_owned(), unit);
                node.interfaces.retain(|interface| interface.name != INTERFACE);
                node.interfaces.push(InterfaceFacts {
                    name: INTERFACE.to_owned(),
                    mtu_bytes: mtu.parse().unwrap(),
                    addresses: vec![address.into()],
                    link: LinkFacts { hardware: 0xfffe, kind: "wireguard".to_owned() },
                });
            }
            tunnel::Action::Removal(_) => {
                let node = self.facts.get_mut(&change.node).unwrap();
                node.tunnel = TunnelFacts::default();
                for path in [CONF_PATH, NETWORK_PATH, UNIT_PATH] {
                    node.files.insert(path.to_owned(), FileFacts::Absent);
                }
                node.interfaces.retain(|interface| interface.name != INTERFACE);
            }
        }
    }
}

pub(crate) fn write(node: &mut NodeFacts, file: &OwnedFile) {
    let text = FileFacts::Text { content: file.content.clone(), mode: file.mode, uid: 0, gid: 0 };
    node.files.insert(file.path.clone(), text);
}

pub(crate) fn key(number: u8) -> PublicKey {
    let digit = char::from(b'A' + number);
    PublicKey::new(format!("{}A=", digit.to_string().repeat(42))).unwrap()
}

fn unit(active: &str, enabled: &str) -> UnitFacts {
    UnitFacts { exists: true, active: active.to_owned(), enabled: enabled.to_owned() }
}

fn make_storage(node: &mut NodeFacts, address: Ipv4Addr, action: &storage::Action) {
    let install = |node: &mut NodeFacts, packages: &[String]| {
        for name in packages {
            let facts = PackageFacts { installed: Some("1".to_owned()), is_held: false };
            node.packages.insert(name.clone(), facts);
        }
    };
    match action {
        storage::Action::Client(action) => {
            write(node, &action.conf);
            install(node, &action.install);
            for name in &action.mask {
                node.units.insert(name.clone(), unit("inactive", "masked"));
            }
        }
        storage::Action::Filesystem(action) => {
            node.storage.image_bytes = Some(action.bytes);
            node.storage.place = PlaceFacts::Mounted(MountFacts {
                source: "/dev/loop0".to_owned(),
                filesystem: "ext4".to_owned(),
                size_bytes: action.bytes,
                is_read_only: false,
            });
            write(node, &action.unit);
            node.units.insert(storage::MOUNT_UNIT.to_owned(), unit("active", "enabled"));
        }
        storage::Action::Server(action) => {
            install(node, &action.install);
            action.files.iter().for_each(|file| write(node, file));
            for one in &action.directories {
                let facts = DirectoryFacts { uid: one.uid, gid: one.gid, mode: one.mode };
                let name = one.path.rsplit('/').next().unwrap();
                node.storage.directories.insert(name.to_owned(), facts);
            }
            let exports = action.files.iter().find(|file| file.path == storage::EXPORTS_PATH).unwrap();
            let exports = exports.content.lines().filter(|line| line.starts_with('/')).map(|line| {
                let (path, rest) = line.split_once(' ').unwrap();
                let (client, options) = rest.strip_suffix(')').unwrap().split_once('(').unwrap();
                let options = options.split(',').map(str::to_owned).collect();
                ExportFacts { path: path.to_owned(), client: client.to_owned(), options }
            });
            node.storage.server = Some(ServerFacts {
                versions: ["4", "4.1", "4.2"].map(str::to_owned).into(),
                protocols: ["tcp".to_owned()].into(),
                addresses: [address.into()].into(),
                exports: exports.collect(),
            });
            node.units.insert(storage::SERVER_UNIT.to_owned(), unit("active", "enabled"));
            node.units.insert("nfsdcld.service".to_owned(), unit("active", "disabled"));
        }
        storage::Action::Removal(action) => {
            for path in storage::removal::FILES {
                node.files.insert(path.to_owned(), FileFacts::Absent);
            }
            for name in &action.unmask {
                node.units.insert(name.clone(), unit("inactive", "disabled"));
            }
            if action.stop {
                node.storage.server = None;
            }
        }
    }
}
