//! The areas: rooms of the manual, each with the same furniture.
//!
//! An area owns what is seen of it (`facts`), what differs (a file for each resource) and what to do about it (`Action`,
//! typed). It may use the configuration, the facts and the declarations; what acts on a node is in the area of the same
//! name in `enxame-node`. Invariant: an action that no node knows how to carry out does not compile.

use serde::{Deserialize, Serialize};

use crate::declare::Declare;

pub mod engine;
pub mod firewall;
pub mod machine;
pub mod stacks;
pub mod storage;
pub mod swarm;
mod touched;
pub mod tunnel;

pub use touched::{Touched, Value};

/// What a node is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Below the engine.
    Machine(machine::Action),
    /// What reaches the node.
    Firewall(firewall::Action),
    /// The container engine.
    Engine(engine::Action),
    /// The swarm.
    Swarm(swarm::Action),
    /// The tunnels between the nodes.
    Tunnel(tunnel::Action),
    /// The shared files.
    Storage(storage::Action),
    /// The stacks.
    Stacks(stacks::Action),
}

impl Action {
    /// Which rule of the change keeps the operator out, where one does.
    #[must_use]
    pub fn why_cut(&self) -> Option<String> {
        match self {
            Self::Firewall(firewall::Action::Guard(action)) => {
                action.closed.as_ref().map(|closed| format!("table inet enxame, chain openings: {closed}"))
            }
            Self::Firewall(firewall::Action::Ufw(action)) => {
                action.closed.as_ref().map(|closed| format!("ufw: {closed}"))
            }
            Self::Firewall(_)
            | Self::Machine(_)
            | Self::Engine(_)
            | Self::Swarm(_)
            | Self::Tunnel(_)
            | Self::Storage(_)
            | Self::Stacks(_) => None,
        }
    }
}

/// An area's actions, one variant for each of its resources.
macro_rules! actions {
    ($area:ident: $($(#[$about:meta])* $variant:ident($module:ident)),+ $(,)?) => {
        /// What a node is to do in this area.
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Action {
            $($(#[$about])* $variant($module::Action)),+
        }
        $(impl From<$module::Action> for crate::areas::Action {
            fn from(action: $module::Action) -> Self {
                Self::$area(Action::$variant(action))
            }
        })+
    };
}
use actions;

/// Every resource; those of the cluster are carried out in this order.
static RESOURCES: [&dyn Declare; 23] = [
    &machine::hostname::Hostname,
    &machine::cloud_init::CloudInit,
    &machine::hosts::Hosts,
    &machine::time_sync::TimeSync,
    &machine::sysctl::Sysctl,
    &machine::kernel_modules::KernelModules,
    &firewall::packages::FirewallPackages,
    &firewall::guard::GuardTable,
    &firewall::ufw::Ufw,
    &tunnel::key::TunnelKey,
    &tunnel::interface::TunnelInterface,
    &storage::client::StorageClient,
    &storage::filesystem::StorageFilesystem,
    &storage::server::StorageServer,
    &engine::config::EngineConfigFile,
    &engine::package::EnginePackage,
    &engine::docker_group::DockerGroup,
    &swarm::init::SwarmInit,
    &swarm::settings::SwarmSettings,
    &swarm::ingress::Ingress,
    &swarm::join::SwarmJoin,
    &swarm::labels::Labels,
    &swarm::networks::Networks,
];

/// Every resource.
#[must_use]
pub fn resources() -> &'static [&'static dyn Declare] {
    &RESOURCES
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::RESOURCES;

    #[test]
    fn kinds_are_unique_and_come_after_kinds_that_exist() {
        let kinds: BTreeSet<_> = RESOURCES.iter().map(|resource| resource.kind()).collect();
        assert_eq!(kinds.len(), RESOURCES.len());
        for resource in RESOURCES {
            for before in resource.after() {
                assert!(kinds.contains(before), "{} comes after {before}", resource.kind());
            }
        }
    }
}
