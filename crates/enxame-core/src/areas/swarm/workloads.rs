//! What runs in the swarm: services, their tasks, and what they ask of the nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What runs, as a manager with quorum sees it. It changes by itself, all the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workloads {
    /// The services, by name.
    pub services: BTreeMap<String, ServiceFacts>,
    /// What each node has to give, by its id in the swarm.
    pub capacity: BTreeMap<String, Resources>,
}

/// Processors and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Processors, in billionths of one.
    pub nano_cpus: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

impl Resources {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            nano_cpus: self.nano_cpus.saturating_add(other.nano_cpus),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    /// What is left when the other is taken.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            nano_cpus: self.nano_cpus.saturating_sub(other.nano_cpus),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }

    /// Whether the other fits into it.
    #[must_use]
    pub fn holds(self, other: Self) -> bool {
        self.nano_cpus >= other.nano_cpus && self.memory_bytes >= other.memory_bytes
    }
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFacts {
    /// How many tasks it wants; `None` where it wants one on every node that fits (`mode: global`).
    pub wanted: Option<u64>,
    /// Its placement constraints, as written, e.g. `node.labels.db == true`.
    pub constraints: Vec<String>,
    /// What each of its tasks reserves.
    pub reserved: Resources,
    /// Its tasks that are to run, by where they are.
    pub tasks: Vec<TaskFacts>,
}

impl ServiceFacts {
    /// How many of its tasks run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tasks.iter().filter(|task| task.is_running).count()
    }
}

/// A task that is to run (its desired state is `running`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// The id of the node it was given to; empty while it was given to none.
    pub node_id: String,
    /// Whether it runs (its state is `running`, so that a health check has passed).
    pub is_running: bool,
}
