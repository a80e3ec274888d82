//! What the operator's side asks of an agent for a proof on the wire, and what the agent saw.
//!
//! Owns the protocol of `verify`; uses nothing but data. An agent reports what it counted and never judges:
//! that is [`crate::proofs`]' alone. All counters of a watch are cumulative since it started.

mod marker;
mod request;
mod scan;
mod shared;
mod wire;

pub use marker::{Marker, MarkerError};
pub use request::{Deployment, Echoes, Exchange, MeshTraffic, PeerTask, ProbedNetwork, Traffic, Watch};
pub use scan::{Scan, Scanned, UdpAnswer};
pub use shared::{
    COUNTS_OF_EACH, Door, Doors, DoorsTried, ProbedExport, Shared, SharedOutcome, Sharing, SharingStep,
};
pub use wire::{Association, Capture, Counts, Direction, PeerCounts};

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::limits::LOSS_LIMIT_PERCENT;

/// The label on everything a proof makes (service, containers, image); its value on the service and its
/// containers is the run.
pub const LABEL: &str = "enxame.probe";

/// The port the responder listens on in its container, TCP and UDP.
pub const RESPONDER_PORT: u16 = 7797;

/// The environment variable with the run's marker, in hex.
pub const ENV_MARKER: &str = "ENXAME_PROBE_MARKER";

/// The environment variable with the id of the node the task runs on.
pub const ENV_NODE: &str = "ENXAME_PROBE_NODE";

/// The hidden verb the probe's image runs.
pub const RESPONDER_VERB: &str = "probe-responder";

/// A part of a proof. One agent answers them in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeRequest {
    /// Send echo requests to the peers: [`ProbeReply::Paths`].
    Paths(Echoes),
    /// Make the probe's image out of the agent's own binary and load it: [`ProbeReply::Image`].
    PrepareImage,
    /// Begin to watch the interfaces towards the peers: [`ProbeReply::Wire`].
    WatchStart(Watch),
    /// Run the probe on every node: [`ProbeReply::Deployed`]. For one manager.
    Deploy(Deployment),
    /// Find this node's probe container: [`ProbeReply::Located`].
    Locate {
        /// The run whose container it is.
        run: String,
    },
    /// What was seen up to now: [`ProbeReply::Wire`].
    WatchRead,
    /// Talk to every peer's task on one network: [`ProbeReply::Traffic`].
    Traffic(Traffic),
    /// Talk to every task through this node's routing mesh: [`ProbeReply::Mesh`].
    Mesh(MeshTraffic),
    /// What was seen in all, and an end to watching: [`ProbeReply::Wire`].
    WatchStop,
    /// Remove the probe's service: [`ProbeReply::Cleaned`]. For a manager.
    RemoveService {
        /// The run whose service it is.
        run: String,
    },
    /// Stop watching, wait until the probe's containers are gone from this node, remove the image:
    /// [`ProbeReply::Cleaned`].
    Clean,
    /// Try the ports of an address: [`ProbeReply::Scanned`]. Needs no engine.
    Scan(Scan),
    /// Write, read or erase on shared files: [`ProbeReply::Shared`]. Needs no engine.
    Share(Sharing),
    /// Try ways to the shared files that are to be shut: [`ProbeReply::Doors`]. Needs no engine.
    Doors(Doors),
}

/// What an agent saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeReply {
    /// How the echo requests fared, by the peer's address; or why none could be sent.
    Paths(BTreeMap<IpAddr, Result<PathQuality, String>>),
    /// The image is loaded.
    Image {
        /// Its id on this node, `sha256:` and 64 hex digits.
        id: String,
    },
    /// The probe was deployed.
    Deployed(Deployed),
    /// This node's probe container.
    Located(ProbeTask),
    /// What was seen on the wire.
    Wire(Capture),
    /// What came of the exchanges on one network.
    Traffic(TrafficOutcome),
    /// What came of the requests through the routing mesh.
    Mesh(MeshOutcome),
    /// Nothing is left.
    Cleaned,
    /// How the ports answered.
    Scanned(Scanned),
    /// What came of it on each export.
    Shared(Shared),
    /// Which ways answered.
    Doors(DoorsTried),
}

/// How echo requests to a peer fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathQuality {
    /// How many were sent.
    pub sent: u32,
    /// How many came back.
    pub returned: u32,
    /// Their mean round-trip time, in microseconds; `None` when none came back.
    pub mean_us: Option<u64>,
    /// How much the time differs from one echo to the next, in the mean, in microseconds.
    pub jitter_us: u64,
}

impl PathQuality {
    /// Whether as much was lost as a swarm does not bear.
    #[must_use]
    pub fn loses_too_much(&self) -> bool {
        let lost = self.sent.saturating_sub(self.returned);
        lost > 0 && lost.saturating_mul(100) >= self.sent.saturating_mul(LOSS_LIMIT_PERCENT)
    }

    /// Both series as one; the times are those of the longer one.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let longer = if other.returned > self.returned { other } else { self };
        Self { sent: self.sent + other.sent, returned: self.returned + other.returned, ..longer.clone() }
    }
}

/// The probe's service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// Its name.
    pub service: String,
    /// The port the routing mesh publishes it at; `None` when the engine gave none in time.
    pub published_port: Option<u16>,
    /// The ids of the nodes on which a task runs.
    pub running: BTreeSet<String>,
    /// Why no task runs on a node that should have one, by the id of the node.
    pub missing: BTreeMap<String, String>,
}

/// A node's own task of the probe, as its engine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeTask {
    /// Its container.
    pub container: String,
    /// Its addresses, by the id of the network; the ingress network's among them.
    pub addresses: BTreeMap<String, IpAddr>,
}

/// What came of the exchanges on one network, as the node that began them saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficOutcome {
    /// What `tasks.<service>.<network>` resolved to in the container, or why it did not.
    pub resolved: Result<BTreeSet<IpAddr>, String>,
    /// What came of each exchange, by the peer's address on the network.
    pub peers: BTreeMap<IpAddr, PeerOutcome>,
}

/// What came of the exchanges with one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerOutcome {
    /// The exchange over TCP, or why it failed.
    pub tcp: Result<Exchanged, String>,
    /// How many of the UDP datagrams came back.
    pub udp_echoes: u32,
    /// How many were sent.
    pub udp_sent: u32,
}

/// An exchange that both ends agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// The id of the node that answered.
    pub answered_by: String,
    /// Payload sent and acknowledged by its hash, in bytes.
    pub sent_bytes: u64,
    /// Payload received and checked, in bytes.
    pub received_bytes: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// What came of the requests through one node's routing mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshOutcome {
    /// What was exchanged, by the id of the node whose task answered.
    pub answered: BTreeMap<String, MeshAnswers>,
    /// How many requests had no (right) answer.
    pub failed: u32,
    /// Why the last of those failed.
    pub last_error: Option<String>,
}

/// What one node's task answered through another's routing mesh.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MeshAnswers {
    /// Requests.
    pub requests: u32,
    /// Payload towards the task, in bytes.
    pub sent_bytes: u64,
    /// Payload from the task, in bytes.
    pub received_bytes: u64,
}
