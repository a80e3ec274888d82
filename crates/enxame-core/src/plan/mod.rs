//! The plan: what to do about the difference between what is wanted and what is there.
//!
//! Planning is pure and deterministic: the same configuration and facts give the same plan, byte for byte.
//! Nothing is left to decide when it is applied.

mod absent;
mod checks;
mod order;
mod removal;
mod withheld;

use serde::{Deserialize, Serialize};

use self::order::Placed;
use crate::change::{Change, ChangeId, Risk};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declare, Draft, Finding, Scope, Severity, View, Waiver};
use crate::edge::{self, EdgeChange, EdgeFacts};
pub use removal::{make_removal, query_for_removal};

use crate::facts::{ClusterFacts, FactsDigest, FactsQuery, NodeFacts, digest_of};
use crate::gate;
use crate::names::NodeName;
pub use absent::{Absence, check_absence};
pub(crate) use checks::of_changes;

/// What is to be done, in an order that may be followed from top to bottom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The facts it was made for.
    pub facts: FactsDigest,
    /// The changes; each stands behind those it comes after.
    pub changes: Vec<Change>,
    /// What is to be done at the provider's edge, before everything else.
    pub edge: Option<EdgeChange>,
    /// What no change can mend, worst first.
    pub findings: Vec<Finding>,
    /// What is not done, because of a node that does not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<Withheld>,
    /// What somebody began and nobody ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<Unfinished>,
}

/// Something that waits for a node that does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// The node that does not answer.
    pub because_of: NodeName,
    /// What is not done, in the imperative.
    pub what: String,
    /// Why not.
    pub why: String,
    /// Whether it is about that node itself, which whoever goes on without it has agreed to.
    pub is_of_the_node_itself: bool,
}

/// A procedure that was begun and not ended, by what it left in the swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The node it is about.
    pub node: NodeName,
    /// What was begun, e.g. `reboot`.
    pub verb: String,
    /// Since when, in seconds since 1970.
    pub since_unix_s: Option<u64>,
    /// Whether the node gets no tasks still; otherwise somebody activated it by hand, and only the record is left.
    pub is_drained: bool,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The resources' order contradicts itself: a defect of the program.
    #[error("the order of changes has a cycle through {0}")]
    Cycle(ChangeId),
    /// Two changes have one identity: a defect of the program.
    #[error("two changes are called {0}")]
    Twice(ChangeId),
}

impl Plan {
    /// Whether nothing is to be done now. Something may be withheld or unfinished all the same ([`Plan::is_settled`]).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.edge.is_none()
    }

    /// Whether whatever was interrupted has been made good: every node was seen, and nothing is left to do on any. What is
    /// withheld because of a node that does not answer is left, and may be just what was interrupted.
    #[must_use]
    pub fn leaves_nothing_open(&self, facts: &ClusterFacts) -> bool {
        facts.is_whole() && self.is_empty() && self.withheld.is_empty()
    }

    /// Whether everything is as it is to be: nothing is to be done, and nothing waits for anybody.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_empty() && self.withheld.is_empty() && self.unfinished.is_empty()
    }

    /// Whether it does the same to nodes in the same state. What must hold right before a change may be another: that
    /// is looked at in its turn, and how many tasks of a service run changes by itself.
    #[must_use]
    pub fn does_the_same_as(&self, other: &Self) -> bool {
        let ungated = |plan: &Self| -> Vec<Change> {
            let changes = plan.changes.iter().cloned();
            changes.map(|change| Change { gates: Vec::new(), ..change }).collect()
        };
        self.facts == other.facts && self.edge == other.edge && ungated(self) == ungated(other)
    }

    /// Whether it shows that all is done, on every node: nothing stands in the way of seeing or doing the rest.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_settled() && !self.is_refused()
    }

    /// Makes warnings of the errors that the user has seen and goes on in spite of.
    #[must_use]
    pub fn waiving(mut self, waiver: Waiver) -> Self {
        for finding in self.findings.iter_mut().filter(|finding| finding.waiver == Some(waiver)) {
            finding.severity = Severity::Warning;
        }
        self
    }

    /// Whether it must not be applied.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// What to ask a node for, so that every resource can declare itself.
#[must_use]
pub fn query_for(config: &Config, node: &NodeConfig, registry: &[&dyn Declare]) -> FactsQuery {
    let mut query = FactsQuery::default();
    for resource in registry {
        query.merge(resource.asks(config, node));
    }
    query.peers.extend(config.peers_of(&node.name).map(|peer| peer.address));
    query
}

/// Makes the plan; `seen_edge` is what the provider has, where it is to be asked.
///
/// # Errors
/// [`PlanError`]; what stands in the way of applying is no error but in [`Plan::findings`].
pub fn make(
    config: &Config,
    facts: &ClusterFacts,
    seen_edge: Option<&EdgeFacts>,
    registry: &[&dyn Declare],
) -> Result<Plan, PlanError> {
    let mut plan = Plan {
        facts: digest_of(facts),
        changes: Vec::new(),
        edge: None,
        findings: checks::all(config, facts),
        withheld: withheld::of_holes(config, facts),
        unfinished: withheld::unfinished(config, facts),
    };
    let (edge, of_the_edge) = seen_edge.map(|seen| edge::difference(config, facts, seen)).unwrap_or_default();
    plan.edge = edge;
    plan.findings.extend(of_the_edge);
    let mut placed = Vec::new();
    for resource in registry {
        for view in views(config, facts, resource.scope()) {
            let declaration = resource.declare(&view);
            plan.findings.extend(declaration.findings);
            placed.extend(declaration.drafts.into_iter().map(|draft| self::placed(*resource, &view, draft)));
        }
    }
    plan.changes = order::in_order(config, registry, placed)?;
    gate(facts, registry, &mut plan.changes);
    withheld::withhold(config, facts, &mut plan);
    plan.findings.extend(of_changes(config, facts, &plan.changes));
    plan.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.node.cmp(&b.node)));
    Ok(plan)
}

/// What resources of a scope are shown, one after the other.
fn views<'a>(config: &'a Config, facts: &'a ClusterFacts, scope: Scope) -> Vec<View<'a>> {
    match scope {
        Scope::Node => config.nodes.iter().filter_map(|node| view(config, facts, node)).collect(),
        // Without quorum nothing can be seen or changed: what is not seen is not absent.
        Scope::Cluster if checks::has_lost_quorum(facts) => Vec::new(),
        // And a node that does not answer may be in the swarm that nobody else knows of.
        Scope::Cluster if withheld::may_hide_a_swarm(facts) => Vec::new(),
        Scope::Cluster => {
            executor(config, facts).and_then(|node| view(config, facts, node)).into_iter().collect()
        }
    }
}

/// Says what must hold right before a member of the swarm is disturbed.
fn gate(facts: &ClusterFacts, registry: &[&dyn Declare], changes: &mut [Change]) {
    let is_of_node = |change: &Change| {
        let resource = registry.iter().find(|resource| resource.kind() == change.kind);
        resource.is_some_and(|resource| resource.scope() == Scope::Node)
    };
    let services = gate::running_now(facts);
    for change in changes.iter_mut().filter(|change| matches!(change.risk, Risk::Disruptive(_))) {
        if !is_of_node(change) || !facts.get(&change.node).is_some_and(NodeFacts::is_swarm_member) {
            continue;
        }
        change.gates = gate::before_disturbing(&change.node, &services);
    }
}

/// What a resource sees of a node; `None` where that was not seen.
fn view<'a>(config: &'a Config, all: &'a ClusterFacts, node: &'a NodeConfig) -> Option<View<'a>> {
    Some(View { config, all, node, facts: all.get(&node.name)? })
}

/// The node that acts for the cluster: a manager with quorum, preferably the founder; without a swarm, the founder.
fn executor<'a>(config: &'a Config, facts: &ClusterFacts) -> Option<&'a NodeConfig> {
    let leads = |node: &&NodeConfig| facts.get(&node.name).is_some_and(manages_with_quorum);
    let founder = config.founder();
    let manager = founder.filter(leads).or_else(|| config.nodes.iter().find(leads));
    manager.or(founder)
}

fn manages_with_quorum(facts: &NodeFacts) -> bool {
    facts.engine.swarm().is_some_and(|swarm| swarm.is_manager_with_quorum)
}

fn placed(resource: &dyn Declare, view: &View<'_>, draft: Draft) -> Placed {
    let node = draft.node.unwrap_or_else(|| view.node.name.clone());
    let kind = resource.kind();
    let id = match &draft.item {
        Some(item) => format!("{node}/{kind}/{item}"),
        None => format!("{node}/{kind}"),
    };
    let change = Change {
        id: ChangeId(id),
        node,
        kind,
        section: resource.section().to_owned(),
        summary: draft.summary,
        reason: draft.reason,
        differences: draft.differences,
        risk: draft.risk,
        after: Vec::new(),
        behind: Vec::new(),
        gates: Vec::new(),
        until: Vec::new(),
        handover: draft.handover,
        action: draft.action,
    };
    Placed { change, about: draft.about }
}

#[cfg(test)]
mod tests;
