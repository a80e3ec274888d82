//! What a proof asks of the tunnels and of the files that are shared in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Marker;
use crate::names::NodeName;

/// A part of a proof about shared files, on each export by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// The run: what is written bears its name.
    pub run: String,
    /// The node that does it.
    pub node: NodeName,
    /// What is mounted.
    pub exports: Vec<ProbedExport>,
    /// What is written.
    pub marker: Marker,
    /// What to do.
    pub step: SharingStep,
}

/// An export, as a stack's volume mounts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedExport {
    /// Its name.
    pub name: NodeName,
    /// The server's address and directory: `ADDRESS:/DIRECTORY`.
    pub source: String,
    /// The options of mount(2).
    pub options: String,
    /// Whose it is: what is written is written as this user.
    pub uid: u32,
    /// And this group.
    pub gid: u32,
}

/// What to do on each export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharingStep {
    /// Write a file of the node's own, and count under a lock that all nodes take.
    Write,
    /// Read what these nodes have written.
    Read(BTreeSet<NodeName>),
    /// Remove what the run has written.
    Erase,
}

/// What came of it, by export; or why it could not be done.
pub type Shared = BTreeMap<NodeName, Result<SharedOutcome, String>>;

/// What came of a step on an export.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SharedOutcome {
    /// Bytes that were written, flushed to the server's disk, moved to another name and read back.
    pub written_bytes: u64,
    /// Whose a file is that root makes: its user's number; or why root could make none.
    pub roots_file: Option<Result<u32, String>>,
    /// The count as it was read last.
    pub count: u32,
    /// What was read of other nodes.
    pub read_from: BTreeMap<NodeName, Result<u64, String>>,
}

/// How often each node counts.
pub const COUNTS_OF_EACH: u32 = 5;

/// Ways to the server that are to be shut, tried from one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doors {
    /// The server's address in the tunnels.
    pub tunnel: IpAddr,
    /// Its address on the Internet.
    pub public: IpAddr,
    /// The port.
    pub port: u16,
}

/// What came of trying them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorsTried {
    /// Whether the way that is to be open, `NFSv4.1` in the tunnel, is: without it the others prove nothing.
    pub control: Result<(), String>,
    /// The others that answered, and how.
    pub open: BTreeMap<Door, String>,
}

/// A way that is to be shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// Version 3.
    V3,
    /// Version 4.0.
    V40,
    /// Any version over UDP.
    Udp,
    /// The server's address on the Internet.
    Public,
}
