//! What is to be proven about whom: from configuration and facts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::{Config, NodeConfig};
use crate::facts::{ClusterFacts, LocalSwarmState, NetworkFacts, NodeFacts, SwarmFacts, SwarmNodeFacts};
use crate::names::NodeName;

/// What is to be proven about whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The nodes of the configuration.
    pub nodes: BTreeMap<NodeName, SubjectNode>,
    /// The overlay networks that must be encrypted: all but those declared plaintext, whoever made them.
    pub networks: Vec<SubjectNetwork>,
    /// The overlay networks declared plaintext.
    pub plaintext: Vec<SubjectNetwork>,
    /// The UDP port of VXLAN.
    pub data_path_port: u16,
    /// Members of the swarm that the configuration does not know, and that are not down: nobody watches them.
    pub strangers: Vec<String>,
    /// The encrypted network of the configuration, when the swarm has none of that name.
    pub missing: Option<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectNode {
    /// The address its peers reach it at.
    pub address: IpAddr,
    /// Where its own published ports answer. The ingress network is IPv4 only; on IPv6 the engine takes connections and
    /// never answers (moby#28492; it does from 29.8.0 on).
    pub mesh_address: Option<IpAddr>,
    /// Its id in the swarm; empty when it is not part of one or did not answer.
    pub node_id: String,
    /// Whether it is a manager that reaches the quorum.
    pub is_manager: bool,
    /// Why the swarm places no task on it, e.g. because it is drained.
    pub unavailable: Option<String>,
}

/// An overlay network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectNetwork {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its VXLAN network identifiers.
    pub vnis: Vec<u32>,
    /// Whether it is the routing mesh's.
    pub is_ingress: bool,
    /// Whether it has the option `encrypted`.
    pub is_encrypted: bool,
}

/// Why there is nothing to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// No manager could tell which networks there are.
    #[error("no manager with a quorum answered: nobody can tell which overlay networks there are")]
    NoManager,
    /// The swarm has no overlay network.
    #[error("the swarm has no overlay network but those declared plaintext: there is nothing to prove")]
    NoNetwork,
}

impl Subject {
    /// From configuration and facts.
    ///
    /// # Errors
    /// [`SubjectError`].
    pub fn of(config: &Config, facts: &ClusterFacts) -> Result<Self, SubjectError> {
        let swarm = |name: &NodeName| -> Option<&SwarmFacts> {
            facts.get(name)?.engine.swarm().filter(|swarm| swarm.local == LocalSwarmState::Active)
        };
        let manager = config
            .nodes
            .iter()
            .filter_map(|node| swarm(&node.name))
            .find(|swarm| swarm.is_manager_with_quorum)
            .ok_or(SubjectError::NoManager)?;
        let nodes = config.nodes.iter().map(|node| {
            let swarm = swarm(&node.name);
            let node_id = swarm.map(|swarm| swarm.node_id.clone()).unwrap_or_default();
            let subject = SubjectNode {
                address: node.address,
                mesh_address: ipv4_of(node, facts.get(&node.name)),
                unavailable: unavailable(manager, &node_id),
                node_id,
                is_manager: swarm.is_some_and(|swarm| swarm.is_manager_with_quorum),
            };
            (node.name.clone(), subject)
        });
        let is_plaintext = |network: &SubjectNetwork| {
            config.networks.plaintext.as_ref().is_some_and(|name| name.as_str() == network.name)
        };
        let (plaintext, networks): (Vec<_>, Vec<_>) =
            manager.networks.iter().map(SubjectNetwork::of).partition(is_plaintext);
        if networks.is_empty() {
            return Err(SubjectError::NoNetwork);
        }
        let settings = manager.settings.as_ref();
        let data_path_port = settings.map_or(config.swarm.data_path_port, |settings| settings.data_path_port);
        let nodes: BTreeMap<_, SubjectNode> = nodes.collect();
        let is_known = |id: &str| nodes.values().any(|node| node.node_id == id);
        let is_at_a_nodes_address =
            |seen: &SwarmNodeFacts| nodes.values().any(|node| seen.address == node.address.to_string());
        let strangers = manager
            .nodes
            .iter()
            .filter(|seen| seen.state != "down" && !is_known(&seen.id) && !is_at_a_nodes_address(seen));
        let strangers = strangers.map(|seen| format!("{} ({})", seen.hostname, seen.id)).collect();
        let secure = config.networks.secure.as_str();
        let missing = networks.iter().all(|network| network.name != secure).then(|| secure.to_owned());
        Ok(Self { nodes, networks, plaintext, data_path_port, strangers, missing })
    }

    /// The addresses of a node's peers.
    pub fn peers_of(&self, node: &NodeName) -> impl Iterator<Item = IpAddr> {
        self.nodes.iter().filter(move |(name, _)| *name != node).map(|(_, peer)| peer.address)
    }

    /// The node with that id in the swarm.
    #[must_use]
    pub fn node_with_id(&self, id: &str) -> Option<&NodeName> {
        self.nodes.iter().find(|(_, node)| node.node_id == id).map(|(name, _)| name)
    }
}

fn ipv4_of(node: &NodeConfig, facts: Option<&NodeFacts>) -> Option<IpAddr> {
    let others =
        facts.into_iter().flat_map(|facts| &facts.interfaces).flat_map(|interface| &interface.addresses);
    std::iter::once(&node.address).chain(others).copied().find(IpAddr::is_ipv4)
}

/// Why a manager places no task on a node.
fn unavailable(manager: &SwarmFacts, node_id: &str) -> Option<String> {
    let Some(node) = manager.nodes.iter().find(|node| node.id == node_id) else {
        return Some("it is not part of the swarm".to_owned());
    };
    if node.state != "ready" {
        return Some(format!("its state in the swarm is `{}`", node.state));
    }
    (node.availability != "active")
        .then(|| format!("its availability in the swarm is `{}`", node.availability))
}

impl SubjectNetwork {
    fn of(network: &NetworkFacts) -> Self {
        Self {
            id: network.id.clone(),
            name: network.name.clone(),
            vnis: network.vnis.clone(),
            is_ingress: network.is_ingress,
            is_encrypted: network.is_encrypted,
        }
    }
}

#[cfg(test)]
mod tests;
