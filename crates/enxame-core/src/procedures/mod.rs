//! Procedures: what is no difference to converge on, as steps for the same executor (manual 7.3).
//!
//! A procedure is a pure function of the configuration and the facts to a [`Plan`]. What was interrupted goes on by being
//! asked for again: the steps are made anew from what the nodes look like. Where that cannot be seen, a record stands in a
//! label of the swarm ([`RECORD`]).

mod deployment;
mod maintenance;
mod placement;
mod rotation;
#[cfg(test)]
mod tests;

pub use deployment::{Wish, deploy, deployment_of, remove_stack, stack_manager};
pub use maintenance::{activate, drain, reboot};
pub use rotation::rotate_tunnel_keys;

use crate::areas::swarm::availability::RECORD;
use crate::config::{Config, NodeConfig};
use crate::facts::{ClusterFacts, NodeFacts, SwarmFacts, SwarmNodeFacts, Workloads, digest_of};
use crate::names::{NodeName, ObjectName};
use crate::plan::{Plan, PlanError};

/// Why a procedure cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcedureError {
    /// The node is not in the configuration.
    #[error("cluster.yaml has no node {0}")]
    UnknownNode(NodeName),
    /// No manager with quorum answers.
    #[error("no manager that answers reaches a majority of the managers")]
    NoManager,
    /// The node is not in the swarm.
    #[error("{0} is not a member of the swarm")]
    NotAMember(NodeName),
    /// The node does not answer.
    #[error("{0} does not answer: {1}")]
    Unreachable(NodeName, String),
    /// There are no tunnels.
    #[error("cluster.yaml has no tunnels, and nobody a key for them")]
    NoTunnels,
    /// The node has no key that could become another.
    #[error("{0} has no key for the tunnels yet")]
    NoKey(NodeName),
    /// The operator's own session would not outlive it.
    #[error("you come to {0} through the tunnel, whose key would change under you")]
    ThroughTheTunnel(NodeName),
    /// There is no such stack.
    #[error("no service of a stack {0} runs")]
    NoStack(ObjectName),
    /// What is there cannot be planned for.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl ProcedureError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnknownNode(_) => "`enxame status` names the nodes",
            Self::NoManager => "`enxame status` says which managers are missing; bring them back first",
            Self::NotAMember(_) => "`enxame apply` joins it",
            Self::Unreachable(..) => "look at it from the provider's console",
            Self::NoTunnels => "write `tunnel:` or `storage:` there: docs/cluster-yaml.md",
            Self::NoKey(_) => "`enxame apply` makes it one",
            Self::ThroughTheTunnel(_) => {
                "come from a public address that `ssh.allow_from` names, with the node's own as `ssh_host`, and ask again; \
                 afterwards `enxame tunnel config NAME` has the new keys for your own file"
            }
            Self::NoStack(_) => "`enxame stack ls` names those that there are",
            Self::Plan(_) => "this is a defect of enxame's: please tell us",
        }
    }
}

/// A record of a procedure in the swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was begun.
    pub verb: String,
    /// Since when, in seconds since 1970.
    pub since_unix_s: Option<u64>,
    /// The node's boot id before, where it is to boot.
    pub boot_id: Option<String>,
}

impl Record {
    /// The record that a member of the swarm carries, if it does.
    #[must_use]
    pub fn of(member: &SwarmNodeFacts) -> Option<Self> {
        let text = member.labels.get(RECORD)?;
        let mut words = text.split_whitespace();
        Some(Self {
            verb: words.next().unwrap_or("drain").to_owned(),
            since_unix_s: words.next().and_then(|word| word.parse().ok()),
            boot_id: words.next().map(str::to_owned),
        })
    }

    /// As it stands in the label.
    #[must_use]
    pub fn text(&self) -> String {
        let since = self.since_unix_s.unwrap_or_default();
        let boot_id = self.boot_id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        format!("{} {since}{boot_id}", self.verb)
    }
}

/// What a procedure about one node looks at.
struct Situation<'a> {
    facts: &'a ClusterFacts,
    node: &'a NodeConfig,
    swarm: &'a SwarmFacts,
    member: &'a SwarmNodeFacts,
    workloads: Workloads,
    /// The manager that is asked to change the node: another one, where there is one.
    manager: &'a NodeName,
}

impl<'a> Situation<'a> {
    fn of(config: &'a Config, facts: &'a ClusterFacts, node: &NodeName) -> Result<Self, ProcedureError> {
        let node = config.node(node).ok_or_else(|| ProcedureError::UnknownNode(node.clone()))?;
        let leads =
            |facts: &NodeFacts| facts.engine.swarm().is_some_and(|swarm| swarm.is_manager_with_quorum);
        let leading = || facts.iter().filter(|(name, facts)| leads(facts) && config.node(name).is_some());
        let manager = leading().find(|(name, _)| **name != node.name).or_else(|| leading().next());
        let (manager, seen) = manager.ok_or(ProcedureError::NoManager)?;
        let swarm = seen.engine.swarm().ok_or(ProcedureError::NoManager)?;
        let member = swarm.member_at(node.address);
        let member = member.ok_or_else(|| ProcedureError::NotAMember(node.name.clone()))?;
        let workloads = seen.volatile.workloads.clone().unwrap_or_default();
        Ok(Self { facts, node, swarm, member, workloads, manager })
    }

    /// Whether the node gets no tasks.
    fn is_drained(&self) -> bool {
        self.member.availability == "drain"
    }

    /// A plan of nothing yet.
    fn plan(&self) -> Plan {
        Plan {
            facts: digest_of(self.facts),
            changes: Vec::new(),
            edge: None,
            findings: Vec::new(),
            withheld: Vec::new(),
            unfinished: Vec::new(),
        }
    }
}
