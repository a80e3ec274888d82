//! Tunnels between the nodes (manual 4, corrected): a `WireGuard` interface on each, where `tunnel:` is written in cluster.yaml.
//!
//! Each node makes its own key, which never leaves it. A peer may send from its own address alone, so that an address is a
//! key. Invariant: no private key is in a fact, an action or a file that is shown.

pub mod checks;
pub mod conf;
pub(crate) mod facts;
pub mod interface;
pub mod key;
mod mtu;
pub mod operator;
mod pairs;
pub mod removal;
mod unit;

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::config::Config;
use crate::facts::{ModuleState, NodeFacts, SshSession};

pub use pairs::{Pair, pairs};
pub use unit::{NETWORK_PATH, UNIT, UNIT_PATH, unit, unmanaged};

/// The manual's section that the tunnels are of.
pub(crate) const SECTION: &str = "4";
/// The interface.
pub const INTERFACE: &str = "enxame0";
/// The node's key, for root alone.
pub const KEY_PATH: &str = "/etc/enxame/tunnel.key";
/// Port and peers.
pub const CONF_PATH: &str = "/etc/enxame/tunnel.conf";
/// The kernel's module.
const MODULE: &str = "wireguard";
/// `wg`, which people look at tunnels with too.
const PACKAGE: &str = "wireguard-tools";

super::actions! {
    Tunnel:
    /// The node's key.
    Key(key),
    /// The interface and its peers.
    Interface(interface),
    /// Taking it off.
    Removal(removal),
}

/// The tunnels' network and port, once all is written that they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    network: Ipv4Net,
    port: u16,
}

impl Wanted {
    /// `None`: there are to be none, or something is missing, which is a finding of its own.
    fn of(config: &Config) -> Option<Self> {
        let tunnel = config.tunnel.as_ref()?;
        let is_whole = config.nodes.iter().all(|node| node.tunnel.is_some())
            && config.operators().all(|operator| operator.address.is_some());
        Some(Self { network: tunnel.network.filter(|_| is_whole)?, port: tunnel.port })
    }
}

/// The node's IPv4 addresses on the interface, and its MTU; `None`: there is no such interface.
fn live(facts: &NodeFacts) -> Option<(Vec<Ipv4Addr>, u32)> {
    let interface = facts.interfaces.iter().find(|interface| interface.name == INTERFACE)?;
    let v4 = interface.addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    Some((v4.collect(), interface.mtu_bytes))
}

/// Whether an SSH session comes through the tunnels: what answers it leaves by them.
pub(crate) fn carries(facts: &NodeFacts, session: SshSession) -> bool {
    match facts.ssh_answers_by.as_deref() {
        Some(name) => name == INTERFACE,
        None => live(facts).is_some_and(|(addresses, _)| addresses.iter().any(|one| session.to == *one)),
    }
}

/// Why a node can have no tunnel, where it cannot.
fn obstacle(facts: &NodeFacts) -> Option<String> {
    if facts.modules.get(MODULE).is_none_or(|state| *state == ModuleState::Missing) {
        return Some(format!("the kernel lacks the module {MODULE}"));
    }
    // The unit loads it by its name, which a black list lets it.
    let bar = facts.modules_barred.get(MODULE).filter(|bar| !bar.at_boot_only)?;
    Some(format!("the module {MODULE} cannot be loaded: {} says `{}`", bar.place, bar.text))
}
