//! What reaches a node and what leaves it (manual 3): openings, the guard, ufw, what Docker publishes.

pub(crate) mod brief;
pub mod docker_user;
pub(crate) mod facts;
pub mod guard;
pub mod guard_table;
mod interfaces;
pub mod iptables;
mod openings;
pub mod packages;
pub mod removal;
mod source;
pub mod ufw;
pub mod ufw_rules;

pub use interfaces::{has_public, is_public, is_tunnel, lasting_addresses, public_interfaces};
pub use openings::{Firewall, Opening, PROBE_PORT, Service, admits};
pub(crate) use openings::{SSH_PORT, public};
pub use source::{NoNetwork, Nodes, Source};

super::actions! {
    Firewall:
    /// The firewall's programs.
    Packages(packages),
    /// The table in front of everybody's.
    Guard(guard),
    /// The host's firewall.
    Ufw(ufw),
    /// Taking it off.
    Removal(removal),
}
