//! Draining a node, bringing it back, and starting it anew (manual 7.3).

use std::collections::BTreeMap;

use super::placement::{Fate, fate, room};
use super::{ProcedureError, Record, Situation};
use crate::areas::Action;
use crate::areas::machine;
use crate::areas::swarm::availability::{self, Availability};
use crate::change::{Change, ChangeId, Difference, Kind, Risk};
use crate::config::Config;
use crate::declare::Finding;
use crate::facts::ClusterFacts;
use crate::gate::{Gate, before_disturbing, running_now};
use crate::names::NodeName;
use crate::plan::{Plan, of_changes};

const SECTION: &str = "7.3";
/// The verbs, as records have them.
const DRAIN: &str = "drain";
const REBOOT: &str = "reboot";

/// Takes the tasks off a node and gives it none, until it is activated.
///
/// # Errors
/// [`ProcedureError`].
pub fn drain(
    config: &Config,
    facts: &ClusterFacts,
    node: &NodeName,
    now_unix_s: u64,
) -> Result<Plan, ProcedureError> {
    let situation = Situation::of(config, facts, node)?;
    let mut plan = situation.plan();
    let now = Record::of(situation.member).filter(|record| record.verb == DRAIN);
    if !situation.is_drained() {
        plan.findings = consequences(&situation, "until `enxame node activate`");
    }
    let is_done = situation.is_drained() && now.is_some();
    let record = now.filter(|_| is_done).unwrap_or_else(|| Record {
        verb: DRAIN.to_owned(),
        since_unix_s: Some(now_unix_s),
        boot_id: None,
    });
    let change = drained(&situation, &record);
    // What was asked for already may not be so yet.
    if !is_done || !holds(config, facts, &change) {
        plan.changes.push(change);
    }
    Ok(plan)
}

/// Gives tasks to a node again. Nothing is moved to it by that alone.
///
/// # Errors
/// [`ProcedureError`].
pub fn activate(config: &Config, facts: &ClusterFacts, node: &NodeName) -> Result<Plan, ProcedureError> {
    let situation = Situation::of(config, facts, node)?;
    let mut plan = situation.plan();
    let change = activated(&situation);
    if !change.differences.is_empty() || !holds(config, facts, &change) {
        plan.changes.push(change);
    }
    Ok(plan)
}

/// Whether all that a change needs and waits for is so now.
fn holds(config: &Config, facts: &ClusterFacts, change: &Change) -> bool {
    change.gates.iter().chain(&change.until).all(|gate| gate.check(config, facts).is_ok())
}

/// Drains a node, starts it anew, waits until it is back whole, and gives it tasks again. A node that was drained already by
/// somebody, or by `enxame node drain`, stays drained.
///
/// # Errors
/// [`ProcedureError`].
pub fn reboot(
    config: &Config,
    facts: &ClusterFacts,
    node: &NodeName,
    now_unix_s: u64,
) -> Result<Plan, ProcedureError> {
    let situation = Situation::of(config, facts, node)?;
    let Some(seen) = facts.get(node) else {
        let why = facts.holes().find(|(hole, _)| *hole == node).map(|(_, why)| why.to_owned());
        return Err(ProcedureError::Unreachable(node.clone(), why.unwrap_or_default()));
    };
    let mut plan = situation.plan();
    let boot_id = seen.volatile.boot_id.clone();
    let record = Record::of(situation.member);
    // An earlier run drained the node and saw it down: it has booted since, and only the rest is left.
    let own = record.as_ref().filter(|record| record.verb == REBOOT);
    let has_booted =
        own.is_some_and(|record| record.boot_id.as_ref().is_some_and(|before| *before != boot_id));
    let is_drained = situation.is_drained();
    if !is_drained {
        plan.findings = consequences(&situation, "while the node boots");
        let record = Record {
            verb: REBOOT.to_owned(),
            since_unix_s: Some(now_unix_s),
            boot_id: Some(boot_id.clone()),
        };
        let mut change = drained(&situation, &record);
        change.gates = before_disturbing(node, &running_now(facts));
        plan.changes.push(change);
    }
    if !has_booted || !is_drained {
        plan.changes.push(rebooted(&situation, boot_id, plan.changes.last()));
    }
    if is_drained && own.is_none() {
        let by = if record.is_some() { "`enxame node drain`" } else { "somebody else" };
        let hint = format!("`enxame node activate {node}` gives it tasks again");
        let message = format!("was drained by {by}, and stays drained");
        plan.findings.push(Finding::warning(SECTION, message, hint).on(node));
    } else {
        let mut change = activated(&situation);
        if !is_drained {
            change.differences = vec![Difference::changed("availability", "drain", "active")];
        }
        if plan.changes.is_empty() {
            // Whoever rebooted it did not wait for that.
            change.gates.push(Gate::EncryptsTraffic { node: node.clone() });
        }
        change.after = plan.changes.last().map(|before| before.id.clone()).into_iter().collect();
        plan.changes.push(change);
    }
    plan.findings.extend(of_changes(config, facts, &plan.changes));
    Ok(plan)
}

fn step(node: &NodeName, kind: &'static str, about: &NodeName, action: impl Into<Action>) -> Change {
    Change {
        id: ChangeId(format!("{node}/{kind}/{about}")),
        node: node.clone(),
        kind: Kind::of(kind),
        section: SECTION.to_owned(),
        summary: String::new(),
        reason: String::new(),
        differences: Vec::new(),
        risk: Risk::Safe,
        after: Vec::new(),
        behind: Vec::new(),
        gates: Vec::new(),
        until: Vec::new(),
        handover: None,
        action: action.into(),
    }
}

fn drained(situation: &Situation<'_>, record: &Record) -> Change {
    let node = &situation.node.name;
    let availability = Availability::Drain { record: record.text() };
    let action = availability::Action { address: situation.node.address, availability };
    let disturbs = Risk::Disruptive("tasks on this node end".to_owned());
    let risk = if situation.is_drained() { Risk::Safe } else { disturbs };
    Change {
        summary: format!("drain {node}"),
        reason: "its tasks end in order and start on other nodes, where they can".to_owned(),
        differences: differences(situation, "drain", Some(&record.verb)),
        risk,
        until: vec![Gate::NodeDrained { node: node.clone() }],
        ..step(situation.manager, "drain", node, action)
    }
}

/// What differs of the member's availability and, where that is as it is to be, of who made it so.
fn differences(situation: &Situation<'_>, availability: &str, by: Option<&str>) -> Vec<Difference> {
    let now = &situation.member.availability;
    if now != availability {
        return vec![Difference::changed("availability", now, availability)];
    }
    let record = Record::of(situation.member).map(|record| record.verb);
    if record.as_deref() == by {
        return Vec::new();
    }
    vec![Difference { field: "drained by".into(), old: record, new: by.map(str::to_owned) }]
}

fn activated(situation: &Situation<'_>) -> Change {
    let node = &situation.node.name;
    let action = availability::Action { address: situation.node.address, availability: Availability::Active };
    Change {
        summary: format!("activate {node}"),
        reason: "it gets tasks again; what runs elsewhere stays there".to_owned(),
        differences: differences(situation, "active", None),
        gates: vec![Gate::NodeReady { node: node.clone() }],
        until: vec![Gate::TasksRun { services: expected(situation) }],
        ..step(situation.manager, "activate", node, action)
    }
}

fn rebooted(situation: &Situation<'_>, boot_id: String, before: Option<&Change>) -> Change {
    let node = &situation.node.name;
    let action = machine::reboot::Action { boot_id: boot_id.clone() };
    Change {
        summary: format!("reboot {node}"),
        reason: "it was asked for".to_owned(),
        risk: Risk::Disruptive("the machine starts anew".to_owned()),
        after: before.map(|before| before.id.clone()).into_iter().collect(),
        gates: vec![
            Gate::QuorumSurvives { without: node.clone() },
            Gate::OthersReady { but: node.clone() },
            Gate::NodeDrained { node: node.clone() },
        ],
        until: vec![
            Gate::NodeRebooted { node: node.clone(), boot_id },
            Gate::NodeReady { node: node.clone() },
            Gate::EncryptsTraffic { node: node.clone() },
        ],
        ..step(node, "reboot", node, action)
    }
}

/// The tasks that are to run once the node is back: those that run now, and those that only it can run.
fn expected(situation: &Situation<'_>) -> BTreeMap<String, usize> {
    let mut services = running_now(situation.facts);
    for (name, service) in &situation.workloads.services {
        let wanted = service.wanted.and_then(|count| usize::try_from(count).ok());
        if let Some(wanted) = wanted.filter(|_| fate(situation, service, &mut []) == Fate::Pinned) {
            services.insert(name.clone(), wanted);
        }
    }
    services
}

/// What draining the node does to each service that has a task there.
fn consequences(situation: &Situation<'_>, how_long: &str) -> Vec<Finding> {
    let node = &situation.node.name;
    let mut left = room(situation);
    let mut findings = Vec::new();
    for (name, service) in &situation.workloads.services {
        let here = service.tasks.iter().filter(|task| task.node_id == situation.member.id).count();
        if here == 0 {
            continue;
        }
        let (tasks, s) = if here == 1 { ("1 task".to_owned(), "s") } else { (format!("{here} tasks"), "") };
        let (message, hint) = match fate(situation, service, &mut left) {
            Fate::Moves => (format!("{tasks} of {name} move{s} to other nodes"), "nothing to do".to_owned()),
            Fate::EndsHere => {
                (format!("the task of {name} here ends {how_long}"), "the other nodes have theirs".to_owned())
            }
            Fate::Pinned => (
                format!(
                    "{name} is pinned to this node ({}): down {how_long}",
                    service.constraints.join(", ")
                ),
                "plan its downtime, or let another node satisfy its constraints first".to_owned(),
            ),
            Fate::Nowhere => (
                format!(
                    "{tasks} of {name} end{s} for good: no node can run it, with its constraints and reservations"
                ),
                format!(
                    "`docker service inspect {name}` shows them; let a node satisfy them, or remove the service"
                ),
            ),
            Fate::DoesNotFit => (
                format!(
                    "{tasks} of {name} do not fit on the other nodes with what they reserve: they wait {how_long}"
                ),
                "lower its reservations or free room on the others first".to_owned(),
            ),
            Fate::Untold(constraint) => (
                format!("whether {tasks} of {name} can move cannot be told: `{constraint}`"),
                "look at its constraints: docker service inspect".to_owned(),
            ),
        };
        findings.push(Finding::warning(SECTION, message, hint).on(node));
    }
    findings
}
