//! The plan: what to do about the difference between what is wanted and what is there.
//!
//! Planning is pure and deterministic: the same configuration and facts give the same plan, byte for byte.
//! Nothing is left to decide when it is applied.

mod checks;
mod order;
mod removal;

use serde::{Deserialize, Serialize};

use crate::change::{Change, ChangeId};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declare, Draft, Finding, Scope, Severity, View, Waiver};
use crate::edge::{self, EdgeChange, EdgeFacts};
pub use removal::{make_removal, query_for_removal};

use crate::facts::{ClusterFacts, FactsDigest, FactsQuery, NodeFacts, digest_of};

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
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The resources' order contradicts itself: a defect of the program.
    #[error("the order of changes has a cycle through {0}")]
    Cycle(ChangeId),
    /// Two changes have one identity: a defect of the program.
    #[error("two changes are called {0}")]
    Twice(ChangeId),
}

impl Plan {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.edge.is_none()
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
    let mut findings = Vec::new();
    let (changes, edge) = declared(config, facts, seen_edge, registry, &mut findings)?;
    Ok(Plan { facts: digest_of(facts), changes, edge, findings })
}

/// What there is to do, in order, on the nodes and at the edge.
fn declared(
    config: &Config,
    facts: &ClusterFacts,
    seen_edge: Option<&EdgeFacts>,
    registry: &[&dyn Declare],
    findings: &mut Vec<Finding>,
) -> Result<(Vec<Change>, Option<EdgeChange>), PlanError> {
    findings.extend(checks::all(config, facts));
    let (edge, of_the_edge) = seen_edge.map(|seen| edge::difference(config, facts, seen)).unwrap_or_default();
    findings.extend(of_the_edge);
    let mut changes = Vec::new();
    for resource in registry {
        let views: Vec<View<'_>> = match resource.scope() {
            Scope::Node => config.nodes.iter().filter_map(|node| view(config, facts, node)).collect(),
            // Without quorum nothing can be seen or changed: what is not seen is not absent.
            Scope::Cluster if checks::has_lost_quorum(facts) => Vec::new(),
            Scope::Cluster => {
                executor(config, facts).and_then(|node| view(config, facts, node)).into_iter().collect()
            }
        };
        for view in &views {
            let declaration = resource.declare(view);
            findings.extend(declaration.findings);
            let drafts = declaration.drafts.into_iter();
            changes.extend(drafts.map(|draft| placed(*resource, view, draft)));
        }
    }
    findings.extend(checks::of_changes(config, facts, &changes));
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.node.cmp(&b.node)));
    let changes = order::in_order(config, registry, changes)?;
    Ok((changes, edge))
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

fn placed(resource: &dyn Declare, view: &View<'_>, draft: Draft) -> Change {
    let node = draft.node.unwrap_or_else(|| view.node.name.clone());
    let kind = resource.kind();
    let id = match &draft.item {
        Some(item) => format!("{node}/{kind}/{item}"),
        None => format!("{node}/{kind}"),
    };
    Change {
        id: ChangeId(id),
        node,
        kind,
        section: resource.section().to_owned(),
        summary: draft.summary,
        reason: draft.reason,
        differences: draft.differences,
        risk: draft.risk,
        after: Vec::new(),
        handover: draft.handover,
        action: draft.action,
    }
}

#[cfg(test)]
mod tests;
