//! What to ask a node for: the union of what the resources need to see.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One request's worth of questions. Sets, so that resources may ask for the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct FactsQuery {
    /// Files to read, by absolute path.
    pub files: BTreeSet<String>,
    /// Kernel modules to look for.
    pub modules: BTreeSet<String>,
    /// Sysctl keys, with dots.
    pub sysctl: BTreeSet<String>,
    /// Packages to look up.
    pub packages: BTreeSet<String>,
    /// Systemd units to look up.
    pub units: BTreeSet<String>,
    /// Peers to find the route, path MTU and round-trip time to.
    pub peers: BTreeSet<IpAddr>,
    /// Whether to look at the kernel's packet filter.
    pub filter: bool,
    /// Shared directories to look at, by name; and, where there are any, volumes that mount them.
    #[serde(default)]
    pub shared: BTreeSet<String>,
    /// Whether to look at what matters to whoever takes enxame off: what was there before, and what listens.
    #[serde(default)]
    pub departure: bool,
}

impl FactsQuery {
    /// Adds another query's questions to this one's.
    pub fn merge(&mut self, other: Self) {
        self.files.extend(other.files);
        self.modules.extend(other.modules);
        self.sysctl.extend(other.sysctl);
        self.packages.extend(other.packages);
        self.units.extend(other.units);
        self.peers.extend(other.peers);
        self.filter |= other.filter;
        self.shared.extend(other.shared);
        self.departure |= other.departure;
    }
}
