//! The plan for wanting nothing: what enxame made goes, what was there before comes back, the firewall last.
//!
//! What is ours is known by looking (a header, a marked block, a comment, a chain's name) and, where something else was in
//! its place, by what the node has kept of it. Invariant: where nothing of ours is there the plan is empty.

use std::collections::BTreeSet;

use super::order::{ancestors, chain, disturbing, first_repeated, sorted};
use super::{Plan, PlanError, executor, placed, query_for, view};
use super::{checks, withheld};
use crate::areas::Action;
use crate::areas::firewall::Service;
use crate::areas::firewall::removal::{UfwFate, opened};
use crate::change::Change;
use crate::config::{Config, EdgeProvider, NodeConfig};
use crate::declare::{Declare, Finding, Scope, SwarmFate, View};
use crate::facts::{Before, ClusterFacts, FactsQuery, FileFacts, Observed, digest_of};

/// What to ask a node for, so that every resource can say what of it is there.
#[must_use]
pub fn query_for_removal(config: &Config, node: &NodeConfig, registry: &[&dyn Declare]) -> FactsQuery {
    FactsQuery { departure: true, ..query_for(config, node, registry) }
}

/// Makes the plan that takes enxame off.
///
/// # Errors
/// [`PlanError`]; what stands in the way is no error but in [`Plan::findings`].
pub fn make_removal(
    config: &Config,
    facts: &ClusterFacts,
    swarm: SwarmFate,
    registry: &[&dyn Declare],
) -> Result<Plan, PlanError> {
    let mut findings = Vec::new();
    let mut changes = Vec::new();
    for resource in registry.iter().rev() {
        let views: Vec<View<'_>> = match resource.scope() {
            Scope::Node => config.nodes.iter().filter_map(|node| view(config, facts, node)).collect(),
            Scope::Cluster => {
                executor(config, facts).and_then(|node| view(config, facts, node)).into_iter().collect()
            }
        };
        for view in &views {
            let declaration = resource.undeclare(view, swarm);
            findings.extend(declaration.findings);
            let drafts = declaration.drafts.into_iter();
            changes.extend(drafts.map(|draft| placed(*resource, view, draft).change));
        }
    }
    findings.extend(
        config.nodes.iter().filter_map(|node| view(config, facts, node)).flat_map(|view| unseen(&view)),
    );
    if !changes.is_empty() {
        findings.extend(told(config, facts, swarm, &changes));
        findings.extend(checks::of_removal(facts, &changes));
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.node.cmp(&b.node)));
    let changes = in_order(config, registry, changes)?;
    let withheld = withheld::of_holes(config, facts);
    Ok(Plan { facts: digest_of(facts), changes, edge: None, findings, withheld, unfinished: Vec::new() })
}

fn is_of_the_firewall(change: &Change) -> bool {
    matches!(change.action, Action::Firewall(_))
}

/// On a node a change comes after those of the kinds that come after its own when they are made. The firewall comes last
/// of all: whatever cannot be taken off stays behind it. What may cut off SSH goes one node at a time.
fn in_order(
    config: &Config,
    registry: &[&dyn Declare],
    mut changes: Vec<Change>,
) -> Result<Vec<Change>, PlanError> {
    if let Some(twice) = first_repeated(&changes) {
        return Err(PlanError::Twice(twice));
    }
    let seen: Vec<_> = changes
        .iter()
        .map(|change| {
            let followed = ancestors(registry, &change.kind);
            (
                change.node.clone(),
                change.kind.clone(),
                change.id.clone(),
                is_of_the_firewall(change),
                followed,
            )
        })
        .collect();
    for (place, change) in changes.iter_mut().enumerate() {
        let is_last = is_of_the_firewall(change);
        let before =
            seen.iter().enumerate().filter(|(other_place, (node, kind, _, other_is_last, followed))| {
                let stands_before = if is_last == *other_is_last {
                    // Of one kind the first that was declared is the first.
                    followed.contains(&change.kind) || (*kind == change.kind && *other_place < place)
                } else {
                    is_last
                };
                *node == change.node && stands_before
            });
        change.after = before.map(|(_, (_, _, id, ..))| id.clone()).collect();
    }
    let mut changes = sorted(changes)?;
    let disturbing = disturbing(config, &of_the_swarm(registry), &changes);
    chain(&mut changes, &disturbing);
    sorted(changes)
}

/// Leaving the swarm disturbs everybody at once: one node after the other would only take longer.
fn of_the_swarm(registry: &[&dyn Declare]) -> BTreeSet<crate::change::Kind> {
    let of_cluster = registry.iter().filter(|resource| resource.scope() == Scope::Cluster);
    of_cluster.map(|resource| resource.kind()).collect()
}

/// What cannot be seen where enxame has been: something of it may be in there, and must not be left behind as taken off.
fn unseen(view: &View<'_>) -> Vec<Finding> {
    if view.facts.before.as_ref().is_none_or(Before::is_of_nothing) {
        return Vec::new();
    }
    let files = view.facts.files.iter().filter_map(|(path, file)| match file {
        FileFacts::Unreadable(why) => Some(format!("{path} cannot be read: {why}")),
        FileFacts::Absent | FileFacts::Text { .. } => None,
    });
    let filter = &view.facts.filter;
    let guard = match &filter.guard {
        Observed::Unknown(why) => Some(why),
        Observed::Known(_) => None,
    };
    let tables = [&filter.ipv4, &filter.ipv6].into_iter().filter_map(|table| match table {
        Observed::Unknown(why) => Some(why),
        Observed::Known(_) => None,
    });
    let rules = tables.chain(guard).map(|why| format!("the rules that are live cannot be seen: {why}"));
    let hint = "what of it is enxame's cannot be taken off; mend it on the node, then uninstall again";
    files.chain(rules).map(|message| Finding::error("2", message, hint).on(&view.node.name)).collect()
}

/// What a person should know before saying yes.
fn told(config: &Config, facts: &ClusterFacts, swarm: SwarmFate, changes: &[Change]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for view in config.nodes.iter().filter_map(|node| view(config, facts, node)) {
        let mut of_node = changes.iter().filter(|change| change.node == view.node.name);
        findings.extend(of_node.clone().any(is_of_the_firewall).then(|| open_again(&view)));
        let is_missing = view.facts.before.as_ref().is_some_and(Before::is_missing);
        findings.extend((is_missing && of_node.next().is_some()).then(|| unknown(&view)));
    }
    let members = facts.values().any(crate::facts::NodeFacts::is_swarm_member);
    if members && swarm == SwarmFate::Stays {
        findings.push(Finding::warning(
            "5.2",
            "the swarm runs on, with its services, networks and labels, and with no packet filter in front of it",
            "--swarm leaves it too",
        ));
    }
    if config.firewall.edge.provider != EdgeProvider::Manual {
        findings.push(Finding::warning(
            "3",
            "the provider's firewall stays as it is",
            "take it away at the provider, if nothing else is behind it",
        ));
    }
    findings
}

fn open_again(view: &View<'_>) -> Finding {
    let text = |service: &Service| match service.port() {
        Some(port) => format!("{port}/{}", service.protocol().to_lowercase()),
        None => service.protocol().to_owned(),
    };
    let ports: Vec<String> = opened(view).iter().map(text).collect();
    let ports = if ports.is_empty() { "nothing that is seen now".to_owned() } else { ports.join(", ") };
    let but = match UfwFate::before(view.facts) {
        UfwFate::Off => "",
        UfwFate::On => " (but for what ufw's own rules of before keep out)",
    };
    let message = format!("open to everybody again{but}: {ports}");
    let hint = "that is what listens now, and what the swarm publishes; whatever starts to listen later is open as well";
    Finding::warning("3", message, hint).on(&view.node.name)
}

fn unknown(view: &View<'_>) -> Finding {
    let message = "an earlier build of enxame made the first changes here and kept nothing of what was there: host name, live \
                   kernel parameters, ufw's policies and members of the group docker stay as they are, and ufw is turned off";
    let hint = "set by hand what is to be another";
    Finding::warning("2", message, hint).on(&view.node.name)
}
