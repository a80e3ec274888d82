//! Who is on the laboratory's Internet: the nodes, the operator, the outsider, and their addresses.
//!
//! Owns every name, address and MAC of the laboratory. Everything here is constant and pure.
//! Invariant: an address, a MAC or a port is derived from one number per place, never written twice.

use std::{fmt, str::FromStr};

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

/// The bridge that plays the public Internet, and its IPv4 network (TEST-NET-3, RFC 5737).
pub(crate) const BRIDGE: &str = "internet";
/// The IPv4 network of the outsider, beyond the router (TEST-NET-2, RFC 5737).
pub(crate) const OUTSIDER: &str = "198.51.100.66";
/// The operator's IPv4 address, which is also where the nodes find the package proxy.
pub(crate) const OPERATOR: &str = "203.0.113.1";
/// The nodes' default gateway.
pub(crate) const ROUTER: &str = "203.0.113.254";
/// The nodes' IPv6 default gateway (documentation prefix, RFC 3849).
pub(crate) const ROUTER6: &str = "2001:db8:113::fe";
/// Where the package proxy listens, on [`OPERATOR`] (apt-cacher-ng's usual port).
pub(crate) const PROXY_PORT: u16 = 3142;

/// A network namespace of the laboratory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// The bridge, the nodes' taps and the nodes' emulators.
    Internet,
    /// Where `exec` and `ssh` run.
    Operator,
    /// Between the Internet and the outsider.
    Router,
    /// Where `outside` runs.
    Outsider,
}

impl Namespace {
    /// In the order in which they are made; they are removed in reverse.
    pub(crate) const ALL: [Self; 4] = [Self::Internet, Self::Operator, Self::Router, Self::Outsider];

    /// The name `ip netns` knows it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Internet => "enxame-internet",
            Self::Operator => "enxame-operator",
            Self::Router => "enxame-router",
            Self::Outsider => "enxame-outsider",
        }
    }
}

/// One virtual machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// The name the laboratory, its ssh configuration and its `cluster.yaml` use.
    pub(crate) name: &'static str,
    /// Last part of its addresses, its MAC and its tap's name.
    number: u8,
    /// Grows from node to node, so that "the largest" has an answer.
    pub(crate) memory_mib: u32,
}

/// The three nodes, smallest first.
pub(crate) static NODES: [Node; 3] = [
    Node { name: "kvm2-manager", number: 12, memory_mib: 1024 },
    Node { name: "kvm4-manager", number: 14, memory_mib: 1280 },
    Node { name: "kvm8-core", number: 18, memory_mib: 1792 },
];

impl Node {
    /// The node of that name.
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        NODES.iter().find(|node| node.name == name).ok_or_else(|| {
            anyhow!(
                "there is no node {name:?}\nhint: the nodes are {}",
                NODES.each_ref().map(|node| node.name).join(", ")
            )
        })
    }

    /// What the provider called it: setting the real host name is the product's work.
    pub(crate) fn provider_hostname(&self) -> String {
        format!("vps-{}", self.number)
    }

    /// Public IPv4 address.
    pub(crate) fn address(&self) -> String {
        format!("203.0.113.{}", self.number)
    }

    /// Public IPv6 address.
    pub(crate) fn address6(&self) -> String {
        format!("2001:db8:113::{}", self.number)
    }

    /// MAC address of its only network card.
    pub(crate) fn mac(&self) -> String {
        mac(self.number)
    }

    /// The bridge's port towards it.
    pub(crate) fn tap(&self) -> String {
        format!("tap-{}", self.number)
    }
}

fn mac(number: u8) -> String {
    // 52:54:00 is the locally administered prefix QEMU uses. The last part is hexadecimal here.
    format!("52:54:00:71:00:{number:02x}")
}

/// An end of a connection that `cut` and `delay` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of the three machines.
    Node(&'static Node),
    /// Where `exec` runs.
    Operator,
    /// Everything beyond the router.
    Outsider,
}

impl Place {
    /// The bridge's port towards it.
    pub(crate) fn port(self) -> String {
        match self {
            Self::Node(node) => node.tap(),
            Self::Operator => "operator".to_owned(),
            Self::Outsider => "router".to_owned(),
        }
    }

    /// The last part of its address on the bridge: the outsider's is its router's.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Node(node) => node.number,
            Self::Operator => 1,
            Self::Outsider => 254,
        }
    }

    /// The MAC seen on the bridge.
    pub(crate) fn mac(self) -> String {
        mac(self.number())
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "operator" => Ok(Self::Operator),
            "outsider" => Ok(Self::Outsider),
            _ => Node::named(name)
                .map(Self::Node)
                .map_err(|error| error.context("or `operator`, or `outsider`")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Node(node) => node.name,
            Self::Operator => "operator",
            Self::Outsider => "outsider",
        })
    }
}

impl Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_their_own_text_form() {
        for place in NODES.iter().map(Place::Node).chain([Place::Operator, Place::Outsider]) {
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
    }

    #[test]
    fn an_unknown_node_is_answered_with_those_that_exist() {
        let text = format!("{:#}", Node::named("kvm16").unwrap_err());
        assert!(text.contains("kvm2-manager, kvm4-manager, kvm8-core"), "{text}");
    }

    #[test]
    fn nodes_grow_so_that_the_largest_is_the_last() {
        assert!(NODES.is_sorted_by_key(|node| node.memory_mib));
    }
}
