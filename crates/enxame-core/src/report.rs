//! What was proven, and what it was proven from.
//!
//! Owns what agents and the operator saw ([`Observations`]) and the [`Report`]; [`crate::proofs`] makes the one of the
//! other. Every proof has three values, and "could not look" is [`Verdict::Unknown`], never a pass: a watch that lost
//! packets, a node that did not answer, or a load that never flowed prove nothing.

pub mod exposure;
mod observations;
mod shared;
mod subject;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use observations::on;
pub use observations::{LoadOutcome, Observations, PerNode, Phase, WireObservations, unanswered};
pub use shared::{SharedExport, SharedObservations, SharedSubject, SharedSubjectNode};
pub use subject::{Subject, SubjectError, SubjectNetwork, SubjectNode};

use crate::names::NodeName;

/// The outcome of a proof; the order is by gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Looked, and it is so.
    Pass,
    /// Could not look, or not wholly.
    Unknown,
    /// Looked, and it is not so.
    Fail,
}

/// What is to be proven. Reports list proofs in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofId {
    /// The way from one node to another is fast and loses nothing.
    PathQuality,
    /// Every overlay network that is not declared plaintext has the option `encrypted`.
    DeclaredEncrypted,
    /// Under load no VXLAN packet is clear on the wire.
    NoClearPackets,
    /// Under load the marker in the payload is visible nowhere.
    MarkerHidden,
    /// The load is on the wire as ESP, all of it.
    EspSeen,
    /// The kernels' ESP associations count the load.
    AssociationsRose,
    /// The probe's name resolves to exactly its tasks.
    NamesResolve,
    /// Bulk data over TCP arrives whole.
    BulkTcp,
    /// Datagrams come back.
    UdpEcho,
    /// A request to one node's published port reaches another node's task.
    MeshReaches,
    /// Nothing answers, or would let something through, that is not declared.
    NothingElseOpen,
    /// What is declared open gets through.
    DeclaredOpen,
    /// Every pair of nodes reaches each other in the tunnels.
    TunnelsCarry,
    /// What one node writes to shared files, every other reads; locks hold between them.
    FilesShared,
    /// Files belong to whom cluster.yaml says.
    FilesOwned,
    /// Of what goes through the tunnels nothing is visible on the wire.
    FilesHidden,
    /// The server of shared files answers no other way than the one that is declared.
    FilesShut,
}

/// From which node to which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// Where it came from.
    pub from: NodeName,
    /// Where it went.
    pub to: NodeName,
}

/// One proof with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What was to be proven.
    pub id: ProofId,
    /// The manual's section.
    pub manual: String,
    /// The outcome.
    pub verdict: Verdict,
    /// The network, by name; `VNI n` where no network with that identifier is known.
    pub network: Option<String>,
    /// The nodes, where it is about two.
    pub pair: Option<Pair>,
    /// The node, where it is about one.
    pub node: Option<NodeName>,
    /// What was counted; the keys end in their unit (`_packets`, `_bytes`, `_ms`).
    pub numbers: BTreeMap<String, u64>,
    /// The finding, for people: one sentence.
    pub text: String,
}

/// All proofs of a run, sorted by what they prove, network and nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The proofs.
    pub proofs: Vec<Proof>,
}

impl Report {
    /// The gravest of all verdicts. A report without proofs proves nothing.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.proofs.iter().map(|proof| proof.verdict).max().unwrap_or(Verdict::Unknown)
    }
}
