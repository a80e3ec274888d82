//! The words that `cluster.yaml` chooses from, for the file and for the program alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose firewall stands in front of the servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EdgeProvider {
    /// Somebody's who clicks it in: `enxame edge` prints what.
    #[default]
    Manual,
    /// Hostinger's, through its API.
    Hostinger,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpeningProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What nodes let in from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerAccess {
    /// What the swarm and the shared files need, and nothing else.
    #[default]
    Least,
    /// Everything, as in the manual.
    Full,
}

/// What becomes of ufw rules that enxame did not write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForeignRules {
    /// They stay, behind ours.
    #[default]
    Keep,
    /// They go.
    Remove,
}

/// What a server is for, besides running containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It holds the shared files.
    Storage,
    /// It runs the databases.
    Db,
    /// It runs the reverse proxy.
    Proxy,
}

impl Role {
    /// The key of the label the role becomes.
    #[must_use]
    pub fn label_key(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Db => "db",
            Self::Proxy => "proxy",
        }
    }
}

/// Under whose ids what clients write is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Squash {
    /// Everybody's is the owner's.
    #[default]
    All,
    /// Root's is nobody's; all others keep their ids.
    Root,
    /// Everybody keeps theirs, root too: for images that give their files away at start.
    None,
}

/// How clients mount the shared files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MountProfile {
    /// Whoever writes waits for a server that is away, and nothing is lost.
    #[default]
    Hard,
    /// The manual's: after some seconds without an answer writes fail, and may be lost.
    Manual,
}

/// Where the engine comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EngineSource {
    /// Docker's own repository (`docker-ce`).
    #[default]
    DockerCe,
    /// The distribution's package (`docker.io`).
    Distribution,
}
