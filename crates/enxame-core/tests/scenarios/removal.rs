//! The plan that takes enxame off: each folder in `removal/` is a scenario, as those beside this file are.

use enxame_core::areas;
use enxame_core::change::Risk;
use enxame_core::config::Config;
use enxame_core::declare::{Severity, SwarmFate};
use enxame_core::facts::{Before, ClusterFacts, FileFacts, NodeFacts, Observed};
use enxame_core::gate;
use enxame_core::plan::{self, Plan};

use crate::show::{Area, Show};
use crate::{assert_snapshot, directory, facts};

fn read(scenario: &str) -> (Config, ClusterFacts) {
    let folder = directory().join("removal").join(scenario);
    let yaml = std::fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    let config = Config::parse("cluster.yaml", &yaml).unwrap();
    (config, facts::read(&directory(), &folder.join("facts.json")))
}

fn removal(scenario: &str, swarm: SwarmFate) -> Plan {
    let (config, facts) = read(scenario);
    plan::make_removal(&config, &facts, swarm, areas::resources()).unwrap()
}

fn check(scenario: &str, swarm: SwarmFate, show: Show) {
    assert_snapshot(&directory().join("removal").join(scenario), show, removal(scenario, swarm));
}

#[test]
fn what_was_there_before_comes_back() {
    check("what_was_there_before_comes_back", SwarmFate::Stays, Show::Whole);
}

#[test]
fn the_swarm_is_left_where_the_user_says_so() {
    check(
        "the_swarm_is_left_where_the_user_says_so",
        SwarmFate::Left,
        Show::Only(&[Area::Engine, Area::Swarm]),
    );
}

#[test]
fn what_an_earlier_build_replaced_is_not_guessed() {
    let areas = Show::Only(&[Area::Machine, Area::Engine]);
    check("what_an_earlier_build_replaced_is_not_guessed", SwarmFate::Stays, areas);
}

#[test]
fn a_firewall_that_was_on_before_stays_on() {
    check("a_firewall_that_was_on_before_stays_on", SwarmFate::Stays, Show::Only(&[Area::Firewall]));
}

#[test]
fn where_nothing_is_there_nothing_is_done() {
    for swarm in [SwarmFate::Stays, SwarmFate::Left] {
        let plan = removal("where_nothing_is_there_nothing_is_done", swarm);
        Show::Nothing.narrow(plan);
    }
}

#[test]
fn the_firewall_of_a_node_goes_last_and_of_one_node_at_a_time() {
    let plan = removal("what_was_there_before_comes_back", SwarmFate::Left);
    let cutting: Vec<_> = plan.changes.iter().filter(|change| change.risk == Risk::MayCutSsh).collect();
    assert_eq!(cutting.len(), 6, "ufw and the guard of three nodes");
    for pair in cutting.windows(2) {
        let before = pair[1].after.iter().chain(&pair[1].behind).any(|id| *id == pair[0].id);
        assert!(before, "{} after {}", pair[1].id, pair[0].id);
    }
    for guarded in cutting {
        let of_node = plan.changes.iter().filter(|other| other.node == guarded.node);
        let others = of_node.filter(|other| !matches!(other.action, areas::Action::Firewall(_)));
        for other in others {
            assert!(guarded.after.contains(&other.id), "{} before {}", guarded.id, other.id);
        }
    }
}

#[test]
fn what_cannot_be_seen_is_not_taken_for_taken_off() {
    let refusals = |change: fn(&mut NodeFacts)| {
        let (config, mut facts) = read("what_was_there_before_comes_back");
        facts.values_mut().take(1).for_each(change);
        let plan = plan::make_removal(&config, &facts, SwarmFate::Stays, areas::resources()).unwrap();
        let errors = plan.findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| finding.message).collect::<Vec<_>>()
    };
    assert_eq!(refusals(|_| ()), [""; 0]);
    let unreadable = refusals(|facts| {
        for path in ["/etc/ufw/ufw.conf", "/etc/docker/daemon.json"] {
            facts.files.insert(path.to_owned(), FileFacts::Unreadable("too long".to_owned()));
        }
    });
    assert_eq!(
        unreadable,
        ["/etc/docker/daemon.json cannot be read: too long", "/etc/ufw/ufw.conf cannot be read: too long"]
    );
    let unseen = refusals(|facts| {
        facts.filter.ipv6 = Observed::Unknown("it ended early".to_owned());
        facts.filter.guard = Observed::Unknown("nft ended with 1".to_owned());
    });
    let expected = ["it ended early", "nft ended with 1"];
    assert_eq!(unseen, expected.map(|why| format!("the rules that are live cannot be seen: {why}")));
    // Where enxame has never been, nothing of it can be.
    let elsewhere = refusals(|facts| {
        facts.before = Some(Before::default());
        facts.filter.ipv6 = Observed::Unknown("ip6tables-save is not installed".to_owned());
    });
    assert_eq!(elsewhere, [""; 0]);
}

#[test]
fn what_was_there_is_forgotten_only_when_every_node_was_seen_and_is_as_it_was() {
    let is_done = |change: fn(&Config, &mut ClusterFacts)| {
        let (config, mut facts) = read("where_nothing_is_there_nothing_is_done");
        change(&config, &mut facts);
        let plan = plan::make_removal(&config, &facts, SwarmFate::Stays, areas::resources()).unwrap();
        assert!(plan.is_empty(), "{plan:?}");
        plan.is_done()
    };
    assert!(is_done(|_, _| ()));
    // One that fell silent, and one of which nobody knows whether something is left.
    assert!(!is_done(
        |config, facts| facts.insert_hole(config.nodes[0].name.clone(), "the connection closed")
    ));
    assert!(!is_done(|_, facts| {
        facts.values_mut().take(1).for_each(|facts| {
            facts.before.as_mut().unwrap().not_held.insert("docker.io".to_owned());
            facts.files.insert("/etc/hosts".to_owned(), FileFacts::Unreadable("too long".to_owned()));
        });
    }));
}

#[test]
fn a_saved_plan_holds_whatever_runs_meanwhile_and_no_longer_when_it_would_do_something_else() {
    let saved = removal("what_was_there_before_comes_back", SwarmFate::Left);
    let mut now = saved.clone();
    now.changes[0].gates = gate::before_disturbing(&now.changes[0].node, &[("web".to_owned(), 3)].into());
    assert!(now.does_the_same_as(&saved));
    now.changes[0].summary.push('!');
    assert!(!now.does_the_same_as(&saved));
    let mut other = saved.clone();
    other.changes.pop();
    assert!(!other.does_the_same_as(&saved));
}
