//! Whether tasks are given to a node (manual 7.3). No difference to converge on: procedures change it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The label that says which procedure has drained a node, e.g. `reboot 1764087600`: the verb, and since when in seconds
/// since 1970. It is set and taken away with the availability itself, in one write.
pub const RECORD: &str = "enxame.drained";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The node's address.
    pub address: IpAddr,
    /// What it becomes.
    pub availability: Availability,
}

/// Whether a node gets tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It does.
    Active,
    /// It does not, and those it has move or wait.
    Drain {
        /// What is written into [`RECORD`].
        record: String,
    },
}
