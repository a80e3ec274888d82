//! The swarm (manual 5.2 and 5.3).

pub mod ingress;
pub mod init;
pub mod join;
pub mod labels;
mod members;
pub mod networks;
pub mod overlay;
pub mod removal;
pub mod settings;

pub use members::{endpoint, member};

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
    /// Leaving it.
    Removal(removal),
}
