//! Deploying a stack: Docker's own command, on a manager.

use serde::{Deserialize, Serialize};

use crate::names::ObjectName;

/// Runs `docker stack deploy` with the [`Bundle`](super::Bundle) that is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The stack.
    pub stack: ObjectName,
}
