//! Taking a stack away: Docker's own command, on a manager. Volumes stay where they are.

use serde::{Deserialize, Serialize};

use crate::names::ObjectName;

/// Runs `docker stack rm`, and waits until nothing of it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The stack.
    pub stack: ObjectName,
}
