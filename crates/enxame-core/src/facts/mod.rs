//! What is there: everything one request learns about a node.
//!
//! Facts are observations, never wishes. What could not be observed says so ([`Observed::Unknown`]) and is
//! never mistaken for absence. [`NodeFacts::volatile`] holds what changes by itself (clock, free memory,
//! round-trip times) and does not take part in a plan's digest.

mod before;
#[cfg(test)]
pub(crate) mod blank;
mod cluster;
mod digest;
mod query;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::areas::firewall::Service;

pub use crate::areas::engine::facts::{EngineFacts, EngineFlag, EngineState};
pub use crate::areas::firewall::facts::{FilterFacts, GuardState, Listener, RivalFacts, TableFacts};
pub use crate::areas::machine::facts::{
    Bar, CloudInitFacts, DockerSnap, Hardware, InterfaceFacts, Kernel, LinkFacts, ModuleState, Obstacle,
    Occupant, OccupiedNetwork, OperatingSystem, PackageFacts, SetWhen, Setting, UnitFacts,
};
pub use crate::areas::storage::facts::{
    DirectoryFacts, ExportFacts, MountFacts, PlaceFacts, RoomFacts, ServerFacts, SharedState, StorageFacts,
    VolumeFacts,
};
pub use crate::areas::swarm::Workloads;
pub use crate::areas::swarm::facts::{
    LocalSwarmState, NetworkFacts, SwarmFacts, SwarmNodeFacts, SwarmSettingsFacts,
};
pub use crate::areas::tunnel::facts::{DeviceFacts, KeyFacts, NoKey, PeerFacts, PublicKey, TunnelFacts};
pub use before::{Before, Coverage};
pub use cluster::{ClusterFacts, Look};
pub use digest::{FactsDigest, digest_of};
pub use query::FactsQuery;

/// What the engine keeps where its node is in a swarm, whether it runs or not.
pub const MEMBERSHIP_FILE: &str = "/var/lib/docker/swarm/docker-state.json";

/// An observation that may have failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed<T> {
    /// Looked and saw.
    Known(T),
    /// Could not look; the text says why.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The value, when there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// A file that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFacts {
    /// There is nothing at that path.
    Absent,
    /// A regular file with this text.
    Text {
        /// Its content, of whatever encoding ([`text_of`](crate::files::text_of)); files over
        /// [`MAX_TEXT_BYTES`](crate::limits::MAX_TEXT_BYTES) are [`FileFacts::Unreadable`].
        content: String,
        /// Permission bits, e.g. `0o644`.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Something is there that could not be read as text; the text says why.
    Unreadable(String),
}

impl FileFacts {
    /// The file's text, when it is a readable file.
    #[must_use]
    pub fn content(&self) -> Option<&str> {
        match self {
            Self::Text { content, .. } => Some(content),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

/// The way from a node to one of its peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFacts {
    /// The source address the kernel picks (moby#53004: it must be the data-path address).
    pub source: IpAddr,
    /// The interface it leaves by.
    pub interface: String,
    /// The MTU of the route or, without one, of the interface, in bytes.
    pub mtu_bytes: u32,
    /// The largest IP packet that came back with DF set, in bytes.
    pub path_mtu_bytes: Observed<u32>,
}

/// The SSH connection that the facts came over, as sshd on the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SshSession {
    /// The address the operator comes from; behind a jump host, the jump host's.
    pub from: IpAddr,
    /// The node's address at which sshd was reached.
    pub to: IpAddr,
    /// The port on which sshd was reached.
    pub port: u16,
}

impl SshSession {
    /// Reads sshd's `SSH_CONNECTION`: the client's address and port, then the server's (ssh(1)).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let from: IpAddr = words.next()?.parse().ok()?;
        let to: IpAddr = words.nth(1)?.parse().ok()?;
        let port = words.next()?.parse().ok()?;
        Some(Self { from: from.to_canonical(), to: to.to_canonical(), port })
    }
}

/// A change that an earlier run began on this node and did not end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptedChange {
    /// The change's identity in that run.
    pub change: String,
    /// Who ran it.
    pub operator: String,
}

/// A file that the dead-man switch could not put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotPutBack {
    /// The change that nobody confirmed.
    pub change: String,
    /// The file.
    pub path: String,
    /// What it was before.
    pub what_it_was: WhatItWas,
    /// What stood in the way.
    pub why: String,
}

/// Where the text is that a file had before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhatItWas {
    /// In this file.
    InCopy(String),
    /// Gone, e.g. with its directory.
    Lost,
    /// There was no such file.
    NoFile,
}

impl fmt::Display for WhatItWas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InCopy(copy) => write!(f, "what it was is in {copy}"),
            Self::Lost => f.write_str("what it was is gone too"),
            Self::NoFile => f.write_str("there was no such file before"),
        }
    }
}

impl fmt::Display for NotPutBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}); {}", self.path, self.why, self.what_it_was)
    }
}

/// All that is known of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// `/etc/os-release`.
    pub os: OperatingSystem,
    /// The running kernel.
    pub kernel: Kernel,
    /// `/etc/machine-id`: two nodes with the same one are clones of an image.
    pub machine_id: String,
    /// The host name the kernel has now.
    pub hostname: String,
    /// Processors, memory, disk.
    pub hardware: Hardware,
    /// The files that were asked for, by path.
    pub files: BTreeMap<String, FileFacts>,
    /// Why those of them that cannot be replaced cannot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unwritable: BTreeMap<String, Obstacle>,
    /// The kernel modules that were asked for, by name.
    pub modules: BTreeMap<String, ModuleState>,
    /// What keeps those of them that are not built in from being loaded, now or at the next boot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modules_barred: BTreeMap<String, Bar>,
    /// Whether an `rfc4106(gcm(aes))` ESP association can really be added (tried in a network namespace that is
    /// thrown away). Not tried while `esp4` is not loaded, so that looking changes nothing.
    pub esp: Observed<bool>,
    /// The live sysctl values that were asked for; `None` where the kernel has no such key.
    pub sysctl: BTreeMap<String, Option<String>>,
    /// What files of the node set those to, in the order in which they are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sysctl_set: Vec<Setting>,
    /// The packages that were asked for and are known to dpkg.
    pub packages: BTreeMap<String, PackageFacts>,
    /// The systemd units that were asked for.
    pub units: BTreeMap<String, UnitFacts>,
    /// The container engine.
    pub engine: EngineFacts,
    /// The interfaces and their addresses.
    pub interfaces: Vec<InterfaceFacts>,
    /// The way to each peer that was asked for.
    pub routes: BTreeMap<IpAddr, Observed<RouteFacts>>,
    /// Whether cloud-init is there and what it would rewrite at boot.
    pub cloud_init: CloudInitFacts,
    /// The snap called `docker`.
    pub docker_snap: DockerSnap,
    /// Whether unattended upgrades are installed and enabled.
    pub upgrades_unattended: bool,
    /// Accounts that belong to the group `docker`.
    pub docker_group_members: Option<Vec<String>>,
    /// The SSH connection these facts came over; `None` where sshd's word did not come through.
    pub ssh_session: Option<SshSession>,
    /// The interface by which answers to that connection leave, whatever address it was made to; `None` where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_answers_by: Option<String>,
    /// What filters packets now.
    pub filter: FilterFacts,
    /// The tunnels to its peers.
    #[serde(default, skip_serializing_if = "TunnelFacts::is_nothing")]
    pub tunnel: TunnelFacts,
    /// The shared files.
    #[serde(default, skip_serializing_if = "StorageFacts::is_nothing")]
    pub storage: StorageFacts,
    /// Changes that were begun and not ended.
    pub interrupted: Vec<InterruptedChange>,
    /// Files that the dead-man switch could not put back and that nobody has seen to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_put_back: Vec<NotPutBack>,
    /// What was there before enxame came; `None` where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// What changes by itself.
    pub volatile: VolatileFacts,
}

impl NodeFacts {
    /// Whether the node is in a swarm, as far as can be told: a silent engine may know of one, and
    /// so may the one that is installed where an earlier one left its data.
    #[must_use]
    pub fn is_swarm_member(&self) -> bool {
        let has_state = || self.files.get(MEMBERSHIP_FILE).is_some_and(|file| *file != FileFacts::Absent);
        match &self.engine.state {
            EngineState::Running { swarm, .. } => swarm.local != LocalSwarmState::Inactive,
            EngineState::NotAnswering(_) | EngineState::Absent => has_state(),
        }
    }
}

/// What changes by itself from one look to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct VolatileFacts {
    /// The node's clock, in milliseconds since 1970.
    pub clock_unix_ms: u64,
    /// Whether the kernel says that its clock is synchronised (`adjtimex`).
    pub clock_synchronised: bool,
    /// `/proc/sys/kernel/random/boot_id`: another one after each boot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub boot_id: String,
    /// What runs in the swarm (managers with quorum only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Workloads>,
    /// The addresses that are somebody's already; the engine makes and unmakes bridges.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub occupied: BTreeSet<OccupiedNetwork>,
    /// Memory available, in bytes.
    pub memory_available_bytes: u64,
    /// Space free for root on the engine's filesystem, in bytes.
    pub disk_available_bytes: u64,
    /// Round-trip time to each peer, in microseconds; `None` when it did not answer.
    pub round_trip_us: BTreeMap<IpAddr, Option<u64>>,
    /// What listens on other addresses than the loopback's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub listening: BTreeSet<Listener>,
    /// The shared files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedState>,
    /// The peers in the tunnels, by their keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tunnel_peers: BTreeMap<PublicKey, PeerFacts>,
    /// What containers publish that are of no service, by container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub containers: BTreeMap<String, BTreeSet<Service>>,
}

#[cfg(test)]
mod tests {
    use super::SshSession;

    #[test]
    fn what_sshd_says_of_a_connection_is_read_and_nothing_is_made_up() {
        let parsed = SshSession::parse("198.51.100.7 50022 203.0.113.12 2222").unwrap();
        let (from, to) = ("198.51.100.7".parse().unwrap(), "203.0.113.12".parse().unwrap());
        assert_eq!(parsed, SshSession { from, to, port: 2222 });
        let mapped = SshSession::parse("::ffff:198.51.100.7 50022 ::ffff:203.0.113.12 22").unwrap();
        assert_eq!(mapped, SshSession { from, to, port: 22 });
        for text in ["", "198.51.100.7", "UNKNOWN 65535 UNKNOWN 65535"] {
            assert_eq!(SshSession::parse(text), None, "{text}");
        }
    }
}
