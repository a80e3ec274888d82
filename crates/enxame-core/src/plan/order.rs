//! The order of changes.
//!
//! On one node a change comes after those of the kinds its own kind comes after. Disruptive changes of all nodes
//! form one sequence, the founder's last, so that one node at a time is disturbed. Changes of the cluster form
//! one sequence too, in the registry's order, behind every change of a node.

use std::collections::{BTreeMap, BTreeSet};

use super::PlanError;
use crate::change::{Change, ChangeId, Kind};
use crate::config::Config;
use crate::declare::{Declare, Scope};
use crate::names::NodeName;

pub(super) fn in_order(
    config: &Config,
    registry: &[&dyn Declare],
    mut changes: Vec<Change>,
) -> Result<Vec<Change>, PlanError> {
    if let Some(twice) = first_repeated(&changes) {
        return Err(PlanError::Twice(twice));
    }
    let of_cluster: BTreeSet<Kind> = registry
        .iter()
        .filter(|resource| resource.scope() == Scope::Cluster)
        .map(|resource| resource.kind())
        .collect();
    order_on_nodes(registry, &of_cluster, &mut changes);
    // What is chained next must not go against what stands now.
    let mut changes = sorted(changes)?;
    order_disruptions(config, &of_cluster, &mut changes);
    order_cluster(&of_cluster, &mut changes);
    sorted(changes)
}

pub(super) fn first_repeated(changes: &[Change]) -> Option<ChangeId> {
    let mut seen = BTreeSet::new();
    changes.iter().find(|change| !seen.insert(&change.id)).map(|change| change.id.clone())
}

fn order_on_nodes(registry: &[&dyn Declare], of_cluster: &BTreeSet<Kind>, changes: &mut [Change]) {
    let ancestors: BTreeMap<Kind, BTreeSet<Kind>> =
        registry.iter().map(|resource| (resource.kind(), ancestors(registry, &resource.kind()))).collect();
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

pub(super) fn order_disruptions(config: &Config, of_cluster: &BTreeSet<Kind>, changes: &mut [Change]) {
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
    let sequence: Vec<usize> = sequence.into_iter().map(|(_, index)| index).collect();
    chain(changes, &sequence);
}

fn order_cluster(of_cluster: &BTreeSet<Kind>, changes: &mut [Change]) {
    let (cluster, nodes): (Vec<usize>, Vec<usize>) = (0..changes.len())
        .partition(|index| changes.get(*index).is_some_and(|change| of_cluster.contains(&change.kind)));
    let before: Vec<ChangeId> =
        nodes.iter().filter_map(|index| changes.get(*index)).map(|change| change.id.clone()).collect();
    if let Some(first) = cluster.first().and_then(|index| changes.get_mut(*index)) {
        first.after = before;
    }
    chain(changes, &cluster);
}

/// Makes each change of the sequence come after the one before it.
fn chain(changes: &mut [Change], sequence: &[usize]) {
    let mut previous: Option<ChangeId> = None;
    for index in sequence {
        let Some(change) = changes.get_mut(*index) else { continue };
        if let Some(previous) = previous.replace(change.id.clone())
            && !change.after.contains(&previous)
        {
            change.after.push(previous);
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
        let before: BTreeSet<usize> = change.after.iter().filter_map(|id| places.get(id).copied()).collect();
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
