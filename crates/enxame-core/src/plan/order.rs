//! The order of changes: one graph over those of nodes and those of the cluster.
//!
//! A change *needs* others (`after`: they must be done) or only has its turn behind them (`behind`: they must have ended,
//! whatever became of them), so that what fails holds up what needs it and nothing else. On one node a change needs those of
//! the kinds its own kind comes after, and whatever on another makes what it is handed. A change of the cluster needs all changes of the node that acts and of the node it
//! is about, and the cluster's of the kinds before it that are about the same node or about none. Changes that disturb
//! nodes have their turns one after the other, the founder's last, and so have the cluster's, in the registry's order. Nothing is
//! asked of the swarm while an engine restarts.

use std::collections::{BTreeMap, BTreeSet};

use super::PlanError;
use crate::areas::tunnel;
use crate::change::{Change, ChangeId, Handover, Kind, Risk};
use crate::config::Config;
use crate::declare::{Declare, Scope};
use crate::names::NodeName;

/// A change and the node it is about; the cluster's may be about none.
pub(super) struct Placed {
    pub(super) change: Change,
    pub(super) about: Option<NodeName>,
}

pub(super) fn in_order(
    config: &Config,
    registry: &[&dyn Declare],
    placed: Vec<Placed>,
) -> Result<Vec<Change>, PlanError> {
    let abouts: BTreeMap<ChangeId, Option<NodeName>> =
        placed.iter().map(|placed| (placed.change.id.clone(), placed.about.clone())).collect();
    let mut changes: Vec<Change> = placed.into_iter().map(|placed| placed.change).collect();
    if let Some(twice) = first_repeated(&changes) {
        return Err(PlanError::Twice(twice));
    }
    let of_cluster: BTreeSet<Kind> = registry
        .iter()
        .filter(|resource| resource.scope() == Scope::Cluster)
        .map(|resource| resource.kind())
        .collect();
    let ancestors: BTreeMap<Kind, BTreeSet<Kind>> =
        registry.iter().map(|resource| (resource.kind(), ancestors(registry, &resource.kind()))).collect();
    order_on_nodes(&ancestors, &of_cluster, &mut changes);
    order_cluster(&ancestors, &of_cluster, &abouts, &mut changes);
    // As declared: a kind asks for none that the registry has behind it.
    let cluster: Vec<usize> = (0..changes.len())
        .filter(|index| changes.get(*index).is_some_and(|change| of_cluster.contains(&change.kind)))
        .collect();
    chain(&mut changes, &cluster);
    // What is chained next must not go against what stands now.
    let mut changes = sorted(changes)?;
    let disturbing = disturbing(config, &of_cluster, &changes);
    chain(&mut changes, &disturbing);
    keep_apart(&of_cluster, &mut changes);
    sorted(changes)
}

/// A swarm of two managers does not answer while one of them is disturbed, so that what is asked of it meanwhile fails: the
/// cluster's changes go before those that restart a member's engine, unless they come after them already.
fn keep_apart(of_cluster: &BTreeSet<Kind>, changes: &mut [Change]) {
    let ids = |changes: &[Change], is_it: &dyn Fn(&Change) -> bool| -> Vec<ChangeId> {
        changes.iter().filter(|change| is_it(change)).map(|change| change.id.clone()).collect()
    };
    let of_nodes = |change: &Change| !of_cluster.contains(&change.kind);
    let restarts = ids(changes, &|change| matches!(change.risk, Risk::Disruptive(_)) && of_nodes(change));
    let asked = ids(changes, &|change| !of_nodes(change));
    for restart in &restarts {
        for asked in &asked {
            let is_sequential =
                before(changes, asked).contains(restart) || before(changes, restart).contains(asked);
            if let Some(change) = changes.iter_mut().find(|change| change.id == *restart && !is_sequential) {
                change.behind.push(asked.clone());
            }
        }
    }
}

/// All that a change waits for, and what these wait for, and so on.
fn before(changes: &[Change], of: &ChangeId) -> BTreeSet<ChangeId> {
    let mut found = BTreeSet::new();
    let mut open = vec![of.clone()];
    while let Some(next) = open.pop() {
        let change = changes.iter().find(|change| change.id == next);
        for one in change.into_iter().flat_map(|change| change.after.iter().chain(&change.behind)) {
            if found.insert(one.clone()) {
                open.push(one.clone());
            }
        }
    }
    found
}

pub(super) fn first_repeated(changes: &[Change]) -> Option<ChangeId> {
    let mut seen = BTreeSet::new();
    changes.iter().find(|change| !seen.insert(&change.id)).map(|change| change.id.clone())
}

fn order_on_nodes(
    ancestors: &BTreeMap<Kind, BTreeSet<Kind>>,
    of_cluster: &BTreeSet<Kind>,
    changes: &mut [Change],
) {
    let mut by_node: BTreeMap<NodeName, Vec<(Kind, ChangeId)>> = BTreeMap::new();
    for change in changes.iter().filter(|change| !of_cluster.contains(&change.kind)) {
        by_node.entry(change.node.clone()).or_default().push((change.kind.clone(), change.id.clone()));
    }
    for change in changes.iter_mut().filter(|change| !of_cluster.contains(&change.kind)) {
        let Some((before, others)) = ancestors.get(&change.kind).zip(by_node.get(&change.node)) else {
            continue;
        };
        change.after =
            others.iter().filter(|(kind, _)| before.contains(kind)).map(|(_, id)| id.clone()).collect();
        // What is handed over is made before.
        if let Some(Handover::TunnelKeys { from }) = &change.handover {
            let made = from.iter().filter_map(|node| by_node.get(node)).flatten();
            let made = made.filter(|(kind, _)| *kind == tunnel::key::KIND);
            change.after.extend(made.map(|(_, id)| id.clone()));
        }
    }
}

fn order_cluster(
    ancestors: &BTreeMap<Kind, BTreeSet<Kind>>,
    of_cluster: &BTreeSet<Kind>,
    abouts: &BTreeMap<ChangeId, Option<NodeName>>,
    changes: &mut [Change],
) {
    struct Other {
        id: ChangeId,
        node: NodeName,
        kind: Kind,
        about: Option<NodeName>,
    }
    let others: Vec<Other> = changes
        .iter()
        .map(|change| Other {
            id: change.id.clone(),
            node: change.node.clone(),
            kind: change.kind.clone(),
            about: abouts.get(&change.id).cloned().flatten(),
        })
        .collect();
    for change in changes.iter_mut().filter(|change| of_cluster.contains(&change.kind)) {
        let about = abouts.get(&change.id).cloned().flatten();
        let before = ancestors.get(&change.kind);
        let needs = |other: &&Other| {
            if of_cluster.contains(&other.kind) {
                let is_before = before.is_some_and(|before| before.contains(&other.kind));
                is_before && (other.about.is_none() || other.about == about)
            } else {
                other.node == change.node || Some(&other.node) == about.as_ref()
            }
        };
        change.after = others.iter().filter(needs).map(|other| other.id.clone()).collect();
    }
}

/// The kinds a kind comes after, and those they come after, and so on.
pub(super) fn ancestors(registry: &[&dyn Declare], kind: &Kind) -> BTreeSet<Kind> {
    let mut found = BTreeSet::new();
    let mut open = vec![kind.clone()];
    while let Some(next) = open.pop() {
        let resource = registry.iter().find(|resource| resource.kind() == next);
        for parent in resource.map(|resource| resource.after()).unwrap_or_default() {
            if found.insert(parent.clone()) {
                open.push(parent.clone());
            }
        }
    }
    found
}

/// The places of the changes that disturb a node, node by node, the founder's last.
pub(super) fn disturbing(config: &Config, of_cluster: &BTreeSet<Kind>, changes: &[Change]) -> Vec<usize> {
    let places: BTreeMap<&NodeName, usize> =
        config.nodes.iter().enumerate().map(|(place, node)| (&node.name, place)).collect();
    let founder = config.founder().map(|node| &node.name);
    let place = |change: &Change| (Some(&change.node) == founder, places.get(&change.node).copied());
    let mut sequence: Vec<(_, usize)> = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| change.risk.is_one_at_a_time() && !of_cluster.contains(&change.kind))
        .map(|(index, change)| (place(change), index))
        .collect();
    // Within a node the order stays, which is that of `after` already.
    sequence.sort_unstable();
    sequence.into_iter().map(|(_, index)| index).collect()
}

/// Gives each change of the sequence its turn behind the one before it.
pub(super) fn chain(changes: &mut [Change], sequence: &[usize]) {
    let mut previous: Option<ChangeId> = None;
    for index in sequence {
        let Some(change) = changes.get_mut(*index) else { continue };
        if let Some(previous) = previous.replace(change.id.clone())
            && !change.after.contains(&previous)
        {
            change.behind.push(previous);
        }
    }
}

/// Kahn's algorithm; of the changes that may come next, the one that was declared first does.
pub(super) fn sorted(changes: Vec<Change>) -> Result<Vec<Change>, PlanError> {
    let places: BTreeMap<&ChangeId, usize> =
        changes.iter().enumerate().map(|(index, change)| (&change.id, index)).collect();
    let mut followers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut missing: BTreeMap<usize, usize> = BTreeMap::new();
    let mut ready: BTreeSet<usize> = BTreeSet::new();
    for (index, change) in changes.iter().enumerate() {
        let before: BTreeSet<usize> =
            change.after.iter().chain(&change.behind).filter_map(|id| places.get(id).copied()).collect();
        if before.is_empty() {
            ready.insert(index);
        } else {
            missing.insert(index, before.len());
        }
        for one in before {
            followers.entry(one).or_default().push(index);
        }
    }
    let mut order = Vec::with_capacity(changes.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for follower in followers.remove(&next).unwrap_or_default() {
            if let Some(count) = missing.get_mut(&follower) {
                *count -= 1;
                if *count == 0 {
                    missing.remove(&follower);
                    ready.insert(follower);
                }
            }
        }
    }
    if let Some(change) = missing.keys().next().and_then(|index| changes.get(*index)) {
        return Err(PlanError::Cycle(change.id.clone()));
    }
    let mut slots: Vec<Option<Change>> = changes.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| slots.get_mut(index).and_then(Option::take)).collect())
}
