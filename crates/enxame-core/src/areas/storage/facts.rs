//! What is seen of shared files on a node: where they are, what serves them, and who mounts any.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What is there of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageFacts {
    /// What is in their place.
    pub place: PlaceFacts,
    /// The size of the file that holds them, where there is one, in bytes.
    pub image_bytes: Option<u64>,
    /// The directories that were asked for and are there, by name.
    pub directories: BTreeMap<String, DirectoryFacts>,
    /// The kernel's server; `None`: it does not run.
    pub server: Option<ServerFacts>,
    /// Lines of exports that enxame did not write, with their places.
    pub foreign_exports: Vec<String>,
    /// Where file systems of NFS before version 4 are mounted, which need more than the one port.
    pub old_mounts: Vec<String>,
    /// The engine's volumes over NFS, by name.
    pub volumes: BTreeMap<String, VolumeFacts>,
}

impl StorageFacts {
    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What is where the shared files are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceFacts {
    /// Nothing.
    #[default]
    Absent,
    /// A directory of another file system, with so many entries.
    Directory {
        /// How many.
        entries: u32,
    },
    /// A file system of its own.
    Mounted(MountFacts),
    /// Something that could not be looked at, or is no directory; the text says what.
    Other(String),
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFacts {
    /// What is mounted.
    pub source: String,
    /// Its type.
    pub filesystem: String,
    /// Its size in bytes, without what the file system has for itself.
    pub size_bytes: u64,
    /// Whether nobody can write to it.
    pub is_read_only: bool,
}

/// A directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryFacts {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// The kernel's server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// The versions that it speaks (`/proc/fs/nfsd/versions`).
    pub versions: BTreeSet<String>,
    /// The protocols that it listens with (`/proc/fs/nfsd/portlist`).
    pub protocols: BTreeSet<String>,
    /// The addresses at which it listens.
    pub addresses: BTreeSet<IpAddr>,
    /// What is exported (`/var/lib/nfs/etab`).
    pub exports: Vec<ExportFacts>,
}

/// A directory that is exported to one client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExportFacts {
    /// The directory.
    pub path: String,
    /// To whom.
    pub client: String,
    /// How (`exports(5)`).
    pub options: BTreeSet<String>,
}

/// A volume of the engine's local driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFacts {
    /// What is mounted.
    pub device: String,
    /// With which options.
    pub options: String,
}

/// What changes by itself of the shared files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedState {
    /// Bytes that are free in the file system around them.
    pub around_bytes: u64,
    /// The space in their own, where there is one.
    pub within: Option<RoomFacts>,
    /// The addresses of the clients that the server knows.
    #[serde(default)]
    pub clients: BTreeSet<IpAddr>,
    /// Whether the server lets clients that it knew before claim what they had open, and nobody open anything else yet.
    #[serde(default)]
    pub is_in_grace: bool,
}

/// Space in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomFacts {
    /// Bytes that users have.
    pub total_bytes: u64,
    /// Bytes that are free.
    pub available_bytes: u64,
}
