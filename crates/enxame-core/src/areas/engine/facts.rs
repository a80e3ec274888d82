//! The container engine as this node sees it.

use serde::{Deserialize, Serialize};

use crate::areas::swarm::facts::SwarmFacts;
use crate::version::EngineVersion;

/// The engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// What of it is there.
    pub state: EngineState,
    /// The flags that systemd starts dockerd with, or would.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<EngineFlag>,
    /// Whether a directory stands where it makes its socket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub socket_is_directory: bool,
}

/// A flag of dockerd's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFlag {
    /// Without dashes.
    pub name: String,
    /// Its value, of the few that are judged: others may be secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The unit's file, or what is put on top of it, and the line.
    pub place: String,
}

/// What of an engine is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// No engine is installed.
    Absent,
    /// Installed, and its socket does not answer; the text says why.
    NotAnswering(String),
    /// It answers.
    Running {
        /// Its version, as text.
        version_text: String,
        /// Its version, when it could be read.
        version: Option<EngineVersion>,
        /// The newest API version it speaks, e.g. `1.46`.
        api_version: String,
        /// The storage driver, e.g. `overlay2`.
        storage_driver: String,
        /// Whether `live-restore` is on, which excludes swarm mode.
        live_restore: bool,
        /// Swarm mode.
        swarm: Box<SwarmFacts>,
    },
}

impl EngineFacts {
    /// The running engine's version.
    #[must_use]
    pub fn version(&self) -> Option<EngineVersion> {
        match &self.state {
            EngineState::Running { version, .. } => *version,
            EngineState::Absent | EngineState::NotAnswering(_) => None,
        }
    }

    /// Swarm mode, when the engine answers.
    #[must_use]
    pub fn swarm(&self) -> Option<&SwarmFacts> {
        match &self.state {
            EngineState::Running { swarm, .. } => Some(swarm),
            EngineState::Absent | EngineState::NotAnswering(_) => None,
        }
    }
}
