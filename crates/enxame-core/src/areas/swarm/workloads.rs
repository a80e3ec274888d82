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
    /// Those that have failed and were to run, as far as the engine remembers them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<TaskFacts>,
    /// The stack that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Its image, as its entry has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Its last update; `None` before the first, and right after it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateFacts>,
    /// How long a task must run in an update before the next one's turn, in nanoseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub monitor_ns: u64,
}

/// What became of a service's last update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateFacts {
    /// `updating`, `paused`, `completed`, `rollback_started`, `rollback_paused` or `rollback_completed`.
    pub state: String,
    /// The engine's words for it.
    pub message: String,
}

impl ServiceFacts {
    /// How many of its tasks run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tasks.iter().filter(|task| task.is_running).count()
    }
}

/// A task that is to run (its desired state is `running`), or was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// The id of the node it was given to; empty while it was given to none.
    pub node_id: String,
    /// Whether it runs (its state is `running`, so that a health check has passed).
    pub is_running: bool,
    /// Its id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Its container's id; empty before it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// Its number in the service; of one that runs once on every node, the node's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub slot: String,
    /// Its state, e.g. `pending`, `preparing`, `rejected`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// What went wrong; empty where nothing did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// What its container ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Its image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Whether it is as its service's entry says now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_up_to_date: bool,
    /// Since when it is in that state, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since_unix_ms: u64,
    /// When it was made, likewise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub created_unix_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
