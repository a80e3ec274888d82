//! Defects put in on purpose: each must be found, or the simulation shows nothing.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// The executor looks at no gate.
    GatesIgnored,
    /// Changes begin without waiting for those that they are behind.
    BehindIgnored,
    /// A node has its turn as soon as the change of the one before has ended.
    OthersNotWaitedFor,
    /// A manager that is down counts for the quorum.
    QuorumCountedWrongly,
    /// The dead-man switch is not armed.
    DeadManNotArmed,
    /// A change is confirmed over the connection that stands.
    ConfirmedOverTheOldConnection,
    /// Going back forgets the rules that were there.
    WayBackForgetsTheRules,
    /// A session that ends keeps its lock.
    LockNotFreed,
    /// A reply that did not come is taken for a change that is made.
    LostReplyTakenForDone,
    /// A reboot ends without giving the node tasks again.
    ActivationForgotten,
    /// What waits for a node that does not answer is not told.
    WithheldIgnored,
    /// What was interrupted is not seen by the next one who asks.
    InterruptionForgotten,
    /// The executor goes on after it was asked to stop.
    StopIgnored,
}
