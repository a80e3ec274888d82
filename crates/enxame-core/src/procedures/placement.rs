//! Where tasks can go: constraints and reservations against the nodes there are, as swarmkit's scheduler sees them.

use crate::areas::swarm::{Attributes, Constraint, Resources, ServiceFacts};
use crate::facts::SwarmNodeFacts;

use super::Situation;

/// What becomes of a service whose tasks leave a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its tasks start elsewhere.
    Moves,
    /// It runs once on every node: the one here ends.
    EndsHere,
    /// No other node satisfies its constraints.
    Pinned,
    /// Others would do, and none has room for what it reserves.
    DoesNotFit,
    /// Nor does this one, any more: nobody can run it.
    Nowhere,
    /// A constraint is not understood.
    Untold(String),
}

/// Whether a node satisfies a constraint; `None` where that cannot be told.
fn satisfies(node: &SwarmNodeFacts, constraint: &str) -> Option<bool> {
    Constraint::parse(constraint)?.is_met_by(Attributes {
        id: Some(&node.id),
        hostname: &node.hostname,
        is_manager: node.is_manager,
        labels: &node.labels,
    })
}

/// What becomes of a service's tasks on the situation's node when that is drained. `room` is what the others have left, by id;
/// it is taken from.
pub(super) fn fate(
    situation: &Situation<'_>,
    service: &ServiceFacts,
    room: &mut [(String, Resources)],
) -> Fate {
    if service.wanted.is_none() {
        return Fate::EndsHere;
    }
    let mut fitting: Vec<&str> = Vec::new();
    let mut is_fit_here =
        situation.workloads.capacity.get(&situation.member.id).is_none_or(|own| own.holds(service.reserved));
    for node in &situation.swarm.nodes {
        let is_own = node.id == situation.member.id;
        if !is_own && (node.state != "ready" || node.availability != "active") {
            continue;
        }
        let mut is_fit = true;
        for constraint in &service.constraints {
            match satisfies(node, constraint) {
                Some(does) => is_fit &= does,
                None => return Fate::Untold(constraint.clone()),
            }
        }
        if is_own {
            is_fit_here &= is_fit;
        } else if is_fit {
            fitting.push(&node.id);
        }
    }
    if fitting.is_empty() {
        return if is_fit_here { Fate::Pinned } else { Fate::Nowhere };
    }
    let leaving = service.tasks.iter().filter(|task| task.node_id == situation.member.id).count();
    for _ in 0..leaving {
        let place = room
            .iter_mut()
            .filter(|(id, left)| fitting.contains(&id.as_str()) && left.holds(service.reserved))
            .max_by_key(|(_, left)| left.memory_bytes);
        let Some((_, left)) = place else { return Fate::DoesNotFit };
        *left = left.less(service.reserved);
    }
    Fate::Moves
}

/// What every node but the situation's has left beside what is reserved there.
pub(super) fn room(situation: &Situation<'_>) -> Vec<(String, Resources)> {
    let taken = |id: &str| {
        let tasks = situation.workloads.services.values().flat_map(|service| {
            service.tasks.iter().filter(|task| task.node_id == id).map(|_| service.reserved)
        });
        tasks.fold(Resources::default(), Resources::plus)
    };
    let capacities = situation.workloads.capacity.iter().filter(|(id, _)| **id != situation.member.id);
    capacities.map(|(id, capacity)| (id.clone(), capacity.less(taken(id)))).collect()
}
