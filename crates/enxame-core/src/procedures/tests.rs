//! What a procedure waits for, and what one that was cut off leaves to be seen. Whole plans are scenarios.

use std::path::Path;

use super::*;
use crate::facts::{EngineState, Observed};
use crate::gate::Gate;
use crate::plan::{self, Unfinished};

const NOW_UNIX_S: u64 = 1_764_100_000;

fn name() -> NodeName {
    "kvm8-core".parse().unwrap()
}

/// A cluster in which all is as it is to be.
fn converged() -> (Config, ClusterFacts) {
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
        encrypts().check(&config, &facts).unwrap_err().0
    };
    assert_eq!(shut(Observed::Known(false)), "the kernel of kvm8-core refuses an ESP association");
    let untried = Observed::Unknown("esp4 is not loaded".to_owned());
    assert_eq!(shut(untried), "whether kvm8-core can encrypt could not be tried");
    facts.insert_hole(name(), "no route to host");
    assert_eq!(encrypts().check(&config, &facts).unwrap_err().0, "kvm8-core does not answer");
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
        let expected = Unfinished { node: name(), verb: verb.to_owned(), since_unix_s };
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
