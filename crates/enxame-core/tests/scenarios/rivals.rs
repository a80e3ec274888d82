//! Others who make the node's firewall, or stand in the way of its programs.

use enxame_core::areas::{Action, engine};
use enxame_core::config::Config;
use enxame_core::declare::{Finding, Severity};
use enxame_core::facts::{FileFacts, NodeFacts, PackageFacts, RivalFacts};
use enxame_core::plan::{self, Plan};

use super::{directory, facts};

/// What is said of the first node of a base, with something changed on it.
fn said(base: &str, change: impl Fn(&mut NodeFacts)) -> Vec<Finding> {
    planned(base, change).findings
}

fn planned(base: &str, change: impl Fn(&mut NodeFacts)) -> Plan {
    let folder = directory().join(base);
    let yaml = std::fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    let config = Config::parse("cluster.yaml", &yaml).unwrap();
    let mut facts = facts::read(&directory(), &folder.join("facts.json"));
    change(facts.values_mut().next().unwrap());
    plan::make(&config, &facts, None, enxame_core::areas::resources()).unwrap()
}

fn rival(started_by: &str, is_sure: bool) -> RivalFacts {
    RivalFacts {
        started_by: started_by.to_owned(),
        place: "/etc/rivals".to_owned(),
        text: "iptables -F".to_owned(),
        is_sure,
    }
}

/// What is said of the firewall's other masters.
fn of_rivals(rivals: &[RivalFacts]) -> Vec<Finding> {
    let mut said = said("a_converged_cluster_needs_nothing", |node| node.filter.rivals = rivals.to_vec());
    said.retain(|finding| finding.message.contains("everybody's firewall rules"));
    said
}

#[test]
fn who_flushes_everybodys_rules_is_refused_and_who_may_is_named() {
    let [unit, hook, doubt] = &of_rivals(&[
        rival("ferm.service", true),
        rival("/etc/network/if-pre-up.d/iptables", true),
        rival("mine.service", false),
    ])[..] else {
        panic!("three findings")
    };
    assert_eq!(
        [unit.severity, hook.severity, doubt.severity],
        [Severity::Error, Severity::Error, Severity::Warning]
    );
    assert!(unit.hint.contains("systemctl disable ferm.service"), "{unit:?}");
    assert!(hook.hint.contains("/etc/rivals") && !hook.hint.contains("systemctl"), "{hook:?}");
    assert!(doubt.message.contains("may throw") && doubt.message.contains("iptables -F"), "{doubt:?}");
    // What has a word of its own is not told twice.
    assert_eq!(of_rivals(&[rival("nftables.service", true)]), []);
    assert_eq!(of_rivals(&[]), []);
}

#[test]
fn what_apt_would_remove_for_ufw_is_told_before_and_only_where_ufw_is_missing() {
    let in_the_way = |base| {
        let said =
            said(base, |node| node.filter.installing_removes = vec!["netfilter-persistent".to_owned()]);
        said.into_iter().find(|finding| finding.message.contains("cannot be installed beside"))
    };
    let told = in_the_way("a_bare_cluster_gets_everything_from_docker").expect("a finding");
    assert_eq!(told.severity, Severity::Error);
    assert!(told.message.starts_with("nftables and ufw cannot be"), "{told:?}");
    assert!(told.hint.contains("apt-get remove netfilter-persistent"), "{told:?}");
    assert_eq!(in_the_way("a_converged_cluster_needs_nothing"), None);
}

#[test]
fn podmans_docker_gives_way_to_the_distributions_engine() {
    let podman = PackageFacts { installed: Some("4.3.1".to_owned()), is_held: false };
    let plan = planned("a_converged_cluster_needs_nothing", |node| {
        node.packages.insert("podman-docker".to_owned(), podman.clone());
    });
    let [change] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    let Action::Engine(engine::Action::Package(action)) = &change.action else { panic!("{change:?}") };
    assert_eq!(action.remove, ["podman-docker"]);
}

fn text(content: &str, mode: u32) -> FileFacts {
    FileFacts::Text { content: content.to_owned(), mode, uid: 0, gid: 0 }
}

/// Plans with something put into one of ufw's files, and gives what is said of that file, and what becomes of it.
fn with_ufws(path: &str, change: impl Fn(&str) -> String, mode: u32) -> (Vec<Finding>, Vec<String>) {
    let plan = planned("a_converged_cluster_needs_nothing", |node| {
        let now = node.files.get(path).and_then(FileFacts::content).unwrap_or_default().to_owned();
        node.files.insert(path.to_owned(), text(&change(&now), mode));
    });
    let fields = plan.changes.iter().flat_map(|change| &change.differences).map(|one| one.field.to_string());
    let fields = fields.filter(|field| field.contains("/etc/ufw")).collect();
    let findings = plan.findings.into_iter().filter(|finding| finding.message.contains(path)).collect();
    (findings, fields)
}

/// As its README has it, but for the middle.
const UFW_DOCKER: &str = "# BEGIN UFW AND DOCKER\n*filter\n:ufw-user-forward - [0:0]\n:ufw-docker-logging-deny - [0:0]\n\
    :DOCKER-USER - [0:0]\n-A DOCKER-USER -j ufw-user-forward\n\n-A DOCKER-USER -j RETURN -s 10.0.0.0/8\n\
    -A DOCKER-USER -j ufw-docker-logging-deny -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -d 10.0.0.0/8\n\
    -A DOCKER-USER -j RETURN\n\n-A ufw-docker-logging-deny -j DROP\n\nCOMMIT\n# END UFW AND DOCKER\n";

#[test]
fn a_block_of_anothers_in_after_rules_is_named_and_ours_is_loaded_behind_it() {
    let path = "/etc/ufw/after.rules";
    // In front of ours it changes nothing, and decides nothing.
    let (said, fields) = with_ufws(path, |now| format!("{UFW_DOCKER}{now}"), 0o640);
    let [said] = said.as_slice() else { panic!("{said:?}") };
    assert!(said.severity == Severity::Warning, "{said:?}");
    assert!(said.message.starts_with("/etc/ufw/after.rules:6-10 fills DOCKER-USER (4 rules"), "{said:?}");
    assert_eq!(fields, [""; 0]);
    // Behind ours it would take its place at each reload: ours moves, and nothing of theirs goes.
    let (said, fields) = with_ufws(path, |now| format!("{now}{UFW_DOCKER}"), 0o640);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(!fields.is_empty() && fields.iter().all(|field| field == path), "{fields:?}");
    // What only mentions the chain is left where it is.
    let (said, fields) = with_ufws(path, |now| format!("{now}# DOCKER-USER is enxame's\n"), 0o640);
    assert_eq!((said.len(), fields.len()), (0, 0));
}

#[test]
fn what_shuts_a_declared_opening_before_ufws_rules_is_refused_with_its_line() {
    let path = "/etc/ufw/before.rules";
    let chain = "*filter\n:log-and-drop - [0:0]\n-A log-and-drop -j LOG\n-A log-and-drop -j DROP\n";
    let with = |line: &str| with_ufws(path, |_| format!("{chain}{line}\nCOMMIT\n"), 0o640).0;
    let said = with("-A ufw-before-input -p tcp --dport 2377 -j log-and-drop");
    let [said] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(said.severity, Severity::Error);
    assert!(said.message.starts_with("/etc/ufw/before.rules:4: -A log-and-drop -j DROP shuts"), "{said:?}");
    assert!(said.message.contains("(TCP 2377)"), "{said:?}");
    let said = with("-A ufw-before-input -m set --match-set bad src -j DROP");
    assert!(said.iter().all(|one| one.severity == Severity::Warning) && said.len() == 1, "{said:?}");
    for harmless in [
        "-A ufw-before-input -p tcp --dport 3306 -j DROP",
        "-A ufw-before-input -s 192.0.2.66 -j DROP",
        "-A ufw-before-forward -j DROP",
    ] {
        assert_eq!(with(harmless), [], "{harmless}");
    }
}

#[test]
fn a_hook_of_ufws_that_runs_is_named() {
    for path in ["/etc/ufw/before.init", "/etc/ufw/after.init"] {
        assert_eq!(with_ufws(path, |_| "#!/bin/sh\n".to_owned(), 0o640).0, [], "as ufw's package brings it");
        let (said, _) = with_ufws(path, |_| "#!/bin/sh\niptables -F\n".to_owned(), 0o750);
        assert!(said.len() == 1 && said[0].hint.contains("chmod -x"), "{said:?}");
    }
}
