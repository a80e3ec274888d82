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
use crate::plan::Plan;

const SECTION: &str = "7.3";

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
    if situation.member.availability != "drain" {
        plan.findings = consequences(&situation, "until `enxame node activate`");
        let record = Record { verb: "drain".to_owned(), since_unix_s: Some(now_unix_s), boot_id: None };
        plan.changes.push(drained(&situation, &record));
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
    if situation.member.availability != "active" || Record::of(situation.member).is_some() {
        plan.changes.push(activated(&situation));
    }
    Ok(plan)
}

/// Drains a node, starts it anew, waits until it is back whole, and gives it tasks again. A node that is
/// drained already stays drained.
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
    let has_booted = record.as_ref().is_some_and(|record| {
        record.verb == "reboot" && record.boot_id.as_ref().is_some_and(|before| *before != boot_id)
    });
    let is_drained = situation.member.availability == "drain";
    if !is_drained {
        plan.findings = consequences(&situation, "while the node boots");
        let record = Record {
            verb: "reboot".to_owned(),
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
    if is_drained && record.is_none() {
        let hint = format!("`enxame node activate {node}` gives it tasks again");
        plan.findings.push(
            Finding::warning(SECTION, "was drained by somebody else, and stays drained", hint).on(node),
        );
    } else {
        let mut change = activated(&situation);
        if plan.changes.is_empty() {
            // Whoever rebooted it did not wait for that.
            change.gates.push(Gate::EncryptsTraffic { node: node.clone() });
        }
        change.after = plan.changes.last().map(|before| before.id.clone()).into_iter().collect();
        plan.changes.push(change);
    }
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
    Change {
        summary: format!("drain {node}"),
        reason: "its tasks end in order and start on other nodes, where they can".to_owned(),
        differences: vec![Difference::changed("availability", &situation.member.availability, "drain")],
        risk: Risk::Disruptive("tasks on this node end".to_owned()),
        until: vec![Gate::NodeDrained { node: node.clone() }],
        ..step(situation.manager, "drain", node, action)
    }
}

fn activated(situation: &Situation<'_>) -> Change {
    let node = &situation.node.name;
    let action = availability::Action { address: situation.node.address, availability: Availability::Active };
    Change {
        summary: format!("activate {node}"),
        reason: "it gets tasks again; what runs elsewhere stays there".to_owned(),
        differences: vec![Difference::changed("availability", "drain", "active")],
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
