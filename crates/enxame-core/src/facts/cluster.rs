//! The facts of a whole cluster, with holes: a node that does not answer is a value, never absence.

use std::collections::BTreeMap;
use std::ops::Index;

use serde::{Deserialize, Serialize};

use super::NodeFacts;
use crate::names::NodeName;

/// What came of looking at a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Look {
    /// It could not be looked at; the text says why.
    Unreachable {
        /// Why.
        unreachable: String,
    },
    /// It was seen.
    Seen(Box<NodeFacts>),
}

/// What came of looking at every node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterFacts(BTreeMap<NodeName, Look>);

impl ClusterFacts {
    /// Keeps what was seen of a node.
    pub fn insert(&mut self, node: NodeName, facts: NodeFacts) {
        self.0.insert(node, Look::Seen(Box::new(facts)));
    }

    /// Keeps that a node did not answer, and why.
    pub fn insert_hole(&mut self, node: NodeName, why: impl Into<String>) {
        self.0.insert(node, Look::Unreachable { unreachable: why.into() });
    }

    /// The facts of a node that was seen.
    #[must_use]
    pub fn get(&self, node: &NodeName) -> Option<&NodeFacts> {
        match self.0.get(node)? {
            Look::Seen(facts) => Some(facts),
            Look::Unreachable { .. } => None,
        }
    }

    /// The same, to change them.
    pub fn get_mut(&mut self, node: &NodeName) -> Option<&mut NodeFacts> {
        match self.0.get_mut(node)? {
            Look::Seen(facts) => Some(facts),
            Look::Unreachable { .. } => None,
        }
    }

    /// The nodes that were seen, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, &NodeFacts)> + Clone {
        self.0.iter().filter_map(|(node, look)| match look {
            Look::Seen(facts) => Some((node, facts.as_ref())),
            Look::Unreachable { .. } => None,
        })
    }

    /// What came of looking at each node, by name.
    pub(super) fn looks(&self) -> impl Iterator<Item = (&NodeName, &Look)> {
        self.0.iter()
    }

    /// The facts of the nodes that were seen.
    pub fn values(&self) -> impl Iterator<Item = &NodeFacts> {
        self.iter().map(|(_, facts)| facts)
    }

    /// The same, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut NodeFacts> {
        self.0.values_mut().filter_map(|look| match look {
            Look::Seen(facts) => Some(facts.as_mut()),
            Look::Unreachable { .. } => None,
        })
    }

    /// The nodes that could not be looked at, and why.
    pub fn holes(&self) -> impl Iterator<Item = (&NodeName, &str)> {
        self.0.iter().filter_map(|(node, look)| match look {
            Look::Seen(_) => None,
            Look::Unreachable { unreachable } => Some((node, unreachable.as_str())),
        })
    }

    /// Whether every node was seen.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.holes().next().is_none()
    }
}

impl FromIterator<(NodeName, NodeFacts)> for ClusterFacts {
    fn from_iter<T: IntoIterator<Item = (NodeName, NodeFacts)>>(nodes: T) -> Self {
        Self(nodes.into_iter().map(|(node, facts)| (node, Look::Seen(Box::new(facts)))).collect())
    }
}

/// For tests, which know whom they look at.
impl Index<&NodeName> for ClusterFacts {
    type Output = NodeFacts;

    #[expect(clippy::expect_used, reason = "indexing is for tests; it panics as a map's does")]
    fn index(&self, node: &NodeName) -> &NodeFacts {
        self.get(node).expect("a node that was seen")
    }
}
