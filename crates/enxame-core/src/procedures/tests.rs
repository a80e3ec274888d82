//! What a procedure waits for, and what one that was cut off leaves to be seen. Whole plans are scenarios.

use std::path::Path;

use super::*;
use crate::areas::swarm::{Resources, ServiceFacts, TaskFacts};
use crate::change::{Difference, Risk};
use crate::declare::{Finding, Severity};
use crate::facts::{EngineState, Observed};
use crate::gate::Gate;
use crate::plan::{self, Unfinished};

const NOW_UNIX_S: u64 = 1_764_100_000;

fn name() -> NodeName {
    "kvm8-core".parse().unwrap()
}

/// A cluster in which all is as it is to be.
pub(super) fn converged() -> (Config, ClusterFacts) {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let yaml = std::fs::read_to_string(scenarios.join("a_converged_cluster_needs_nothing/cluster.yaml"));
    let facts = std::fs::read(scenarios.join("bases/converged.json")).unwrap();
    (Config::parse("cluster.yaml", &yaml.unwrap()).unwrap(), serde_json::from_slice(&facts).unwrap())
}

/// The same, with the node drained and this record of it.
fn drained_by(record: &str) -> (Config, ClusterFacts) {
    let (config, mut facts) = converged();
    let address = config.node(&name()).unwrap().address.to_string();
    for facts in facts.values_mut() {
        let EngineState::Running { swarm, .. } = &mut facts.engine.state else { continue };
        for member in swarm.nodes.iter_mut().filter(|member| member.address == address) {
            member.availability = "drain".to_owned();
            member.labels.insert(RECORD.to_owned(), record.to_owned());
        }
    }
    facts.get_mut(&name()).unwrap().volatile.boot_id = "boot-1".to_owned();
    (config, facts)
}

fn ready() -> Gate {
    Gate::NodeReady { node: name() }
}

fn encrypts() -> Gate {
    Gate::EncryptsTraffic { node: name() }
}

#[test]
fn what_is_left_of_a_reboot_that_was_cut_off_waits_until_the_node_encrypts() {
    let (config, facts) = drained_by("reboot 1764000000 boot-0");
    let plan = reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap();
    let [activation] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    assert_eq!(activation.gates, [ready(), encrypts()]);
}

#[test]
fn a_reboot_waits_for_it_itself_and_its_activation_does_not_once_more() {
    // Cut off before the machine went down, and not begun yet.
    for (config, facts) in [drained_by("reboot 1764000000 boot-1"), converged()] {
        let plan = reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap();
        let [.., booting, activation] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
        assert!(booting.until.contains(&encrypts()), "{:?}", booting.until);
        assert_eq!(activation.gates, [ready()]);
        assert_eq!(activation.after, std::slice::from_ref(&booting.id));
    }
    let (config, facts) = drained_by("drain 1764000000");
    let plan = activate(&config, &facts, &name()).unwrap();
    assert_eq!(plan.changes[0].gates, [ready()]);
}

#[test]
fn a_node_that_could_not_be_seen_to_encrypt_does_not() {
    let (config, mut facts) = converged();
    assert_eq!(encrypts().check(&config, &facts), Ok(()));
    let mut shut = |esp| {
        facts.get_mut(&name()).unwrap().esp = esp;
        encrypts().check(&config, &facts).unwrap_err().why
    };
    assert_eq!(shut(Observed::Known(false)), "the kernel of kvm8-core refuses an ESP association");
    let untried = Observed::Unknown("esp4 is not loaded".to_owned());
    assert_eq!(shut(untried), "whether kvm8-core can encrypt could not be tried");
    facts.insert_hole(name(), "no route to host");
    assert_eq!(encrypts().check(&config, &facts).unwrap_err().why, "kvm8-core does not answer");
}

#[test]
fn what_is_unfinished_says_since_when_whatever_its_record_has_besides() {
    for (record, verb, since_unix_s) in [
        ("reboot 1764000000 boot-0", "reboot", Some(1_764_000_000)),
        ("drain 1764000001", "drain", Some(1_764_000_001)),
        ("reboot yesterday boot-0", "reboot", None),
        ("", "drain", None),
    ] {
        let (config, facts) = drained_by(record);
        let plan = plan::make(&config, &facts, None, crate::areas::resources()).unwrap();
        let expected = Unfinished { node: name(), verb: verb.to_owned(), since_unix_s, is_drained: true };
        assert_eq!(plan.unfinished, [expected], "{record}");
    }
    let (config, facts) = converged();
    assert_eq!(plan::make(&config, &facts, None, crate::areas::resources()).unwrap().unfinished, []);
}

#[test]
fn a_reboots_own_record_says_since_when_it_was_asked_for() {
    let (config, facts) = converged();
    let plan = reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap();
    let boot_id = Some(facts.get(&name()).unwrap().volatile.boot_id.clone());
    let record = Record { verb: "reboot".to_owned(), since_unix_s: Some(NOW_UNIX_S), boot_id };
    let action = serde_json::to_string(&plan.changes[0].action).unwrap();
    assert!(action.contains(&record.text()), "{action}");
}

/// A service as the managers tell of it, with tasks that run on these nodes.
fn service(wanted: u64, constraint: &str, on: &[&NodeName], config: &Config) -> ServiceFacts {
    let id = |name: &NodeName| id_of(config, name);
    let tasks = on
        .iter()
        .map(|name| TaskFacts { node_id: id(name), is_running: true, ..TaskFacts::default() })
        .collect();
    ServiceFacts {
        wanted: Some(wanted),
        constraints: Some(constraint.to_owned()).filter(|text| !text.is_empty()).into_iter().collect(),
        tasks,
        ..ServiceFacts::default()
    }
}

/// The base has the last part of the address as the id.
fn id_of(config: &Config, name: &NodeName) -> String {
    let address = config.node(name).unwrap().address.to_string();
    format!("{:0>25}", address.rsplit_once('.').unwrap().1)
}

pub(super) fn running(facts: &mut ClusterFacts, services: &[(&str, &ServiceFacts)]) {
    let services = services.iter().map(|(name, service)| ((*name).to_owned(), (*service).clone())).collect();
    let workloads = Workloads { services, ..Workloads::default() };
    for facts in facts.values_mut() {
        facts.volatile.workloads = Some(workloads.clone());
    }
}

/// Changes what every manager sees of the swarm.
fn in_the_swarm(facts: &mut ClusterFacts, change: impl Fn(&mut SwarmFacts)) {
    for facts in facts.values_mut() {
        let EngineState::Running { swarm, .. } = &mut facts.engine.state else { continue };
        change(swarm);
    }
}

fn other() -> NodeName {
    "kvm2-manager".parse().unwrap()
}

#[test]
fn a_drain_that_is_asked_for_again_waits_while_tasks_still_run_there() {
    let (config, mut facts) = drained_by("drain 1764000000");
    running(&mut facts, &[("web", &service(1, "", &[&name()], &config))]);
    let plan = drain(&config, &facts, &name(), NOW_UNIX_S).unwrap();
    let [waiting] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    assert_eq!(waiting.until, [Gate::NodeDrained { node: name() }]);
    assert_eq!((&waiting.risk, waiting.differences.len()), (&Risk::Safe, 0));
    running(&mut facts, &[("web", &service(1, "", &[&other()], &config))]);
    assert_eq!(drain(&config, &facts, &name(), NOW_UNIX_S).unwrap().changes, []);
}

#[test]
fn an_activation_that_is_asked_for_again_waits_for_what_does_not_run_yet() {
    let (config, mut facts) = converged();
    running(&mut facts, &[("db", &service(1, "node.labels.db == true", &[], &config))]);
    let plan = activate(&config, &facts, &name()).unwrap();
    let [waiting] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    assert_eq!(waiting.until, [Gate::TasksRun { services: [("db".to_owned(), 1)].into() }]);
    assert_eq!((&waiting.risk, waiting.differences.len()), (&Risk::Safe, 0));
    running(&mut facts, &[("db", &service(1, "node.labels.db == true", &[&name()], &config))]);
    assert_eq!(activate(&config, &facts, &name()).unwrap().changes, []);
    let down = |swarm: &mut SwarmFacts| swarm.nodes[2].state = "down".to_owned();
    in_the_swarm(&mut facts, down);
    assert_eq!(activate(&config, &facts, &name()).unwrap().changes[0].gates, [ready()]);
}

#[test]
fn a_service_that_no_node_can_run_is_not_waited_for() {
    let (config, mut facts) = drained_by("drain 1764000000");
    let wanted = [
        ("nowhere", &service(1, "node.labels.gpu == true", &[], &config)),
        ("here", &service(1, "node.labels.db == true", &[], &config)),
        (
            "large",
            &ServiceFacts {
                reserved: Resources { nano_cpus: 0, memory_bytes: 2 },
                ..service(1, "node.labels.db == true", &[], &config)
            },
        ),
    ];
    running(&mut facts, &wanted);
    for facts in facts.values_mut() {
        let has = Resources { nano_cpus: 0, memory_bytes: 1 };
        facts.volatile.workloads.as_mut().unwrap().capacity.insert(id_of(&config, &name()), has);
    }
    let plan = activate(&config, &facts, &name()).unwrap();
    assert_eq!(plan.changes[0].until, [Gate::TasksRun { services: [("here".to_owned(), 1)].into() }]);
}

#[test]
fn tasks_that_no_node_may_run_any_more_are_told_to_end_for_good() {
    let (config, mut facts) = converged();
    running(&mut facts, &[("gpu", &service(1, "node.labels.gpu == true", &[&name()], &config))]);
    let plan = drain(&config, &facts, &name(), NOW_UNIX_S).unwrap();
    let message = "1 task of gpu ends for good: no node can run it, with its constraints and reservations";
    assert_eq!(plan.findings[0].message, message);
}

#[test]
fn a_manager_that_would_come_back_locked_is_not_rebooted() {
    let (config, mut facts) = converged();
    assert!(!reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap().is_refused());
    in_the_swarm(&mut facts, |swarm| swarm.settings.as_mut().unwrap().autolock = true);
    let plan = reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap();
    let errors: Vec<&Finding> =
        plan.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    let [locked] = &errors[..] else { panic!("{:?}", plan.findings) };
    assert_eq!(locked.node, Some(name()));
    assert!(locked.message.contains("autolock"), "{}", locked.message);
    // What does not restart docker, and a worker, which has no key to lock.
    assert!(!drain(&config, &facts, &name(), NOW_UNIX_S).unwrap().is_refused());
    in_the_swarm(&mut facts, |swarm| {
        let member = &mut swarm.nodes[2];
        (member.is_manager, member.reachability) = (false, String::new());
    });
    assert!(!reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap().is_refused());
}

#[test]
fn a_reboot_says_what_it_does_to_the_quorum_and_a_drain_does_nothing_to_it() {
    const SAID: &str = "a swarm of 2 managers does not answer while one of them is disturbed";
    let says = |plan: &Plan| plan.findings.iter().any(|finding| finding.message == SAID);
    let (config, mut facts) = converged();
    assert!(!says(&reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap()));
    in_the_swarm(&mut facts, |swarm| drop(swarm.nodes.remove(0)));
    let plan = reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap();
    assert!(says(&plan) && !plan.is_refused(), "{:?}", plan.findings);
    assert!(!says(&drain(&config, &facts, &name(), NOW_UNIX_S).unwrap()));
}

#[test]
fn a_manager_is_not_rebooted_while_another_is_missing_but_the_one_that_is_missing_may_be() {
    let (config, mut facts) = converged();
    in_the_swarm(&mut facts, |swarm| {
        let member = &mut swarm.nodes[0];
        (member.state, member.reachability) = ("down".to_owned(), "unreachable".to_owned());
    });
    let plan = reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap();
    assert!(plan.is_refused(), "{:?}", plan.findings);
    let plan = reboot(&config, &facts, &other(), NOW_UNIX_S).unwrap();
    assert!(!plan.is_refused(), "{:?}", plan.findings);
}

#[test]
fn a_reboot_gives_tasks_only_to_a_node_that_a_reboot_took_them_from() {
    let is_activated = |record: &str| {
        let (config, facts) = drained_by(record);
        let plan = reboot(&config, &facts, &name(), NOW_UNIX_S).unwrap();
        plan.changes.iter().any(|change| change.summary == "activate kvm8-core")
    };
    assert!(is_activated("reboot 1764000000 boot-1"));
    assert!(is_activated("reboot 1764000000 boot-0"));
    assert!(!is_activated("drain 1764000000"));
}

#[test]
fn a_drain_of_what_a_reboot_has_drained_makes_it_stay() {
    let (config, facts) = drained_by("reboot 1764000000 boot-1");
    let plan = drain(&config, &facts, &name(), NOW_UNIX_S).unwrap();
    let [change] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    let action = serde_json::to_string(&change.action).unwrap();
    assert!(action.contains(&format!("drain {NOW_UNIX_S}")), "{action}");
    assert_eq!(change.differences, [Difference::changed("drained by", "reboot", "drain")]);
}

#[test]
fn an_activation_says_what_differs_and_nothing_else() {
    for (availability, expected) in [
        ("drain", Difference::changed("availability", "drain", "active")),
        ("pause", Difference::changed("availability", "pause", "active")),
        // Somebody activated it by hand: only the record is left.
        ("active", Difference::removed("drained by", "drain")),
    ] {
        let (config, mut facts) = drained_by("drain 1764000000");
        in_the_swarm(&mut facts, |swarm| swarm.nodes[2].availability = availability.to_owned());
        let plan = activate(&config, &facts, &name()).unwrap();
        assert_eq!(plan.changes[0].differences, [expected], "{availability}");
    }
}

#[test]
fn a_gate_that_nobody_can_answer_for_does_not_hold() {
    let (config, mut facts) = converged();
    let gates = [Gate::QuorumSurvives { without: name() }, Gate::OthersReady { but: name() }];
    let all_shut = |facts: &ClusterFacts| gates.iter().all(|gate| gate.check(&config, facts).is_err());
    assert!(gates.iter().all(|gate| gate.check(&config, &facts).is_ok()));
    for facts in facts.values_mut() {
        facts.engine.state = EngineState::NotAnswering("connection refused".to_owned());
        facts.files.clear();
    }
    assert!(all_shut(&facts));
    assert!(all_shut(&ClusterFacts::default()));
}
