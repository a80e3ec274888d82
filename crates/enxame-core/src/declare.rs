//! What a resource says about itself, purely: what it wants to see, and what differs.

use serde::Serialize;

use crate::areas::Action;
use crate::change::{Difference, Handover, Kind, Risk};
use crate::config::{Config, NodeConfig};
use crate::facts::{ClusterFacts, FactsQuery, NodeFacts};
use crate::names::NodeName;

/// Whether a resource exists once per node or once per cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Once on every node.
    Node,
    /// Once in the cluster; declared for the node that carries it out (see [`View::node`]).
    Cluster,
}

/// What becomes of the swarm when enxame is taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwarmFate {
    /// It runs on, with its services, networks and labels.
    Stays,
    /// Every node leaves it, and with the last one it is gone.
    Left,
}

/// What a resource may look at while it declares itself.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What the user wants.
    pub config: &'a Config,
    /// What is there, on every node.
    pub all: &'a ClusterFacts,
    /// The node in question. For [`Scope::Cluster`]: a manager that has the quorum or, where there is no swarm
    /// yet, the node that founds it.
    pub node: &'a NodeConfig,
    /// That node's facts.
    pub facts: &'a NodeFacts,
}

/// A change before the planner gives it its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The node that acts, when it is not the view's.
    pub node: Option<NodeName>,
    /// The node it is about, where that is one: for the cluster's changes, those of other nodes do not wait for it.
    pub about: Option<NodeName>,
    /// Tells changes of one kind on one node apart.
    pub item: Option<String>,
    /// What will be done, in the imperative.
    pub summary: String,
    /// Why it is needed.
    pub reason: String,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What can break meanwhile.
    pub risk: Risk,
    /// What another node must hand over first.
    pub handover: Option<Handover>,
    /// What the resource's own code will read on the node.
    pub action: Action,
}

impl Draft {
    /// A safe change on the view's own node.
    ///
    /// `action` is the resource's own.
    pub fn new(summary: impl Into<String>, reason: impl Into<String>, action: impl Into<Action>) -> Self {
        Self {
            node: None,
            about: None,
            item: None,
            summary: summary.into(),
            reason: reason.into(),
            differences: Vec::new(),
            risk: Risk::Safe,
            handover: None,
            action: action.into(),
        }
    }

    /// Says what differs.
    #[must_use]
    pub fn differing(mut self, differences: impl IntoIterator<Item = Difference>) -> Self {
        // A list that is long is taken as it is, not copied.
        if self.differences.is_empty() {
            self.differences = differences.into_iter().collect();
        } else {
            self.differences.extend(differences);
        }
        self
    }

    /// Says what can break.
    #[must_use]
    pub fn risking(mut self, risk: Risk) -> Self {
        self.risk = risk;
        self
    }

    /// Lets another node act.
    #[must_use]
    pub fn on(mut self, node: &NodeName) -> Self {
        self.node = Some(node.clone());
        self
    }

    /// Says which node it is about.
    #[must_use]
    pub fn about(mut self, node: &NodeName) -> Self {
        self.about = Some(node.clone());
        self
    }

    /// Names the item, where a kind has several on one node.
    #[must_use]
    pub fn item(mut self, item: impl Into<String>) -> Self {
        self.item = Some(item.into());
        self
    }

    /// Asks another node for something first.
    #[must_use]
    pub fn handed(mut self, handover: Handover) -> Self {
        self.handover = Some(handover);
        self
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; the plan goes on.
    Warning,
    /// The plan must not be applied.
    Error,
}

/// What the user may say to go on in spite of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiver {
    /// `--allow-ssh-cut`: the node goes back by itself where it turns out to be true.
    AllowSshCut,
}

/// Something the plan found that no change can mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The node, unless it concerns the whole cluster.
    pub node: Option<NodeName>,
    /// The manual's section.
    pub section: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// What makes a warning of an error, where anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Waiver>,
}

impl Finding {
    /// What stands in the way of applying, or is worth knowing.
    pub fn new(
        severity: Severity,
        section: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            node: None,
            section: section.into(),
            message: message.into(),
            hint: hint.into(),
            waiver: None,
        }
    }

    /// What keeps the plan from being applied.
    pub fn error(section: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Severity::Error, section, message, hint)
    }

    /// What is worth knowing.
    pub fn warning(section: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Severity::Warning, section, message, hint)
    }

    /// Says which node it is about.
    #[must_use]
    pub fn on(mut self, node: &NodeName) -> Self {
        self.node = Some(node.clone());
        self
    }

    /// Says what makes a warning of it.
    #[must_use]
    pub fn waived_by(mut self, waiver: Waiver) -> Self {
        self.waiver = Some(waiver);
        self
    }
}

/// What a resource declares for one node, or for the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declaration {
    /// What is to be done.
    pub drafts: Vec<Draft>,
    /// What stands in the way or is worth knowing.
    pub findings: Vec<Finding>,
}

impl Declaration {
    /// Nothing to do, nothing found.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds a change.
    pub fn change(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }
}

impl From<Draft> for Declaration {
    fn from(draft: Draft) -> Self {
        Self { drafts: vec![draft], findings: Vec::new() }
    }
}

/// The pure half of a resource.
pub trait Declare: Sync {
    /// Its kind.
    fn kind(&self) -> Kind;
    /// The manual's section it carries out.
    fn section(&self) -> &'static str;
    /// Once per node or once per cluster.
    fn scope(&self) -> Scope;
    /// The kinds that must be done before, on the same node (or, across scopes, on all nodes).
    fn after(&self) -> &'static [Kind];
    /// What it needs to see of a node.
    fn asks(&self, config: &Config, node: &NodeConfig) -> FactsQuery;
    /// What differs, and what stands in the way.
    fn declare(&self, view: &View<'_>) -> Declaration;
    /// What of it is there and goes when enxame is taken off; what was there before comes back.
    fn undeclare(&self, view: &View<'_>, swarm: SwarmFate) -> Declaration;
}
