//! Deploying stacks, and taking them away (manual 6).

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::ProcedureError;
use crate::areas::Action;
use crate::areas::stacks::{self, Conversion, SECTION, ServiceDifference, StackDifference, TasksFate};
use crate::change::{Change, ChangeId, Difference, Handover, Kind, Risk};
use crate::config::Config;
use crate::declare::{Finding, Severity};
use crate::facts::{ClusterFacts, NodeFacts, digest_of};
use crate::gate::{Gate, Shut};
use crate::names::{NodeName, ObjectName};
use crate::plan::Plan;

/// How stacks are deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whether services that are no longer in the file are removed, once the others run.
    pub prunes: bool,
    /// How long the services of a stack may take until all of them run.
    pub within: Duration,
}

/// The manager that stacks are deployed on: the founder, where it reaches a majority, since registries' credentials are a
/// node's own.
///
/// # Errors
/// When there is none that answers.
pub fn stack_manager<'a>(
    config: &'a Config,
    facts: &'a ClusterFacts,
) -> Result<(&'a NodeName, &'a NodeFacts), ProcedureError> {
    let leads = |name: &NodeName| {
        let seen = facts.get(name)?;
        seen.engine.swarm()?.is_manager_with_quorum.then_some(seen)
    };
    let founder = config.founder().into_iter();
    let mut candidates = founder.chain(&config.nodes).map(|node| &node.name);
    candidates.find_map(|name| Some((name, leads(name)?))).ok_or(ProcedureError::NoManager)
}

/// Deploys the stacks that differ, and those that do not run as they are, in this order.
///
/// # Errors
/// [`ProcedureError::NoManager`].
pub fn deploy(
    config: &Config,
    facts: &ClusterFacts,
    conversions: &[Conversion],
    wish: Wish,
) -> Result<Plan, ProcedureError> {
    let (manager, _) = stack_manager(config, facts)?;
    let mut plan = empty(facts);
    for conversion in conversions {
        let difference = StackDifference::of(conversion);
        plan.findings.extend(findings(&difference, wish));
        let until = Gate::Converged { services: services(conversion), within_s: wish.within.as_secs() };
        let state = until.check(config, facts);
        if !difference.is_empty() || state.is_err() {
            plan.changes.push(deployed(manager, &difference, state.err(), until));
        }
        if wish.prunes && !difference.left.is_empty() {
            plan.changes.push(pruned(manager, &difference, plan.changes.last()));
        }
    }
    plan.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(plan)
}

/// The change that deploys a stack on a manager.
#[must_use]
pub fn deployment_of(manager: &NodeName, stack: &ObjectName) -> ChangeId {
    ChangeId(format!("{manager}/stack/{stack}"))
}

/// Takes a stack away.
///
/// # Errors
/// [`ProcedureError`]: no manager, or no such stack.
pub fn remove_stack(
    config: &Config,
    facts: &ClusterFacts,
    stack: &ObjectName,
) -> Result<Plan, ProcedureError> {
    let (manager, seen) = stack_manager(config, facts)?;
    let workloads = seen.volatile.workloads.clone().unwrap_or_default();
    let is_its = |of: &Option<String>| of.as_deref() == Some(stack.as_str());
    let services: Vec<&String> = workloads
        .services
        .iter()
        .filter(|(_, service)| is_its(&service.stack))
        .map(|(name, _)| name)
        .collect();
    if services.is_empty() {
        return Err(ProcedureError::NoStack(stack.clone()));
    }
    let mut plan = empty(facts);
    let mut change = step(manager, &format!("{stack}/rm"), stacks::removal::Action { stack: stack.clone() });
    change.summary = format!("remove the stack {stack}");
    "it was asked for".clone_into(&mut change.reason);
    change.differences =
        services.iter().map(|name| Difference::removed(format!("service {name}"), "runs")).collect();
    let names: Vec<&str> = services.iter().map(|name| name.as_str()).collect();
    change.risk = Risk::Restarts(format!("nothing: {} ends", names.join(", ")));
    plan.changes.push(change);
    let message = format!("volumes of {stack} stay where they are, with what is in them");
    let hint = format!(
        "`docker volume ls --filter label=com.docker.stack.namespace={stack}` on each server names them"
    );
    plan.findings.push(Finding::warning(SECTION, message, hint));
    Ok(plan)
}

fn empty(facts: &ClusterFacts) -> Plan {
    Plan {
        facts: digest_of(facts),
        changes: Vec::new(),
        edge: None,
        findings: Vec::new(),
        withheld: Vec::new(),
        unfinished: Vec::new(),
    }
}

/// The services that are to run after it; a job ends by itself.
fn services(conversion: &Conversion) -> Vec<String> {
    let is_service = |path: &str| path.starts_with("/services/");
    let is_job = |body: &Value| {
        let mode = body.get("Mode");
        mode.is_some_and(|mode| {
            ["ReplicatedJob", "GlobalJob"].iter().any(|job| mode.get(job).is_some_and(|job| !job.is_null()))
        })
    };
    let written = conversion.writes.iter().filter(|write| is_service(&write.path) && !is_job(&write.body));
    let names: BTreeSet<String> = written
        .filter_map(|write| write.body.get("Name").and_then(Value::as_str).map(str::to_owned))
        .collect();
    names.into_iter().collect()
}

fn findings(difference: &StackDifference, wish: Wish) -> Vec<Finding> {
    let stack = &difference.stack;
    let mut found: Vec<Finding> = Vec::new();
    for name in &difference.refused {
        let message = format!("{stack}: the config {name} has another content than the one that is there");
        let hint = "Docker never changes one: give it another `name:` in the file, e.g. with a version";
        found.push(Finding { severity: Severity::Error, ..Finding::warning(SECTION, message, hint) });
    }
    for name in difference.left.iter().filter(|_| !wish.prunes) {
        let message = format!("{stack}: {name} runs, and is no longer in the file");
        let hint =
            format!("`enxame stack deploy {stack} --prune` removes it; so does `docker service rm {name}`");
        found.push(Finding::warning(SECTION, message, hint));
    }
    for image in &difference.undigested {
        let message = format!("{stack}: no registry tells the digest of {image}");
        let hint = "each node takes what it finds under that name: does the registry answer the managers, and let them in?";
        found.push(Finding::warning(SECTION, message, hint));
    }
    for line in &difference.said {
        found.push(Finding::warning(
            SECTION,
            format!("{stack}: docker says: {line}"),
            "see the lint's findings: `enxame stack lint`",
        ));
    }
    found
}

fn step(node: &NodeName, about: &str, action: impl Into<Action>) -> Change {
    Change {
        id: ChangeId(format!("{node}/stack/{about}")),
        node: node.clone(),
        kind: Kind::of("stack"),
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

fn deployed(manager: &NodeName, difference: &StackDifference, shut: Option<Shut>, until: Gate) -> Change {
    let stack = &difference.stack;
    let mut change = step(manager, stack.as_str(), stacks::deploy::Action { stack: stack.clone() });
    change.summary = format!("deploy the stack {stack}");
    change.reason = match (difference.services.is_empty() && difference.made.is_empty(), shut) {
        (false, _) => reason(&difference.services),
        (true, Some(shut)) => format!("it is as its file says, and does not run: {}", shut.why),
        // A config that Docker refuses to change.
        (true, None) => "its file says something else".to_owned(),
    };
    let made = difference.made.iter().map(|made| Difference::added(made.clone(), "is made"));
    let services = difference.services.iter().flat_map(of_service);
    change.differences = made.chain(services).collect();
    let replaced: Vec<&str> = difference
        .services
        .iter()
        .filter(|service| service.tasks != TasksFate::Kept)
        .map(|service| service.name.as_str())
        .collect();
    if !replaced.is_empty() {
        change.risk = Risk::Restarts(format!("the tasks of {}", replaced.join(", ")));
    }
    change.until = vec![until];
    change.handover = Some(Handover::Material);
    change
}

fn reason(services: &[ServiceDifference]) -> String {
    let new = services.iter().filter(|service| service.is_new).count();
    let count = |count: usize, is: &str, are: &str| match count {
        0 => None,
        1 => Some(format!("1 service {is}")),
        several => Some(format!("{several} services {are}")),
    };
    let parts = [count(new, "is new", "are new"), count(services.len() - new, "differs", "differ")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "its networks or configs are not there".to_owned() } else { parts.join(", ") }
}

fn of_service(service: &ServiceDifference) -> impl Iterator<Item = Difference> + '_ {
    let name = &service.name;
    let head = if service.is_new {
        Difference::added(name.clone(), "a new service")
    } else {
        Difference::changed(name.clone(), "runs", service.tasks.words())
    };
    let fields = service.differences.iter().map(move |one| {
        let Difference { field, old, new } = one.clone();
        Difference { field: format!("{name}.{field}").into(), old, new }
    });
    std::iter::once(head).chain(fields)
}

fn pruned(manager: &NodeName, difference: &StackDifference, deployed: Option<&Change>) -> Change {
    let stack = &difference.stack;
    let services = difference.left.clone();
    let action = stacks::prune::Action { stack: stack.clone(), services: services.clone() };
    let mut change = step(manager, &format!("{stack}/prune"), action);
    change.summary = format!("remove what the file of {stack} has no more");
    "it was asked for".clone_into(&mut change.reason);
    change.differences =
        services.iter().map(|name| Difference::removed(format!("service {name}"), "runs")).collect();
    change.risk = Risk::Restarts(format!("nothing: {} ends", services.join(", ")));
    let own = deployment_of(manager, stack);
    change.after =
        deployed.filter(|change| change.id == own).map(|change| change.id.clone()).into_iter().collect();
    change
}

#[cfg(test)]
mod tests;
