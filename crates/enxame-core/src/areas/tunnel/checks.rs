//! What stands in the way of tunnels, seen from all nodes together, and what is proposed where something is not written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::{INTERFACE, live};
use crate::areas::firewall::Service;
use crate::areas::swarm::pools;
use crate::config::{Config, NodeConfig, OperatorConfig, TunnelConfig};
use crate::declare::Finding;
use crate::facts::{ClusterFacts, NodeFacts, Occupant, OccupiedNetwork, PublicKey};
use crate::names::NodeName;

/// The prefix length of a network that is proposed.
const PROPOSED_LENGTH: u8 = 24;

/// Everything that can be seen from the facts alone.
pub(crate) fn findings(config: &Config, all: &ClusterFacts) -> Vec<Finding> {
    let Some(tunnel) = &config.tunnel else { return Vec::new() };
    let mut found: Vec<Finding> = missing(config, tunnel, all).into_iter().collect();
    for node in &config.nodes {
        let Some(facts) = all.get(&node.name) else { continue };
        found.extend(tunnel.network.and_then(|network| occupied(node, facts, network)));
        found.extend(taken_port(node, facts, tunnel.port));
    }
    found.extend(clones(config, all));
    found.extend(super::pairs::silent(config, all, tunnel.port));
    found
}

/// What is not written, with a proposal: which addresses nodes have is for cluster.yaml to say, for as long as they live.
fn missing(config: &Config, tunnel: &TunnelConfig, all: &ClusterFacts) -> Option<Finding> {
    let nodes: Vec<&NodeConfig> = config.nodes.iter().filter(|node| node.tunnel.is_none()).collect();
    let operators: Vec<&OperatorConfig> = config.operators().filter(|one| one.address.is_none()).collect();
    if tunnel.network.is_some() && nodes.is_empty() && operators.is_empty() {
        return None;
    }
    let lacks = match (tunnel.network, nodes.len(), operators.len()) {
        (None, ..) => "`tunnel:` has no network yet".to_owned(),
        (Some(_), 1, 0) => "a node has no address in the tunnels yet".to_owned(),
        (Some(_), 0, 1) => "an operator has no address in the tunnels yet".to_owned(),
        (Some(_), count, 0) => format!("{count} nodes have no address in the tunnels yet"),
        (Some(_), 0, count) => format!("{count} operators have no address in the tunnels yet"),
        (Some(_), nodes, operators) => {
            format!("{nodes} node(s) and {operators} operator(s) have no address in the tunnels yet")
        }
    };
    let members = config.nodes.len().saturating_add(tunnel.operators.len());
    let network = tunnel.network.or_else(|| proposed_network(members, all.values(), &others(config)));
    let Some(network) = network else {
        let hint = "write an IPv4 network that no node knows: `tunnel: {network: ...}`";
        return Some(Finding::error("4", lacks, hint));
    };
    let proposed = match tunnel.network {
        None => format!("`tunnel: {{network: {network}}}` is free on every node that was looked at; "),
        Some(_) => String::new(),
    };
    let of_operators = config.operators().filter_map(|operator| operator.address);
    let taken: BTreeSet<Ipv4Addr> =
        config.nodes.iter().filter_map(|node| node.tunnel).chain(of_operators).collect();
    let is_free = |address: &Ipv4Addr| !taken.contains(address);
    let of_nodes = nodes.iter().zip(network.hosts().filter(is_free));
    let of_nodes = of_nodes.map(|(node, address)| format!("at {}: `tunnel: {address}`", node.name));
    // From the other end, so that nodes that come later are beside those that are there.
    let of_operators = operators.iter().zip(network.hosts().rev().filter(is_free));
    let of_operators =
        of_operators.map(|(one, address)| format!("at the operator {}: `address: {address}`", one.name));
    let lines: Vec<String> = of_nodes.chain(of_operators).collect();
    Some(Finding::error("4", lacks, format!("{proposed}write {}", lines.join(", "))))
}

/// What is spoken for in cluster.yaml itself.
fn others(config: &Config) -> Vec<IpNet> {
    let pools = config.engine.address_pools.iter().map(|pool| pool.base);
    let nodes = config.nodes.iter().map(|node| IpNet::from(node.address));
    pools.chain([config.swarm.address_pool.base]).chain(nodes).collect()
}

/// A network with room for so many members, in which no node knows anybody, and that is none of `others`.
pub(crate) fn proposed_network<'a>(
    members: usize,
    facts: impl Iterator<Item = &'a NodeFacts>,
    others: &[IpNet],
) -> Option<Ipv4Net> {
    // Without the first and the last address of the network.
    let has_room = |length: &u8| (1_usize << (32 - length)) >= members.saturating_add(2);
    let length = (16..=PROPOSED_LENGTH).rev().find(has_room)?;
    pools::free_network(length, facts.flat_map(known_beside), others)
}

/// Whom a node knows, but for its peers in the tunnels.
fn known_beside(facts: &NodeFacts) -> impl Iterator<Item = &OccupiedNetwork> {
    let is_ours = |one: &&OccupiedNetwork| one.by == Occupant::Interface(INTERFACE.to_owned());
    pools::known_to(facts).filter(move |one| !is_ours(one))
}

/// Who has addresses of the network already: he would not be reached any more, or the peers would not be.
fn occupied(node: &NodeConfig, facts: &NodeFacts, network: Ipv4Net) -> Option<Finding> {
    let inside = known_beside(facts).filter(|one| pools::overlap(&IpNet::V4(network), &one.network));
    let inside: Vec<String> = inside.map(ToString::to_string).collect();
    if inside.is_empty() {
        return None;
    }
    let message = format!("the tunnels' network {network} holds {}", inside.join(", "));
    let is_up = live(facts).is_some();
    let finding = if is_up {
        let hint = "one of the two is not reached: move that one, or the tunnels by another `tunnel.network` and other \
                    addresses";
        Finding::warning("4", message, hint)
    } else {
        let hint = "take `network` and the nodes' addresses out of `tunnel:`, and `enxame plan` proposes others that are free";
        Finding::error("4", message, hint)
    };
    Some(finding.on(&node.name))
}

/// Somebody else who has the port, e.g. a tunnel of the user's own.
fn taken_port(node: &NodeConfig, facts: &NodeFacts, port: u16) -> Option<Finding> {
    if live(facts).is_some() {
        return None;
    }
    let holder = facts.volatile.listening.iter().find(|one| one.at == Service::Udp(port))?;
    let who = if holder.program.is_empty() { "the kernel, e.g. a tunnel of yours" } else { &holder.program };
    let message = format!("UDP {port} is taken by {who}");
    Some(Finding::error("4", message, "give the tunnels another `tunnel.port`").on(&node.name))
}

/// A key is a node: whoever has another's is that one to its peers.
fn clones(config: &Config, all: &ClusterFacts) -> Vec<Finding> {
    let mut owners: BTreeMap<&PublicKey, &NodeName> = BTreeMap::new();
    let keys =
        config.nodes.iter().filter_map(|node| Some((&node.name, all.get(&node.name)?.tunnel.key.public()?)));
    let mut found = Vec::new();
    for (node, key) in keys {
        if let Some(operator) = config.operators().find(|operator| operator.public_key == *key) {
            let message = format!("has the key for the tunnels that is the operator {}'s", operator.name);
            let hint = "a key is a peer: the operator makes one of his own, where it is used (`wg genkey`)";
            found.push(Finding::error("4", message, hint).on(node));
        }
        if let Some(first) = owners.insert(key, node) {
            let message = format!("has the same key for the tunnels as {first}: one is a clone of the other");
            let hint =
                format!("on one of them: rm {}; the next apply makes it a key of its own", super::KEY_PATH);
            found.push(Finding::error("4", message, hint).on(node));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::blank::blank;

    fn free(nodes: usize, known: &[&str], others: &[&str]) -> Option<String> {
        let mut facts = blank();
        let by = |name: &str| Occupant::Interface(name.to_owned());
        facts.volatile.occupied = known
            .iter()
            .map(|text| OccupiedNetwork { network: text.parse().unwrap(), by: by("eth1") })
            .chain([OccupiedNetwork { network: "192.168.255.0/24".parse().unwrap(), by: by(INTERFACE) }])
            .collect();
        let others: Vec<IpNet> = others.iter().map(|text| text.parse().unwrap()).collect();
        proposed_network(nodes, [&facts].into_iter(), &others).map(|network| network.to_string())
    }

    #[test]
    fn a_network_is_proposed_in_which_nobody_is_but_the_tunnels_themselves() {
        let defaults = ["10.0.0.0/8", "172.16.0.0/12"];
        assert_eq!(free(3, &[], &defaults).unwrap(), "192.168.255.0/24");
        assert_eq!(
            free(3, &["192.168.255.0/30", "192.168.254.7/32"], &defaults).unwrap(),
            "192.168.253.0/24"
        );
        assert_eq!(free(300, &[], &defaults).unwrap(), "192.168.254.0/23");
        assert_eq!(free(3, &["192.168.0.0/16"], &defaults).unwrap(), "100.127.255.0/24");
        let all = ["192.168.0.0/16", "100.64.0.0/10", "172.16.0.0/12", "10.0.0.0/8"];
        assert_eq!(free(3, &all, &[]), None);
        // Half of all addresses is a default route in two parts.
        assert_eq!(free(3, &["128.0.0.0/1"], &defaults).unwrap(), "192.168.255.0/24");
    }
}
