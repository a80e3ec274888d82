//! Others who make the node's firewall, or stand in the way of its programs.

use enxame_core::areas::{Action, engine};
use enxame_core::config::Config;
use enxame_core::declare::{Finding, Severity};
use enxame_core::facts::{NodeFacts, PackageFacts, RivalFacts};
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
