//! What the user wants: `cluster.yaml`, read once, checked whole, read-only from then on.
//!
//! Data goes one way: `v1` is the file's shape, with the places of its values; `validate` and `edge` refuse what types
//! cannot; `model` is what the rest of the program sees; `load` puts them in order. A file version is a module of its own,
//! so that old files stay readable when the shape moves on.

mod edge;
mod error;
mod load;
mod model;
#[cfg(test)]
mod reference;
mod reserved;
mod stacks;
mod storage;
mod tunnel;
mod v1;
mod validate;
mod words;

pub use error::{ConfigError, Problem};
pub use load::LoadedConfig;
pub use model::{
    AddressPool, Config, EdgeConfig, EngineConfig, ExportConfig, FirewallConfig, NetworksConfig, NodeConfig,
    OpeningConfig, OperatorConfig, RepositoryConfig, SshConfig, StackConfig, StorageConfig, SwarmConfig,
    TunnelConfig,
};
pub(crate) use reserved::{NFS_PORT, SSH_PORT};
pub use reserved::{PROBE_PORT, SWARM_GOSSIP_PORT, SWARM_MANAGEMENT_PORT};
pub use stacks::Stack;
pub(crate) use stacks::published_ports;
pub(crate) use v1::{default_bridge_pool, default_overlay_pool};
pub use words::{
    EdgeProvider, EngineSource, ForeignRules, MountProfile, OpeningProtocol, PeerAccess, Role, Squash,
};

impl Config {
    /// The JSON Schema of `cluster.yaml`, as pretty-printed JSON.
    ///
    /// # Errors
    /// Only when the schema cannot be serialised, which its type rules out.
    pub fn json_schema() -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&schemars::schema_for!(v1::ClusterFile))
    }
}

#[cfg(test)]
mod tests;
