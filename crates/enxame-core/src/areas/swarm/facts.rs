//! The swarm as this node sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::areas::firewall::Service;

/// `Swarm.LocalNodeState` of `GET /info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalSwarmState {
    /// Not part of a swarm.
    Inactive,
    /// Joining.
    Pending,
    /// Part of one.
    Active,
    /// Part of one that does not work, e.g. without a reachable manager.
    Error,
    /// Part of one whose key store is locked (autolock).
    Locked,
}

/// Swarm mode as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmFacts {
    /// This node's state.
    pub local: LocalSwarmState,
    /// The engine's own error text; empty when there is none.
    pub error: String,
    /// This node's id in the swarm; empty outside one.
    pub node_id: String,
    /// The address it advertises; empty outside a swarm.
    pub node_address: String,
    /// The swarm's id; `None` outside a swarm and, on workers, unknown.
    pub cluster_id: Option<String>,
    /// Whether this node is a manager that can reach the quorum.
    pub is_manager_with_quorum: bool,
    /// What only a manager with quorum can tell.
    pub settings: Option<SwarmSettingsFacts>,
    /// Every node, as a manager with quorum sees it, sorted by id.
    pub nodes: Vec<SwarmNodeFacts>,
    /// The overlay networks this node can see, sorted by name and id.
    pub networks: Vec<NetworkFacts>,
    /// Names of the services that publish a port through the routing mesh (managers with quorum only).
    pub services_publishing_through_ingress: Vec<String>,
    /// The ports that each service publishes, through the mesh or on its nodes (managers with quorum only).
    pub published: BTreeMap<String, BTreeSet<Service>>,
}

impl SwarmFacts {
    /// The member that is reached at an address: see [`member_at`].
    #[must_use]
    pub fn member_at(&self, address: IpAddr) -> Option<&SwarmNodeFacts> {
        member_at(&self.nodes, address)
    }

    /// A node outside any swarm.
    #[must_use]
    pub fn inactive() -> Self {
        Self {
            local: LocalSwarmState::Inactive,
            error: String::new(),
            node_id: String::new(),
            node_address: String::new(),
            cluster_id: None,
            is_manager_with_quorum: false,
            settings: None,
            nodes: Vec::new(),
            networks: Vec::new(),
            services_publishing_through_ingress: Vec::new(),
            published: BTreeMap::new(),
        }
    }
}

/// The one of these members that is reached at an address. One that left and joined again has an entry that is down beside
/// the one that is not.
#[must_use]
pub fn member_at(members: &[SwarmNodeFacts], address: IpAddr) -> Option<&SwarmNodeFacts> {
    let at = || members.iter().filter(|member| member.address.parse() == Ok(address));
    at().find(|member| member.state == "ready").or_else(|| at().next())
}

/// The settings of a swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmSettingsFacts {
    /// The pools overlay networks take their subnets from, as CIDR.
    pub address_pool: Vec<String>,
    /// The prefix length of a subnet out of the pool.
    pub subnet_prefix_length: u32,
    /// The UDP port of VXLAN.
    pub data_path_port: u16,
    /// The dispatcher's heartbeat, in nanoseconds.
    pub heartbeat_ns: u64,
    /// Whether managers must be unlocked after a restart.
    pub autolock: bool,
}

/// A node of the swarm as its managers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmNodeFacts {
    /// Its id.
    pub id: String,
    /// Its host name at the time it joined or last came up.
    pub hostname: String,
    /// Its address.
    pub address: String,
    /// The TCP port that it is managed at; `None` for workers.
    pub management_port: Option<u16>,
    /// `ready`, `down`, `disconnected`, `unknown`.
    pub state: String,
    /// `active`, `pause`, `drain`.
    pub availability: String,
    /// Whether it is a manager.
    pub is_manager: bool,
    /// Whether it is the leader.
    pub is_leader: bool,
    /// `reachable`, `unreachable`, `unknown`; empty for workers.
    pub reachability: String,
    /// Its engine's version.
    pub engine_version: String,
    /// Its labels (`node.labels.*`).
    pub labels: BTreeMap<String, String>,
}

/// An overlay network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is the routing mesh's.
    pub is_ingress: bool,
    /// Whether containers outside services may attach.
    pub is_attachable: bool,
    /// Whether the option `encrypted` is there: moby looks for the key alone, whatever its value.
    pub is_encrypted: bool,
    /// `com.docker.network.driver.mtu`, which is the underlay's MTU in bytes; `None` means 1500.
    pub underlay_mtu_bytes: Option<u32>,
    /// The VXLAN network identifiers.
    pub vnis: Vec<u32>,
    /// Its subnets, as CIDR.
    pub subnets: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The services that are attached to it, sorted (managers with quorum only).
    pub services: Vec<String>,
}
