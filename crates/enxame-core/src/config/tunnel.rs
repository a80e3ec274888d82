//! The checks of `tunnel` and of the nodes' addresses in it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use serde_saphyr::Spanned;

use super::error::Problems;
use super::model::TunnelConfig;
use super::reserved;
use super::v1::{ClusterFile, TunnelFile};
use super::words::OpeningProtocol;
use crate::areas::firewall;

/// What is missing is no error: the plan proposes it.
pub(super) fn check(file: &ClusterFile, found: &mut Problems<'_>) -> Option<TunnelConfig> {
    // Files are shared in tunnels, with whatever of them is not written.
    let implied = file.storage.as_ref().map(|_| TunnelFile::default());
    let Some(tunnel) = file.tunnel.as_ref().or(implied.as_ref()) else {
        for node in &file.nodes.value {
            if let Some(address) = &node.tunnel {
                let message =
                    format!("`{}` has an address in the tunnels, and there are none", node.name.value);
                found.add(address.referenced, message, "write `tunnel:`, or take the address away");
            }
        }
        return None;
    };
    check_port(file, &tunnel.port, found);
    match &tunnel.network {
        Some(network) => {
            check_network(file, network, found);
            check_addresses(file, network.value, found);
        }
        None => {
            if let Some(address) = file.nodes.value.iter().find_map(|node| node.tunnel.as_ref()) {
                let message = format!("{} is of no network: `tunnel.network` is not written", address.value);
                found.add(
                    address.referenced,
                    message,
                    "write it; or take the addresses away, and `enxame plan` proposes all",
                );
            }
        }
    }
    Some(TunnelConfig { network: tunnel.network.as_ref().map(|one| one.value), port: tunnel.port.value })
}

fn check_port(file: &ClusterFile, port: &Spanned<u16>, found: &mut Problems<'_>) {
    let owner = match port.value {
        0 => {
            found.add(port.referenced, "there is no port 0", "1 to 65535; 51820");
            return;
        }
        reserved::SWARM_GOSSIP_PORT => Some("the swarm's gossip"),
        port if port == file.swarm.data_path_port.value => Some("VXLAN, the swarm's data path"),
        _ => None,
    };
    if let Some(owner) = owner {
        let message = format!("UDP {} is not free for the tunnels: {owner}", port.value);
        found.add(port.referenced, message, "another port; 51820 is WireGuard's own");
    }
    let openings = file.firewall.openings.iter();
    let same = |port_of: &Spanned<u16>| port_of.value == port.value;
    for opening in openings.filter(|one| one.protocol == OpeningProtocol::Udp && same(&one.port)) {
        let message = format!("UDP {} is the port of the tunnels between the nodes", port.value);
        let hint = "take it away: the nodes let each other in by themselves; where it is for a VPN of yours, give the tunnels \
                    another `tunnel.port`";
        found.add(opening.port.referenced, message, hint);
    }
}

fn check_network(file: &ClusterFile, at: &Spanned<Ipv4Net>, found: &mut Problems<'_>) {
    let network = at.value;
    let proposed = "`enxame plan` proposes one that is free, where `network` is not written";
    if network.addr() != network.network() {
        let message = format!("{network} has bits beyond its prefix");
        found.add(at.referenced, message, &format!("did you mean {}?", network.trunc()));
    }
    let nodes = file.nodes.value.len();
    if !(8..=30).contains(&network.prefix_len()) || network.hosts().take(nodes).count() < nodes {
        let message = format!("{network} is no network for the tunnels of {nodes} nodes");
        found.add(at.referenced, message, "/8 to /30, with an address for each of them; /24 leaves room");
    }
    if firewall::has_public(&IpNet::V4(network)) {
        let message = format!("{network} has addresses of the Internet");
        found.add(at.referenced, message, proposed);
    }
    let pools = file.engine.address_pools.iter().map(|pool| (pool.value.base, "the engine's address pool"));
    let pools = pools.chain([(file.swarm.address_pool.value.base, "the swarm's address pool")]);
    for (pool, what) in pools {
        if overlap(&pool, network) {
            found.add(at.referenced, format!("{network} overlaps {what} {pool}"), proposed);
        }
    }
    for node in &file.nodes.value {
        if overlap(&IpNet::from(node.address.value), network) {
            let message =
                format!("{network} holds {}, the address of `{}`", node.address.value, node.name.value);
            found.add(at.referenced, message, proposed);
        }
    }
}

fn overlap(one: &IpNet, other: Ipv4Net) -> bool {
    let other = IpNet::V4(other);
    one.contains(&other) || other.contains(one)
}

fn check_addresses(file: &ClusterFile, network: Ipv4Net, found: &mut Problems<'_>) {
    let mut owners: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
    for node in &file.nodes.value {
        let Some(address) = &node.tunnel else { continue };
        let at = address.value;
        if !network.contains(&at) {
            let message = format!("{at} is not of the tunnels' network {network}");
            found.add(address.referenced, message, "each node's is one of it");
        } else if at == network.network() || at == network.broadcast() {
            let message = format!("{at} is no node's: it stands for the whole network {network}");
            found.add(address.referenced, message, "an address between the first and the last");
        }
        if let Some(first) = owners.insert(at, node.name.value.as_str()) {
            let message = format!("the address {at} in the tunnels is taken by `{first}`");
            found.add(address.referenced, message, "an address is a key there: each node needs its own");
        }
    }
}
