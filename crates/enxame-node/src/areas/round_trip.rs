//! A node that is applied to and then taken off has the files it had, but for what the documentation names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use enxame_core::areas::{Action, engine, machine, resources};
use enxame_core::config::Config;
use enxame_core::declare::SwarmFate;
use enxame_core::facts::{ClusterFacts, FileFacts, GuardState, NodeFacts, Observed};
use enxame_core::names::NodeName;
use enxame_core::plan::{self, Plan};

use super::act;
use crate::actuate::{Context, PackageLists};
use crate::before;
use crate::host::{FakeHost, Finished, Host};

/// What is carried out without touching the machine that runs the test.
const KINDS: [&str; 6] = ["cloud_init", "hosts", "sysctl", "guard", "ufw", "engine_config"];

const CLUSTER: &str = "version: 1\ncluster: lab\nengine: {source: distribution}\nnodes:\n\
                       - {name: kvm2-manager, address: 203.0.113.12}\n\
                       - {name: kvm4-manager, address: 203.0.113.14}\n\
                       - {name: kvm8-core, address: 203.0.113.18}\n";

/// With a rule of somebody else's in `DOCKER-USER`, as it is when enxame has been there.
const SAVED: &str = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n\
                     :enxame-published - [0:0]\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -s 192.0.2.66/32 -j DROP\n\
                     -A DOCKER-USER -i eth0 -j enxame-published\n-A enxame-published -j DROP\nCOMMIT\n";

type Files = BTreeMap<PathBuf, (String, u32)>;

struct Node {
    config: Config,
    facts: ClusterFacts,
    name: NodeName,
    host: FakeHost,
}

impl Node {
    /// A prepared server, with `files` of its user's own beside and instead of what it came with.
    fn with(files: &[(&str, &str)]) -> Self {
        let base =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../enxame-core/tests/scenarios/bases/prepared.json");
        let facts: ClusterFacts = serde_json::from_slice(&std::fs::read(base).unwrap()).unwrap();
        let config = Config::parse("cluster.yaml", CLUSTER).unwrap();
        let name = config.nodes[0].name.clone();
        let done =
            |stdout: &str| Finished { code: Some(0), stdout: stdout.to_owned(), ..Finished::default() };
        let mut host = FakeHost::default()
            .with_file("/usr/sbin/iptables-save", "")
            .with_file("/usr/sbin/ip6tables-save", "")
            .answering("iptables-save", done(SAVED))
            .answering("ip6tables-save", done(SAVED));
        for program in ["iptables", "ip6tables", "nft", "systemctl", "ufw", "/lib/ufw/ufw-init"] {
            host = host.answering(program, done(""));
        }
        for (path, file) in &facts[&name].files {
            if let FileFacts::Text { content, mode, .. } = file {
                host.write(Path::new(path), content, *mode).unwrap();
            }
        }
        for (path, content) in files {
            host.write(Path::new(path), content, 0o640).unwrap();
        }
        Self { config, facts, name, host }
    }

    /// The facts as they are now, as far as these actions change them.
    fn look(&mut self) {
        let files = |facts: &NodeFacts, host: &FakeHost| {
            facts.files.keys().map(|path| (path.clone(), host.read(Path::new(path)))).collect()
        };
        let facts = self.facts.get_mut(&self.name).unwrap();
        facts.files = files(facts, &self.host);
        facts.cloud_init.is_active = true;
        facts.before = Some(before::look(&self.host));
        let has_table = matches!(facts.files["/etc/enxame/guard.nft"], FileFacts::Text { .. });
        let state = if has_table { GuardState::AsLoaded } else { GuardState::Absent };
        facts.filter.guard = Observed::Known(state);
    }

    fn carry_out(&self, plan: &Plan) {
        assert!(!plan.is_refused(), "{:?}", plan.findings);
        let of_node = plan.changes.iter().filter(|change| change.node == self.name);
        for change in of_node.filter(|change| KINDS.contains(&change.kind.0.as_ref())) {
            let mut context = Context {
                host: &self.host,
                handed: None,
                progress: &mut |_| (),
                package_lists: &mut PackageLists::Fetched,
            };
            act(&mut context, &harmless(change.action.clone())).unwrap();
        }
    }

    fn apply(&mut self) {
        self.look();
        let plan = plan::make(&self.config, &self.facts, None, resources()).unwrap();
        self.carry_out(&plan);
    }

    fn removal(&mut self) -> Plan {
        self.look();
        plan::make_removal(&self.config, &self.facts, SwarmFate::Stays, resources()).unwrap()
    }

    /// All but enxame's own directory, which goes at the very end.
    fn files(&self) -> Files {
        let mut files = self.host.files();
        files.retain(|path, _| !path.starts_with("/var/lib/enxame") && !path.starts_with("/run"));
        files
    }
}

/// The same without what is the kernel's or the engine's.
fn harmless(action: Action) -> Action {
    match action {
        Action::Machine(machine::Action::Sysctl(mut action)) => {
            action.live.clear();
            action.into()
        }
        Action::Machine(machine::Action::Removal(machine::removal::Action::Sysctl { path, .. })) => {
            machine::removal::Action::Sysctl { path, live: BTreeMap::new() }.into()
        }
        Action::Engine(engine::Action::Config(action)) => {
            engine::config::Action { restart: false, ..action }.into()
        }
        other => other,
    }
}

#[test]
fn every_file_is_as_it_was_when_enxame_was_applied_twice_and_taken_off() {
    let bare: [(&str, &str); 0] = [];
    let lived_in = [
        ("/etc/hosts", "127.0.0.1 localhost\n192.0.2.7 nas"),
        ("/etc/docker/daemon.json", "{\"dns\": [\"192.0.2.53\"],\n \"log-driver\": \"journald\"}"),
        ("/etc/sysctl.d/99-swarm-tuning.conf", "# by the manual\nnet.core.somaxconn = 8192\n"),
    ];
    for files in [&bare[..], &lived_in[..]] {
        let mut node = Node::with(files);
        let then = node.files();
        node.apply();
        node.apply();
        let made = node.files();
        for path in ["/etc/hosts", "/etc/docker/daemon.json", "/etc/enxame/guard.nft", "/etc/ufw/user.rules"]
        {
            assert_ne!(made.get(Path::new(path)), then.get(Path::new(path)), "{path} was to be changed");
        }
        let plan = node.removal();
        node.carry_out(&plan);
        assert_eq!(node.files(), then);
        let left = node.removal().changes;
        assert!(left.iter().all(|change| change.node != node.name), "{left:?}");
    }
}

#[test]
fn what_the_user_wrote_meanwhile_stays() {
    let mut node = Node::with(&[]);
    node.apply();
    let edit = |path: &str, change: &dyn Fn(&str) -> String| {
        let old = node.host.read(Path::new(path));
        node.host.write(Path::new(path), &change(old.content().unwrap()), 0o644).unwrap();
    };
    edit("/etc/hosts", &|text| format!("{text}192.0.2.7 nas\n"));
    edit("/etc/docker/daemon.json", &|text| text.replacen('{', "{\"debug\": true,", 1));
    let rule = "\n### tuple ### allow tcp 8080 0.0.0.0/0 any 0.0.0.0/0 in\n\
                -A ufw-user-input -p tcp --dport 8080 -j ACCEPT\n";
    edit("/etc/ufw/user.rules", &|text| {
        text.replacen("\n### END RULES ###", &format!("{rule}\n### END RULES ###"), 1)
    });
    let plan = node.removal();
    node.carry_out(&plan);
    let files = node.files();
    let text = |path: &str| files[Path::new(path)].0.clone();
    assert!(
        text("/etc/hosts").ends_with("localhost ip6-loopback\n192.0.2.7 nas\n"),
        "{}",
        text("/etc/hosts")
    );
    assert_eq!(text("/etc/docker/daemon.json"), "{\n  \"debug\": true\n}\n");
    let rules = text("/etc/ufw/user.rules");
    assert!(rules.contains(rule) && rules.matches("### tuple ###").count() == 1, "{rules}");
    assert!(text("/etc/ufw/ufw.conf").contains("ENABLED=no"));
}

#[test]
fn what_others_put_into_docker_user_stays_and_ours_goes() {
    let mut node = Node::with(&[]);
    node.apply();
    let plan = node.removal();
    let so_far = node.host.ran().len();
    node.carry_out(&plan);
    let ran: Vec<_> = node.host.ran().split_off(so_far);
    let loaded = ran.iter().find(|command| command.to_string() == "iptables-restore --wait=5 --noflush");
    assert_eq!(
        String::from_utf8_lossy(&loaded.unwrap().stdin),
        "*filter\n:DOCKER-USER - [0:0]\n:enxame-published - [0:0]\n-A DOCKER-USER -s 192.0.2.66/32 -j DROP\nCOMMIT\n"
    );
    let lines: Vec<String> = ran.iter().map(ToString::to_string).collect();
    let place =
        |line: &str| lines.iter().position(|ran| ran == line).unwrap_or_else(|| panic!("{line}: {lines:?}"));
    assert!(place("ip6tables --wait=5 -X enxame-published") < place("/lib/ufw/ufw-init force-stop"));
    assert!(place("/lib/ufw/ufw-init force-stop") < place("iptables --wait=5 -P FORWARD DROP"));
    assert!(place("nft -f -") < place("systemctl disable --quiet enxame-guard.service"));
}
