//! The provider's firewall in front of the servers: what is there, what should be, and the difference.
//!
//! Pure. Invariant: a firewall with our name is ours alone, so whatever is in it and not wanted goes; every other
//! firewall is left as it is.

mod difference;
mod rule;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use difference::difference;
pub use rule::{EdgeRule, RuleFacts};

use crate::change::Difference;
use crate::names::NodeName;

/// What the provider has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeFacts {
    /// The provider, e.g. `hostinger`.
    pub provider: String,
    /// The firewall with our name, where there is one.
    pub firewall: Option<FirewallFacts>,
    /// The names of all the account's firewalls, for people.
    pub names: BTreeMap<u64, String>,
    /// The nodes' virtual machines; one that is missing has no machine in the account with its address.
    pub machines: BTreeMap<NodeName, MachineFacts>,
    /// Machines that are no nodes and have our firewall all the same: their numbers and names.
    pub strangers: BTreeMap<u64, String>,
}

/// A firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallFacts {
    /// The provider's number of it.
    pub id: u64,
    /// Whether the machines that have it filter by its rules as they are now.
    pub is_synced: bool,
    /// Its rules. What none of them accepts is dropped.
    pub rules: Vec<RuleFacts>,
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// The provider's number of it.
    pub id: u64,
    /// The firewall that is active for it: one at most.
    pub firewall: Option<u64>,
    /// Whether the provider is busy with it and takes no orders.
    pub is_locked: bool,
}

/// What is to be done at the provider, in the order of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeChange {
    /// The provider, e.g. `hostinger`.
    pub provider: String,
    /// The firewall's name.
    pub name: String,
    /// What will be done, in the imperative.
    pub summary: String,
    /// Why it is needed.
    pub reason: String,
    /// The manual's section.
    pub section: String,
    /// What differs.
    pub differences: Vec<Difference>,
    /// The firewall; `None`: it is made.
    pub firewall: Option<u64>,
    /// Whether machines filter by other rules than the firewall has, before anything is changed.
    pub is_out_of_sync: bool,
    /// Rules to make.
    pub add: Vec<EdgeRule>,
    /// The machines that have the firewall and must be told of its rules.
    pub sync: Vec<Machine>,
    /// The machines that get the firewall.
    pub activate: Vec<Activation>,
    /// Rules to take away, once the new ones filter everywhere.
    pub delete: Vec<RuleFacts>,
}

/// A machine that has the firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The provider's number of it.
    pub id: u64,
    /// The node that it is.
    pub node: NodeName,
}

/// A machine that gets the firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The provider's number of it.
    pub id: u64,
    /// The node that it is.
    pub node: NodeName,
    /// The firewall that it has now and loses.
    pub replaces: Option<u64>,
}

#[cfg(test)]
mod tests;
