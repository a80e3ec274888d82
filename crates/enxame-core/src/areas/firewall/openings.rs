//! Who may reach what: one list of openings, from the configuration alone, that every layer of the firewall is made of.
//!
//! Pure. Invariant: what is not in the list is closed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::source::{Nodes, Source};
use crate::config::{
    Config, NFS_PORT, NodeConfig, OpeningProtocol, PeerAccess, Role, SWARM_GOSSIP_PORT,
    SWARM_MANAGEMENT_PORT, TunnelConfig,
};
use crate::facts::SshSession;

pub use crate::config::PROBE_PORT;
pub(crate) use crate::config::SSH_PORT;

/// A protocol above IP, with the port where it has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// TCP to a port.
    Tcp(u16),
    /// UDP to a port.
    Udp(u16),
    /// Encapsulating Security Payload, IP protocol 50 (RFC 4303).
    Esp,
    /// ICMP, without which no path MTU is found (RFC 1191).
    Icmp,
    /// `ICMPv6`, without which IPv6 does not work at all (RFC 4890).
    Icmpv6,
    /// Whatever there is.
    Any,
}

impl Service {
    /// The protocol's name, as firewalls write it.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Tcp(_) => "TCP",
            Self::Udp(_) => "UDP",
            Self::Esp => "ESP",
            Self::Icmp => "ICMP",
            Self::Icmpv6 => "ICMPv6",
            Self::Any => "any",
        }
    }

    /// The port, where the protocol has ports.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Tcp(port) | Self::Udp(port) => Some(port),
            Self::Esp | Self::Icmp | Self::Icmpv6 | Self::Any => None,
        }
    }
}

/// One thing that is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What.
    pub service: Service,
    /// From whom.
    pub source: Source,
    /// Why, for people.
    pub purpose: Cow<'static, str>,
}

impl Opening {
    fn new(service: Service, source: Source, purpose: &'static str) -> Self {
        Self { service, source, purpose: purpose.into() }
    }
}

/// Who may reach what of one cluster.
#[derive(Clone, Debug)]
pub struct Firewall<'a> {
    config: &'a Config,
    nodes: Nodes,
}

impl<'a> Firewall<'a> {
    /// What `cluster.yaml` says of it.
    #[must_use]
    pub fn of(config: &'a Config) -> Self {
        Self { config, nodes: Nodes::of(config) }
    }

    fn peers_of(&self, node: &NodeConfig) -> Source {
        Source::Nodes(self.nodes.but(node.address))
    }

    /// What the provider's edge lets in to every node (manual 3.1, corrected). The whole mesh is here because one firewall of
    /// the provider's serves all nodes.
    ///
    /// Clear VXLAN is not in it, unless a network is declared plaintext or `firewall.mesh` is `full`: what is encrypted arrives
    /// as ESP.
    #[must_use]
    pub fn at_the_edge(&self, sessions: &BTreeSet<SshSession>) -> Vec<Opening> {
        let config = self.config;
        let mut openings = from_outside(config, sessions);
        let nodes = Source::Nodes(self.nodes.clone());
        match config.firewall.mesh {
            PeerAccess::Least => openings.extend(self.least_between(nodes)),
            // ESP beside it: providers do not say whether their `any` means protocols without ports.
            PeerAccess::Full => {
                openings.extend([
                    Opening::new(Service::Any, nodes.clone(), "everything between nodes"),
                    Opening::new(Service::Esp, nodes, "encrypted overlay networks"),
                ]);
                openings.extend(self.for_operators());
            }
        }
        for service in [Service::Icmp, Service::Icmpv6] {
            openings.push(Opening::new(service, Source::Anywhere, "path MTU, echo"));
        }
        openings
    }

    fn least_between(&self, nodes: Source) -> Vec<Opening> {
        let config = self.config;
        let mut openings = swarm(&nodes).to_vec();
        if config.networks.plaintext.is_some() {
            let service = Service::Udp(config.swarm.data_path_port);
            openings.push(Opening::new(service, nodes.clone(), "the overlay network declared plaintext"));
        }
        match &config.tunnel {
            Some(tunnel) => openings.push(tunnels(tunnel, nodes)),
            None if config.nodes.iter().any(|node| node.roles.contains(&Role::Storage)) => {
                openings.push(shared_files(nodes));
            }
            None => {}
        }
        openings
    }

    /// What a node lets in itself (manual 3.2, corrected): from its peers what the swarm needs, or everything where
    /// `firewall.mesh` is `full`. ICMP is not in it: ufw's own rules let in what of it is needed.
    ///
    /// VXLAN is in it because a packet passes the firewall a second time when it is decrypted; that none comes in clear is
    /// the guard's business.
    #[must_use]
    pub fn on_node(&self, node: &NodeConfig, session: Option<SshSession>) -> Vec<Opening> {
        let config = self.config;
        let mut openings = from_outside(config, &session.into_iter().collect());
        let peers = self.peers_of(node);
        if peers.is_nobody() {
            openings.extend(self.for_operators());
            return openings;
        }
        if config.firewall.mesh == PeerAccess::Full {
            openings.push(Opening::new(Service::Any, peers, "everything between nodes"));
            openings.extend(self.for_operators());
            return openings;
        }
        openings.extend(swarm(&peers));
        let service = Service::Udp(config.swarm.data_path_port);
        openings.push(Opening::new(service, peers.clone(), "overlay networks, decrypted"));
        match &config.tunnel {
            Some(tunnel) => openings.push(tunnels(tunnel, peers)),
            None if node.roles.contains(&Role::Storage) => openings.push(shared_files(peers)),
            None => {}
        }
        openings
    }

    /// What a node lets in by the tunnels, where there are to be any: from operators SSH, where sshd was reached, from its peers
    /// what it serves to them there, and nothing else, whatever `firewall.mesh` says.
    #[must_use]
    pub fn in_the_tunnel(&self, node: &NodeConfig, session: Option<SshSession>) -> Option<Vec<Opening>> {
        self.config.tunnel.as_ref()?;
        let source = |addresses: &mut dyn Iterator<Item = Ipv4Addr>| {
            Source::Networks(addresses.map(|address| IpNet::from(IpAddr::V4(address))).collect())
        };
        let mut openings = Vec::new();
        let operators = source(&mut self.config.operators().filter_map(|operator| operator.address));
        if !operators.is_nobody() {
            let port = session.map_or_else(|| ssh_port(self.config), |session| session.port);
            openings.push(Opening::new(Service::Tcp(port), operators, "administration by SSH"));
        }
        let peers = source(&mut self.config.peers_of(&node.name).filter_map(|peer| peer.tunnel));
        if node.roles.contains(&Role::Storage) && !peers.is_nobody() {
            openings.push(shared_files(peers));
        }
        Some(openings)
    }

    /// What lets operators into the tunnels, where nothing else says so: the port, from wherever they are.
    fn for_operators(&self) -> Option<Opening> {
        let tunnel = self.config.tunnel.as_ref().filter(|tunnel| !tunnel.operators.is_empty())?;
        Some(tunnels(tunnel, Source::Anywhere))
    }

    /// What a node hands on to containers, through ports that Docker publishes: what is for everybody, what is declared, and
    /// the probe; with `firewall.mesh: full`, whatever comes from peers.
    #[must_use]
    pub fn to_containers(&self, node: &NodeConfig) -> Vec<Opening> {
        let peers = self.peers_of(node);
        let mut openings = public(self.config);
        if !peers.is_nobody() {
            let service = match self.config.firewall.mesh {
                PeerAccess::Least => Service::Tcp(PROBE_PORT),
                PeerAccess::Full => Service::Any,
            };
            openings.push(Opening::new(service, peers, "between nodes"));
        }
        openings
    }
}

/// Whether somebody at `from` reaches `service`.
#[must_use]
pub fn admits(openings: &[Opening], from: IpAddr, service: Service) -> bool {
    openings.iter().any(|opening| {
        (opening.service == service || opening.service == Service::Any) && opening.source.contains(from)
    })
}

fn from_outside(config: &Config, sessions: &BTreeSet<SshSession>) -> Vec<Opening> {
    let mut allowed = config.ssh.allow_from.clone();
    // Whoever comes through the tunnels is let in there, and nobody else has such an address.
    let stranger = |from: &IpAddr| {
        !config.is_in_the_tunnels(*from)
            && !config.ssh.allow_from.iter().any(|network| network.contains(from))
    };
    if config.ssh.allows_operator {
        allowed.extend(sessions.iter().map(|session| session.from).filter(stranger).map(IpNet::from));
    }
    // Where sshd was reached is where it listens, whatever a translation on the way made of it.
    let mut ports: BTreeSet<u16> = sessions.iter().map(|session| session.port).collect();
    if ports.is_empty() {
        ports.insert(ssh_port(config));
    }
    let ssh = ports.into_iter().map(|port| {
        Opening::new(Service::Tcp(port), Source::Networks(allowed.clone()), "administration by SSH")
    });
    ssh.chain(public(config)).collect()
}

/// Where sshd listens, as far as the configuration tells.
fn ssh_port(config: &Config) -> u16 {
    config.ssh.port.unwrap_or(SSH_PORT)
}

/// What is declared in the configuration, and open beyond the nodes.
pub(crate) fn public(config: &Config) -> Vec<Opening> {
    let ports = config.firewall.public_ports.iter();
    let public = ports.map(|port| Opening::new(Service::Tcp(*port), Source::Anywhere, "public services"));
    let declared = config.firewall.openings.iter().map(|opening| {
        let service = match opening.protocol {
            OpeningProtocol::Tcp => Service::Tcp(opening.port),
            OpeningProtocol::Udp => Service::Udp(opening.port),
        };
        Opening::new(service, Source::of(&opening.from), "declared in firewall.openings")
    });
    public.chain(declared).collect()
}

fn swarm(from: &Source) -> [Opening; 5] {
    [
        (Service::Tcp(SWARM_MANAGEMENT_PORT), "swarm management"),
        (Service::Tcp(SWARM_GOSSIP_PORT), "gossip between nodes"),
        (Service::Udp(SWARM_GOSSIP_PORT), "gossip between nodes"),
        (Service::Esp, "encrypted overlay networks"),
        (Service::Tcp(PROBE_PORT), "verify's probe, through the routing mesh"),
    ]
    .map(|(service, purpose)| Opening::new(service, from.clone(), purpose))
}

/// Where operators are is not known: the port is open to everybody then, and silent to strangers as `WireGuard` is.
fn tunnels(tunnel: &TunnelConfig, nodes: Source) -> Opening {
    let service = Service::Udp(tunnel.port);
    if tunnel.operators.is_empty() {
        return Opening::new(service, nodes, "tunnels between nodes");
    }
    Opening::new(service, Source::Anywhere, "tunnels of nodes and operators")
}

fn shared_files(from: Source) -> Opening {
    Opening::new(Service::Tcp(NFS_PORT), from, "shared files")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openings(more: &str) -> Vec<String> {
        let text = format!(
            "version: 1\ncluster: lab\nssh:\n  allow_from: [198.51.100.7, 2001:db8:5::/48]\n{more}\nnodes:\n\
             \x20 - name: kvm2\n    address: 203.0.113.12\n  - name: kvm8\n    address: 203.0.113.18\n    roles: [storage]\n"
        );
        let config = Config::parse("cluster.yaml", &text).unwrap();
        let line = |opening: &Opening| {
            let port = opening.service.port().map(|port| format!("/{port}")).unwrap_or_default();
            format!("{}{port} from {}", opening.service.protocol(), opening.source)
        };
        Firewall::of(&config).at_the_edge(&BTreeSet::new()).iter().map(line).collect()
    }

    #[test]
    fn only_what_the_manual_names_is_let_in_and_no_clear_vxlan() {
        assert_eq!(
            openings(""),
            [
                "TCP/22 from 198.51.100.7, 2001:db8:5::/48",
                "TCP/80 from any",
                "TCP/443 from any",
                "TCP/2377 from 203.0.113.12, 203.0.113.18",
                "TCP/7946 from 203.0.113.12, 203.0.113.18",
                "UDP/7946 from 203.0.113.12, 203.0.113.18",
                "ESP from 203.0.113.12, 203.0.113.18",
                "TCP/29877 from 203.0.113.12, 203.0.113.18",
                "TCP/2049 from 203.0.113.12, 203.0.113.18",
                "ICMP from any",
                "ICMPv6 from any",
            ]
        );
    }

    #[test]
    fn with_tunnels_their_port_is_let_in_from_nodes_and_files_are_shared_in_them_alone() {
        let with = openings("tunnel: {port: 4500}");
        assert!(with.contains(&"UDP/4500 from 203.0.113.12, 203.0.113.18".to_owned()), "{with:#?}");
        assert!(!with.iter().any(|opening| opening.starts_with("TCP/2049")), "{with:#?}");
        let peer: IpAddr = "203.0.113.12".parse().unwrap();
        let stranger: IpAddr = "198.51.100.66".parse().unwrap();
        let on_node = on("kvm8", "tunnel: {port: 4500}", None);
        assert!(
            admits(&on_node, peer, Service::Udp(4500)) && !admits(&on_node, stranger, Service::Udp(4500))
        );
        assert!(!admits(&on_node, peer, Service::Tcp(2049)));
        // Whatever else the nodes let in from each other, an address in the tunnels opens nothing more.
        let text = "version: 1\ncluster: lab\nfirewall: {mesh: full}\ntunnel: {network: 192.168.255.0/24}\nnodes:\n\
                    \x20 - {name: kvm2, address: 203.0.113.12, tunnel: 192.168.255.1}\n\
                    \x20 - {name: kvm8, address: 203.0.113.18, tunnel: 192.168.255.2, roles: [storage]}\n";
        let config = Config::parse("cluster.yaml", text).unwrap();
        let firewall = Firewall::of(&config);
        let (client, server) =
            (firewall.in_the_tunnel(&config.nodes[0], None), firewall.in_the_tunnel(&config.nodes[1], None));
        assert_eq!(client, Some(Vec::new()));
        let (peer, public): (IpAddr, IpAddr) = ("192.168.255.1".parse().unwrap(), peer);
        let server = server.unwrap();
        assert!(admits(&server, peer, Service::Tcp(2049)) && !admits(&server, public, Service::Tcp(2049)));
        assert!(!admits(&server, peer, Service::Tcp(22)));
    }

    fn on(node: &str, more: &str, session: Option<SshSession>) -> Vec<Opening> {
        let text = format!(
            "version: 1\ncluster: lab\n{more}\nnodes:\n\
             \x20 - name: kvm2\n    address: 203.0.113.12\n  - name: kvm8\n    address: 203.0.113.18\n    roles: [storage]\n"
        );
        let config = Config::parse("cluster.yaml", &text).unwrap();
        let node = config.nodes.iter().find(|one| one.name.as_str() == node).unwrap();
        Firewall::of(&config).on_node(node, session)
    }

    #[test]
    fn a_node_lets_in_from_its_peers_what_the_swarm_needs_and_nothing_else() {
        let peer: IpAddr = "203.0.113.12".parse().unwrap();
        let openings = on("kvm8", "", None);
        for service in [
            Service::Tcp(2377),
            Service::Tcp(7946),
            Service::Udp(7946),
            Service::Udp(4789),
            Service::Tcp(2049),
            Service::Esp,
        ] {
            assert!(admits(&openings, peer, service), "{service:?}");
            assert!(!admits(&openings, "198.51.100.66".parse().unwrap(), service), "{service:?}");
        }
        for service in [Service::Tcp(22), Service::Tcp(2375), Service::Tcp(9000), Service::Udp(2049)] {
            assert!(!admits(&openings, peer, service), "{service:?}");
        }
        assert!(!admits(&on("kvm2", "", None), "203.0.113.18".parse().unwrap(), Service::Tcp(2049)));
        assert!(admits(&on("kvm8", "firewall: {mesh: full}", None), peer, Service::Tcp(9000)));
    }

    #[test]
    fn the_operator_is_let_in_where_sshd_was_reached_unless_told_otherwise() {
        let session = SshSession::parse("198.51.100.9 50022 203.0.113.12 2222");
        let from = session.unwrap().from;
        assert!(admits(&on("kvm2", "", session), from, Service::Tcp(2222)));
        assert!(!admits(&on("kvm2", "", session), from, Service::Tcp(22)));
        assert!(!admits(&on("kvm2", "ssh: {allow_operator: false}", session), from, Service::Tcp(2222)));
        let covered = "ssh: {allow_operator: false, allow_from: [198.51.100.0/24]}";
        assert!(admits(&on("kvm2", covered, session), from, Service::Tcp(2222)));
    }

    #[test]
    fn a_network_declared_plaintext_needs_its_vxlan_and_ports_of_ones_own_replace_the_default() {
        let openings = openings(
            "networks: {plaintext: open-net}\nswarm: {data_path_port: 4800}\nfirewall: {public_ports: [8443]}",
        );
        assert!(openings.contains(&"UDP/4800 from 203.0.113.12, 203.0.113.18".to_owned()), "{openings:#?}");
        assert!(openings.contains(&"TCP/8443 from any".to_owned()));
        assert!(!openings.iter().any(|opening| opening.starts_with("TCP/80 ")));
    }
}
