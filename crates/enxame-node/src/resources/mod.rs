//! The resources: one file each, in the order in which the cluster's are carried out.

mod cloud_init;
mod docker_group;
mod engine_config;
mod engine_package;
mod firewall_packages;
mod guard;
mod hostname;
mod hosts;
mod ingress;
mod kernel_modules;
mod labels;
mod networks;
mod swarm_init;
mod swarm_join;
mod swarm_settings;
mod sysctl;
mod time_sync;
mod ufw;

use enxame_core::change::Kind;
use enxame_core::declare::Declare;

use crate::actuate::Resource;

/// Every resource.
static REGISTRY: [&dyn Resource; 18] = [
    &hostname::Hostname,
    &cloud_init::CloudInit,
    &hosts::Hosts,
    &time_sync::TimeSync,
    &sysctl::Sysctl,
    &kernel_modules::KernelModules,
    &firewall_packages::FirewallPackages,
    &guard::GuardTable,
    &ufw::Ufw,
    &engine_config::EngineConfigFile,
    &engine_package::EnginePackage,
    &docker_group::DockerGroup,
    &swarm_init::SwarmInit,
    &swarm_settings::SwarmSettings,
    &ingress::Ingress,
    &swarm_join::SwarmJoin,
    &labels::Labels,
    &networks::Networks,
];

/// What the planner sees of the resources.
#[must_use]
pub fn declarations() -> Vec<&'static dyn Declare> {
    REGISTRY.iter().map(|resource| *resource as &dyn Declare).collect()
}

/// The resource of that kind.
#[must_use]
pub fn find(kind: &Kind) -> Option<&'static dyn Resource> {
    REGISTRY.iter().copied().find(|resource| resource.kind() == *kind)
}

#[cfg(test)]
mod tests;
