//! A change: one thing to do on one node, why, and how dangerous it is.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::areas::Action;
use crate::gate::Gate;
use crate::names::NodeName;

/// A kind of resource, e.g. `hosts`; also the name by which the node finds the code that acts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(pub Cow<'static, str>);

impl Kind {
    /// A kind by its name.
    #[must_use]
    pub const fn of(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a change can break while it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing that runs notices.
    Safe,
    /// A service restarts, and nothing of the users' depends on it yet.
    Restarts(String),
    /// Running workloads notice: one node at a time, and only while the swarm keeps its quorum.
    Disruptive(String),
    /// It may cut off SSH: one node at a time, under a dead-man switch, confirmed over a new connection.
    MayCutSsh,
}

impl Risk {
    /// Whether one node at a time is made such a change.
    #[must_use]
    pub fn is_one_at_a_time(&self) -> bool {
        matches!(self, Self::Disruptive(_) | Self::MayCutSsh)
    }
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What differs, e.g. `net.ipv4.ip_forward` or `packages.docker.io`.
    pub field: Cow<'static, str>,
    /// What is there; `None` means absent.
    pub old: Option<String>,
    /// What will be there; `None` means absent.
    pub new: Option<String>,
}

impl Difference {
    /// Something that is absent and will be there.
    pub fn added(field: impl Into<Cow<'static, str>>, new: impl Into<String>) -> Self {
        Self { field: field.into(), old: None, new: Some(new.into()) }
    }

    /// Something that is there and will be absent.
    pub fn removed(field: impl Into<Cow<'static, str>>, old: impl Into<String>) -> Self {
        Self { field: field.into(), old: Some(old.into()), new: None }
    }

    /// Something that will be another.
    pub fn changed(
        field: impl Into<Cow<'static, str>>,
        old: impl Into<String>,
        new: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), old: Some(old.into()), new: Some(new.into()) }
    }
}

/// Something that another node, or the operator's side, hands over while the plan is applied, because it must not be in the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handover {
    /// The swarm's manager token, from this node's engine.
    ManagerToken {
        /// The manager to ask.
        from: NodeName,
    },
    /// The public keys that these nodes have for the tunnels by then.
    TunnelKeys {
        /// The nodes to ask.
        from: Vec<NodeName>,
    },
    /// What the operator's side has for this change, e.g. a stack's files.
    Material,
}

/// A change's identity: `<node>/<kind>` and, where a kind has several, `/<item>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(pub String);

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One thing to do on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its identity.
    pub id: ChangeId,
    /// The node that acts.
    pub node: NodeName,
    /// The resource it belongs to.
    pub kind: Kind,
    /// The manual's section it carries out, e.g. `2.1`.
    pub section: String,
    /// What will be done, in the imperative.
    pub summary: String,
    /// Why it is needed.
    pub reason: String,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What can break meanwhile.
    pub risk: Risk,
    /// The changes that must be done before.
    pub after: Vec<ChangeId>,
    /// The changes that must have ended before, whatever became of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<ChangeId>,
    /// What must hold right before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// What must come true before it counts as done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until: Vec<Gate>,
    /// What another node must hand over first.
    pub handover: Option<Handover>,
    /// What the node does.
    pub action: Action,
}
