//! The swarm of the model: its members, and tasks that end, move and start again.

use std::collections::BTreeMap;
use std::time::Duration;

use enxame_core::areas::swarm::availability::RECORD;
use enxame_core::areas::swarm::{ServiceFacts, TaskFacts, Workloads};
use enxame_core::facts::{NetworkFacts, SwarmNodeFacts};
use enxame_core::names::NodeName;
use tokio::time::Instant;

use super::faults::Dice;

/// Tasks of a node that was drained end within this time.
const DRAINING: Duration = Duration::from_secs(8);
/// Tasks of a node that is down start elsewhere after it (swarmkit gives it three heartbeats).
const GIVEN_UP: Duration = Duration::from_secs(15);

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) facts: SwarmNodeFacts,
    /// Since when its availability is what it is.
    pub(super) since: Instant,
}

impl Member {
    pub(super) fn is_drained(&self) -> bool {
        self.facts.availability == "drain"
    }

    pub(super) fn drain(&mut self, record: Option<&str>) {
        if !self.is_drained() {
            self.since = Instant::now();
        }
        self.facts.availability = "drain".to_owned();
        if let Some(record) = record {
            self.facts.labels.insert(RECORD.to_owned(), record.to_owned());
        }
    }

    pub(super) fn activate(&mut self) {
        self.facts.availability = "active".to_owned();
        self.facts.labels.remove(RECORD);
        self.since = Instant::now();
    }
}

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) service: String,
    /// Only there.
    pub(super) pinned_to: Option<NodeName>,
    pub(super) node: Option<NodeName>,
    pub(super) runs_from: Instant,
}

/// How a node is, for its tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    pub(super) is_ready: bool,
    pub(super) down_since: Instant,
    pub(super) engine_up_at: Instant,
}

/// The swarm.
#[derive(Clone, Debug, Default)]
pub(super) struct Swarm {
    pub(super) members: BTreeMap<NodeName, Member>,
    pub(super) networks: Vec<NetworkFacts>,
    pub(super) tasks: Vec<Task>,
}

impl Swarm {
    /// Moves tasks, as the swarm does by itself.
    pub(super) fn move_tasks(&mut self, health: &BTreeMap<NodeName, Health>, dice: &mut Dice) {
        let now = Instant::now();
        let takes = |node: &NodeName| {
            self.members.get(node).is_some_and(|member| !member.is_drained())
                && health.get(node).is_some_and(|health| health.is_ready)
        };
        let mut counts: BTreeMap<NodeName, usize> = BTreeMap::new();
        for task in &self.tasks {
            *counts
                .entry(task.node.clone().unwrap_or_else(|| NodeName::new("nowhere").unwrap()))
                .or_default() += 1;
        }
        for task in &mut self.tasks {
            if let Some(node) = &task.node {
                let drained = self.members.get(node).filter(|member| member.is_drained());
                let has_left = drained.is_some_and(|member| now >= member.since + DRAINING);
                let health = health.get(node);
                let is_lost =
                    health.is_some_and(|health| !health.is_ready && now >= health.down_since + GIVEN_UP);
                let is_member = self.members.contains_key(node);
                if !has_left && !is_lost && is_member {
                    // A task whose engine was away is started again with it.
                    if let Some(health) = health.filter(|health| health.engine_up_at > task.runs_from) {
                        task.runs_from = health.engine_up_at + dice.between(1_000, 10_000);
                    }
                    continue;
                }
                task.node = None;
            }
            let free = self.members.keys().filter(|node| takes(node));
            let wanted = free
                .filter(|node| task.pinned_to.as_ref().is_none_or(|pin| pin == *node))
                .min_by_key(|node| counts.get(*node).copied().unwrap_or_default())
                .cloned();
            if let Some(node) = wanted {
                *counts.entry(node.clone()).or_default() += 1;
                task.node = Some(node);
                task.runs_from = now + dice.between(2_000, 25_000);
            }
        }
    }

    pub(super) fn runs(task: &Task, health: &BTreeMap<NodeName, Health>) -> bool {
        let now = Instant::now();
        let node = task.node.as_ref().and_then(|node| health.get(node));
        now >= task.runs_from && node.is_some_and(|health| now >= health.engine_up_at)
    }

    /// What a manager tells of it.
    pub(super) fn workloads(&self, health: &BTreeMap<NodeName, Health>) -> Workloads {
        let mut workloads = Workloads::default();
        for task in &self.tasks {
            let service =
                workloads.services.entry(task.service.clone()).or_insert_with(ServiceFacts::default);
            service.wanted = Some(service.wanted.unwrap_or_default() + 1);
            service.constraints =
                task.pinned_to.iter().map(|node| format!("node.hostname == {node}")).collect();
            let member = task.node.as_ref().and_then(|node| self.members.get(node));
            if let Some(member) = member {
                let is_running = Self::runs(task, health);
                let node_id = member.facts.id.clone();
                service.tasks.push(TaskFacts { node_id, is_running, ..TaskFacts::default() });
            }
        }
        workloads
    }
}
