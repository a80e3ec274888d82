//! Services that a stack's file has no more.

use serde::{Deserialize, Serialize};

use crate::names::ObjectName;

/// Removes services, as far as they are the stack's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The stack.
    pub stack: ObjectName,
    /// The services, by name.
    pub services: Vec<String>,
}
