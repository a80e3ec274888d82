//! What each part of a proof needs to know.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Marker;

/// Which echo requests to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echoes {
    /// The peers' addresses.
    pub peers: BTreeSet<IpAddr>,
    /// How many to each.
    pub count: u16,
    /// From one to the next, in milliseconds.
    pub interval_ms: u64,
    /// What they carry; nothing where it is none.
    pub marker: Option<Marker>,
}

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The peers' addresses; the interfaces that route to them are watched.
    pub peers: BTreeSet<IpAddr>,
    /// The UDP port of VXLAN.
    pub data_path_port: u16,
    /// What to look for.
    pub marker: Marker,
}

/// A network the probe is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedNetwork {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What to deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The run: lower-case letters, digits and hyphens. The service is `enxame-probe-<run>`.
    pub run: String,
    /// The image, by id.
    pub image: String,
    /// The networks to attach to; never the ingress network.
    pub networks: Vec<ProbedNetwork>,
    /// Whether to publish a port through the routing mesh, which takes an ingress network.
    pub publishes_a_port: bool,
    /// What the probe answers to.
    pub marker: Marker,
    /// The ids of the nodes that must run a task.
    pub nodes: BTreeSet<String>,
    /// How long to wait for the tasks, in seconds.
    pub wait_seconds: u64,
}

/// What to exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The run's marker.
    pub marker: Marker,
    /// Payload in each direction, in bytes; a multiple of [`Marker::BLOCK_BYTES`].
    pub payload_bytes: u32,
    /// How long to try each peer (or request), in seconds.
    pub wait_seconds: u64,
}

/// Whom to talk to on one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// This node's probe container, whose network namespace is used.
    pub container: String,
    /// What to resolve.
    pub service: String,
    /// The network.
    pub network: ProbedNetwork,
    /// What to exchange with each peer.
    pub exchange: Exchange,
    /// The peers: their tasks' addresses on the network.
    pub peers: BTreeMap<IpAddr, PeerTask>,
    /// Every task's address on the network, this node's included: what the name must resolve to.
    pub expected: BTreeSet<IpAddr>,
    /// UDP datagrams to each peer.
    pub datagrams: u32,
}

/// A task to talk to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerTask {
    /// The id of the node it runs on, which it must answer with.
    pub node_id: String,
}

/// How to use the routing mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshTraffic {
    /// An address of this node's own: what is sent there leaves the node on the ingress network only.
    pub address: IpAddr,
    /// The published port.
    pub port: u16,
    /// How many requests to make.
    pub requests: u32,
    /// The ids of the nodes whose tasks must answer: until all have, requests go on for as long as one may take.
    pub nodes: BTreeSet<String>,
    /// What to exchange with each.
    pub exchange: Exchange,
}
