//! What the executor says of its work. The terminal, `--json` and the tests listen; the executor knows none of them.

use enxame_core::change::{Change, ChangeId};
use enxame_core::gate::Gate;
use enxame_core::names::NodeName;
use serde::Serialize;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event<'a> {
    /// A change begins.
    Began(&'a Change),
    /// What a node is doing.
    Said {
        /// The node.
        node: &'a NodeName,
        /// The text, for people.
        text: &'a str,
    },
    /// A change waits for a gate that does not hold yet.
    Waiting {
        /// The change.
        change: &'a Change,
        /// The gate.
        gate: &'a Gate,
        /// Why it does not hold.
        why: &'a str,
    },
    /// A change has ended.
    Ended {
        /// The change.
        change: &'a Change,
        /// What became of it.
        outcome: &'a Outcome,
    },
    /// The user asked to stop: what runs is ended, nothing more is begun.
    Stopping,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It was made.
    Done,
    /// It could not be made.
    Failed {
        /// The chain of causes, outermost first.
        causes: Vec<String>,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It was not begun, because a gate did not hold in time.
    Held {
        /// The gate, in words.
        gate: String,
        /// Why it did not hold.
        why: String,
    },
    /// It was made, and what was to come of it did not in time, or never will.
    Unmet {
        /// What was waited for, in words.
        gate: String,
        /// Why it did not come true.
        why: String,
    },
    /// It was not tried, because this one was not made.
    Skipped(ChangeId),
    /// It was not tried, because the user asked to stop.
    Stopped,
}
