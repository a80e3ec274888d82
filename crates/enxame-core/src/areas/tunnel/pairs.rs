//! Which pairs of nodes talk to each other in the tunnels, as far as both or one of them can tell.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::config::{Config, NodeConfig};
use crate::declare::Finding;
use crate::facts::{ClusterFacts, NodeFacts, Observed, PublicKey};
use crate::names::NodeName;

/// From here on two ends that talk must have agreed on a key anew: a session is given up after 180 s (`REJECT_AFTER_TIME`,
/// the `WireGuard` paper, 6.1), and its renewal may take some tries.
const STALE_S: u64 = 300;

/// Two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The two, in the order of cluster.yaml.
    pub nodes: [NodeName; 2],
    /// How long ago they last agreed on a key, in seconds; `None`: never since the interface is there.
    pub handshake_s_ago: Option<u64>,
}

/// Every pair of which at least one end was seen with its interface.
#[must_use]
pub fn pairs(config: &Config, all: &ClusterFacts) -> Vec<Pair> {
    if config.tunnel.is_none() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (place, one) in config.nodes.iter().enumerate() {
        for other in config.nodes.iter().skip(place + 1) {
            let ends = [(one, other), (other, one)].into_iter();
            let ends = ends.filter_map(|(near, far)| all.get(&near.name).map(|facts| (facts, far)));
            let known: Vec<_> = ends.filter_map(|(near, far)| Some((near, key_of(near, far)?))).collect();
            if !known.is_empty() {
                let handshake_s_ago = known.into_iter().filter_map(|(near, key)| s_ago(near, key)).min();
                found.push(Pair { nodes: [one.name.clone(), other.name.clone()], handshake_s_ago });
            }
        }
    }
    found
}

/// The key that the near end has of the far one; `None`: it has no interface, or not this peer.
fn key_of<'a>(near: &'a NodeFacts, far: &NodeConfig) -> Option<&'a PublicKey> {
    let Observed::Known(Some(device)) = &near.tunnel.interface else { return None };
    let address = IpNet::from(IpAddr::V4(far.tunnel?));
    device.peers.iter().find(|(_, allowed)| allowed.contains(&address)).map(|(key, _)| key)
}

/// How long ago the last handshake was, by the near end's own clock.
fn s_ago(near: &NodeFacts, key: &PublicKey) -> Option<u64> {
    let at = near.volatile.tunnel_peers.get(key)?.handshake_unix_s?;
    Some((near.volatile.clock_unix_ms / 1000).saturating_sub(at))
}

/// Pairs of which both ends are there and up, and that do not talk: something between them lets nothing through.
pub(super) fn silent(config: &Config, all: &ClusterFacts, port: u16) -> Vec<Finding> {
    let is_up = |node: &NodeName| {
        let facts = all.get(node).map(|facts| &facts.tunnel.interface);
        matches!(facts, Some(Observed::Known(Some(device))) if device.is_up)
    };
    let is_silent = |pair: &Pair| {
        pair.nodes.iter().all(is_up) && pair.handshake_s_ago.is_none_or(|seconds| seconds > STALE_S)
    };
    let of_pair = |Pair { nodes: [one, other], handshake_s_ago }: Pair| {
        let since = match handshake_s_ago {
            Some(seconds) => format!("for {} min", seconds / 60),
            None => "yet".to_owned(),
        };
        let message = format!("{one} and {other} have not talked in the tunnel {since}");
        let hint = format!(
            "right after apply it takes seconds; later: something between them keeps out UDP {port}, e.g. the provider's \
             firewall (`enxame edge` says what it must let in)"
        );
        Finding::warning("4", message, hint)
    };
    pairs(config, all).into_iter().filter(is_silent).map(of_pair).collect()
}
