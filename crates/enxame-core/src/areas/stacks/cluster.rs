//! The cluster as a stack meets it: the nodes that its tasks can run on.

use std::collections::{BTreeMap, BTreeSet};

use crate::areas::swarm::{Attributes, Resources};
use crate::config::Config;
use crate::facts::ClusterFacts;

/// What the stacks are judged against.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Candidate>,
    /// Whether the swarm itself was asked: it may have labels and networks that `cluster.yaml` does not tell of.
    pub is_seen: bool,
    /// The TCP ports that the firewall lets everybody in to.
    pub public_ports: BTreeSet<u16>,
    /// The networks that there are without a stack, by name, and whether each is encrypted.
    pub networks: BTreeMap<String, bool>,
}

/// A node, for the scheduler.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// Its name in `cluster.yaml`, which is its host name.
    pub hostname: String,
    /// Its id in the swarm, once it is known.
    pub id: Option<String>,
    /// Whether it is a manager.
    pub is_manager: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it has to give, where it was looked at.
    pub capacity: Option<Resources>,
}

impl Cluster {
    /// What `cluster.yaml` makes of the servers, and what was seen of them.
    #[must_use]
    pub fn of(config: &Config, facts: Option<&ClusterFacts>) -> Self {
        let mut swarms =
            facts.into_iter().flat_map(ClusterFacts::values).filter_map(|facts| facts.engine.swarm());
        let swarm = swarms.find(|swarm| swarm.is_manager_with_quorum);
        let nodes = config.nodes.iter().map(|node| {
            let mut candidate = Candidate {
                hostname: node.name.to_string(),
                id: None,
                is_manager: true,
                labels: node.swarm_labels(),
                capacity: None,
            };
            if let Some(seen) = swarm.and_then(|swarm| swarm.member_at(node.address)) {
                candidate.id = Some(seen.id.clone());
                let others = seen.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
                candidate.labels = others.chain(node.swarm_labels()).collect();
            }
            let hardware = facts.and_then(|facts| facts.get(&node.name)).map(|facts| &facts.hardware);
            candidate.capacity = hardware.map(|hardware| Resources {
                nano_cpus: u64::from(hardware.processors) * 1_000_000_000,
                memory_bytes: hardware.memory_bytes,
            });
            candidate
        });
        let seen = swarm.map_or(&[][..], |swarm| &swarm.networks);
        let mut networks: BTreeMap<String, bool> =
            seen.iter().map(|network| (network.name.clone(), network.is_encrypted)).collect();
        networks.insert(config.networks.secure.to_string(), true);
        if let Some(plaintext) = &config.networks.plaintext {
            networks.insert(plaintext.to_string(), false);
        }
        Self {
            nodes: nodes.collect(),
            is_seen: swarm.is_some(),
            public_ports: config.firewall.public_ports.clone(),
            networks,
        }
    }
}

impl Candidate {
    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            id: self.id.as_deref(),
            hostname: &self.hostname,
            is_manager: self.is_manager,
            labels: &self.labels,
        }
    }
}
