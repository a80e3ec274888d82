//! The checks of `tunnel`, of its operators, and of everybody's addresses in it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use serde_saphyr::Spanned;

use super::error::Problems;
use super::model::{OperatorConfig, TunnelConfig};
use super::reserved;
use super::v1::{ClusterFile, OperatorFile, TunnelFile};
use super::words::OpeningProtocol;
use crate::areas::firewall;
use crate::facts::PublicKey;
use crate::names::NodeName;

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
    if let Some(network) = &tunnel.network {
        check_network(file, (network, tunnel.operators.len()), found);
        check_addresses(file, (network.value, &tunnel.operators), found);
    } else {
        let of_nodes = file.nodes.value.iter().filter_map(|node| node.tunnel.as_ref());
        let mut all = of_nodes.chain(tunnel.operators.iter().filter_map(|one| one.address.as_ref()));
        if let Some(address) = all.next() {
            let message = format!("{} is of no network: `tunnel.network` is not written", address.value);
            let hint = "write it; or take the addresses away, and `enxame plan` proposes all";
            found.add(address.referenced, message, hint);
        }
    }
    Some(TunnelConfig {
        network: tunnel.network.as_ref().map(|one| one.value),
        port: tunnel.port.value,
        operators: operators(&tunnel.operators, found),
    })
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

fn check_network(file: &ClusterFile, (at, operators): (&Spanned<Ipv4Net>, usize), found: &mut Problems<'_>) {
    let network = at.value;
    let proposed = "`enxame plan` proposes one that is free, where `network` is not written";
    if network.addr() != network.network() {
        let message = format!("{network} has bits beyond its prefix");
        found.add(at.referenced, message, &format!("did you mean {}?", network.trunc()));
    }
    let nodes = file.nodes.value.len();
    let members = nodes.saturating_add(operators);
    if !(8..=30).contains(&network.prefix_len()) || network.hosts().take(members).count() < members {
        let beside = if operators == 0 { String::new() } else { format!(" and {operators} operator(s)") };
        let message = format!("{network} is no network for the tunnels of {nodes} nodes{beside}");
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

/// Whose an address is to be, in words, with its place.
struct Claim<'a> {
    whose: String,
    address: &'a Spanned<Ipv4Addr>,
}

fn check_addresses(
    file: &ClusterFile,
    (network, operators): (Ipv4Net, &[OperatorFile]),
    found: &mut Problems<'_>,
) {
    let claim = |whose: &str, address| Claim { whose: format!("`{whose}`"), address };
    let of_nodes = file.nodes.value.iter();
    let of_nodes = of_nodes.filter_map(|node| Some(claim(node.name.value.as_str(), node.tunnel.as_ref()?)));
    let of_operators = operators.iter();
    let of_operators = of_operators.filter_map(|one| {
        let Claim { whose, address } = claim(&one.name.value, one.address.as_ref()?);
        Some(Claim { whose: format!("the operator {whose}"), address })
    });
    let mut owners: BTreeMap<Ipv4Addr, String> = BTreeMap::new();
    for Claim { whose, address } in of_nodes.chain(of_operators) {
        let at = address.value;
        if !network.contains(&at) {
            let message = format!("{at} is not of the tunnels' network {network}");
            found.add(address.referenced, message, "each node's and each operator's is one of it");
        } else if at == network.network() || at == network.broadcast() {
            let message = format!("{at} is nobody's: it stands for the whole network {network}");
            found.add(address.referenced, message, "an address between the first and the last");
        }
        if let Some(first) = owners.get(&at) {
            let message = format!("the address {at} in the tunnels is taken by {first}");
            let hint = "an address is a key there: each node and each operator needs its own";
            found.add(address.referenced, message, hint);
        } else {
            owners.insert(at, whose);
        }
    }
}

fn operators(file: &[OperatorFile], found: &mut Problems<'_>) -> Vec<OperatorConfig> {
    let (mut names, mut keys) = (BTreeMap::new(), BTreeMap::new());
    let mut operators = Vec::new();
    for one in file {
        let line = one.name.referenced.line();
        let name = NodeName::new(one.name.value.as_str());
        if name.is_err() {
            let message = format!("`{}` is no name of an operator", one.name.value);
            found.add(one.name.referenced, message, "lower-case letters, digits and hyphens, as a host name");
        }
        if let Some(first) = names.insert(one.name.value.as_str(), line) {
            let message = format!("the name `{}` is taken by the operator on line {first}", one.name.value);
            found.add(one.name.referenced, message, "one for each machine that somebody works at");
        }
        let public_key = PublicKey::new(one.public_key.value.as_str());
        // What it is instead is not repeated: it may be a secret that was pasted there.
        if let Err(error) = &public_key {
            let message = format!("the key of `{}` is {error}", one.name.value);
            found.add(one.public_key.referenced, message, "what `wg pubkey` says of the operator's own key");
        }
        if let Some(first) = keys.insert(one.public_key.value.as_str(), line) {
            let message = format!("the key of `{}` is that of the operator on line {first}", one.name.value);
            let hint = "a key is a peer: each machine needs its own, made where it is used";
            found.add(one.public_key.referenced, message, hint);
        }
        if let (Ok(name), Ok(public_key)) = (name, public_key) {
            let address = one.address.as_ref().map(|address| address.value);
            operators.push(OperatorConfig { name, public_key, address });
        }
    }
    operators
}
