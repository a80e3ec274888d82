//! The swarm (manual 5.2 and 5.3).

pub mod availability;
mod constraint;
pub(crate) mod facts;
pub mod ingress;
pub mod init;
pub mod join;
pub mod labels;
mod members;
pub mod networks;
pub mod overlay;
pub(crate) mod pools;
pub mod removal;
pub mod settings;
mod workloads;

pub(crate) use constraint::{Attributes, Constraint};
pub use facts::member_at;
pub use members::{endpoint, member};
pub use workloads::{Resources, ServiceFacts, TaskFacts, UpdateFacts, Workloads};

super::actions! {
    Swarm:
    /// Founding it.
    Init(init),
    /// What of it may change.
    Settings(settings),
    /// The routing mesh's network.
    Ingress(ingress),
    /// Joining it.
    Join(join),
    /// Labels of its nodes.
    Labels(labels),
    /// Its networks.
    Network(networks),
    /// Whether tasks are given to a node.
    Availability(availability),
    /// Leaving it.
    Removal(removal),
}
