//! The addresses that the swarm takes for its networks, and whether they are somebody's already: tasks reach what has an
//! address of their own network there and not elsewhere.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use crate::config::{Config, NodeConfig};
use crate::declare::{Finding, Severity};
use crate::facts::{ClusterFacts, NodeFacts, OccupiedNetwork};

/// Where a free pool is looked for, with the prefix length of one: first the swarm's own default, last what providers use
/// behind their translation (RFC 6598).
const SPACES: [(Ipv4Net, u8); 6] = [
    (Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8), 8),
    (Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8), 10),
    (Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8), 12),
    (Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12), 14),
    (Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16), 17),
    (Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10), 12),
];

/// The prefix length of the largest network that is somebody's.
const SHORTEST: u8 = 8;

/// Whether two networks share an address.
#[must_use]
pub(crate) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Who has addresses as far as the node knows. What covers half of all addresses is a default route in two parts, as VPNs
/// make it.
pub(crate) fn known_to(facts: &NodeFacts) -> impl Iterator<Item = &OccupiedNetwork> {
    facts.volatile.occupied.iter().filter(|one| one.network.prefix_len() >= SHORTEST)
}

/// The first pool in which no node knows anybody, and that is none of `others`.
#[must_use]
pub(crate) fn free<'a>(nodes: impl Iterator<Item = &'a NodeFacts>, others: &[IpNet]) -> Option<IpNet> {
    let known = nodes.flat_map(|facts| known_to(facts).map(|one| one.network));
    let taken: Vec<IpNet> = known.chain(others.iter().copied()).collect();
    let pools = SPACES.iter().flat_map(|(space, length)| space.subnets(*length).into_iter().flatten());
    pools.map(IpNet::V4).find(|pool| !taken.iter().any(|network| overlap(pool, network)))
}

/// Where a network for the tunnels is looked for: what the swarm and the bridges have by default comes last.
const TUNNEL_SPACES: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
];

/// A network of that prefix length that is nobody's, from the end of each space: people count from its beginning.
#[must_use]
pub(crate) fn free_network<'a>(
    length: u8,
    known: impl Iterator<Item = &'a OccupiedNetwork>,
    others: &[IpNet],
) -> Option<Ipv4Net> {
    let taken: Vec<IpNet> = known.map(|one| one.network).chain(others.iter().copied()).collect();
    let of_space = |space: &Ipv4Net| {
        let count = 1_u32 << length.checked_sub(space.prefix_len())?;
        let first = u32::from(space.network());
        let step = 1_u32 << (32 - u32::from(length));
        let networks =
            (0..count).rev().map(|place| Ipv4Net::new_assert((first + place * step).into(), length));
        networks.into_iter().find(|network| !taken.iter().any(|taken| overlap(&IpNet::V4(*network), taken)))
    };
    TUNNEL_SPACES.iter().find_map(of_space)
}

/// What of the pool is somebody's, a finding for each node: before there is a swarm it keeps from founding one, because
/// the pool cannot be changed later.
pub(super) fn findings(config: &Config, all: &ClusterFacts, severity: Severity) -> Vec<Finding> {
    let pool = config.swarm.address_pool.base;
    let bridges: Vec<IpNet> = config.engine.address_pools.iter().map(|pool| pool.base).collect();
    let hint = match (severity, free(all.values(), &bridges)) {
        (Severity::Error, Some(free)) => {
            format!("this pool is free on every node: `swarm: {{address_pool: {{base: {free}, size: 24}}}}`")
        }
        (Severity::Error, None) => {
            "give the swarm a pool that no node knows: `swarm.address_pool`".to_owned()
        }
        (Severity::Warning, _) => {
            "a living swarm keeps its pool; where a task must reach that, give its network a subnet \
                                   that is free (`ipam` in the stack, `docker network create --subnet`)"
                .to_owned()
        }
    };
    let of_node = |node: &NodeConfig| {
        let facts = all.get(&node.name)?;
        let inside = known_to(facts).filter(|one| overlap(&pool, &one.network));
        let inside: Vec<String> = inside.map(ToString::to_string).collect();
        let message = format!(
            "the swarm's address pool {pool} holds {}: tasks whose network gets these addresses do not reach it",
            inside.join(", ")
        );
        (!inside.is_empty()).then(|| Finding::new(severity, "5.2", message, hint.clone()).on(&node.name))
    };
    config.nodes.iter().filter_map(of_node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Occupant;
    use crate::facts::blank::blank;

    fn knowing(networks: &[&str]) -> NodeFacts {
        let mut facts = blank();
        facts.volatile.occupied = networks
            .iter()
            .map(|text| OccupiedNetwork {
                network: text.parse().unwrap(),
                by: Occupant::Interface("eth1".to_owned()),
            })
            .collect();
        facts
    }

    fn first_free(nodes: &[&[&str]], others: &[&str]) -> Option<String> {
        let nodes: Vec<NodeFacts> = nodes.iter().map(|networks| knowing(networks)).collect();
        let others: Vec<IpNet> = others.iter().map(|text| text.parse().unwrap()).collect();
        free(nodes.iter(), &others).map(|pool| pool.to_string())
    }

    #[test]
    fn the_first_pool_is_proposed_that_no_node_and_no_bridge_is_in() {
        assert_eq!(first_free(&[&["203.0.113.0/24"], &[]], &["172.16.0.0/12"]).unwrap(), "10.0.0.0/8");
        assert_eq!(first_free(&[&["10.0.1.0/24"], &["10.64.0.2/32"]], &[]).unwrap(), "10.128.0.0/10");
        let four = ["10.0.1.0/24", "10.65.0.0/16", "10.129.0.0/24", "10.200.0.0/24"];
        assert_eq!(first_free(&[&four], &[]).unwrap(), "10.16.0.0/12");
        assert_eq!(first_free(&[&["10.0.0.0/8"]], &["172.16.0.0/12"]).unwrap(), "192.168.0.0/17");
        assert_eq!(first_free(&[&["0.0.0.0/1", "128.0.0.0/1"]], &[]).unwrap(), "10.0.0.0/8");
        let all = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"];
        assert_eq!(first_free(&[&all], &[]), None);
    }
}
