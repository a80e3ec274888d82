//! What a manager's own `docker stack deploy` would write, and what runs: the two halves of a difference.
//!
//! The command is run against a socket that passes reads on to the engine and keeps writes to itself. A second converter
//! of our own would be wrong wherever Docker's changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::ObjectName;

/// What came of a stack's conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// The stack.
    pub stack: ObjectName,
    /// What the command would have written, in its order.
    pub writes: Vec<Write>,
    /// What the command said on its standard error, line by line.
    pub said: Vec<String>,
    /// The stack's services that there are, as the engine tells them.
    pub services: Vec<Value>,
    /// The stack's configs that there are, likewise.
    pub configs: Vec<Value>,
    /// The swarm's networks: names by id.
    pub networks: BTreeMap<String, String>,
}

/// A write to the engine's API. What a secret is to hold is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The path below the API's version, without its query, e.g. `/services/create`.
    pub path: String,
    /// What was sent.
    pub body: Value,
}

/// What a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// Something new, e.g. of `networks`.
    New(&'a str),
    /// Something of that kind and id.
    Known(&'a str, &'a str),
}

impl Write {
    /// What it is about; `None` where that is not known.
    pub(super) fn target(&self) -> Option<Target<'_>> {
        match self.path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
            [kind, "create"] => Some(Target::New(kind)),
            [kind, id, "update"] => Some(Target::Known(kind, id)),
            _ => None,
        }
    }

    /// The name of what it is about.
    pub(super) fn name(&self) -> &str {
        self.body.get("Name").and_then(Value::as_str).unwrap_or_default()
    }
}
