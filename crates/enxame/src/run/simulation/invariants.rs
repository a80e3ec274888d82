//! What must hold whatever goes wrong.

use std::fmt;

use enxame_core::change::ChangeId;
use enxame_core::names::NodeName;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// A node was disturbed although too few managers were left without it.
    BelowQuorum(NodeName),
    /// A node was disturbed while another one was not back from that.
    TwoDisturbed(NodeName, NodeName),
    /// Two changes that have their turns one after the other were under way on two nodes.
    TwoTurns(ChangeId, ChangeId),
    /// A node was disturbed while tasks that ran before were still missing.
    TasksMissing(NodeName, String),
    /// No new connection came through for longer than the dead-man switch waits.
    Locked(NodeName),
    /// The guard was there before, and is not there now.
    Open(NodeName),
    /// Nobody applies, and the node's lock is taken.
    LockTaken(NodeName),
    /// A change was said to be made, and the node has not made it.
    SaidDone(ChangeId),
    /// Something was begun after the user had asked to stop.
    BegunAfterStop(ChangeId),
    /// Asking again and again did not come to an end.
    NeverSettles(String),
    /// The plan is empty, and the nodes are not as planned.
    SaidSettled(String),
    /// Nothing went wrong, and a change was not made.
    NotAtOnce(ChangeId),
    /// The plan is a defect of the program.
    NoPlan(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
