//! From where something is let in: everybody, networks, or the cluster's nodes. Read as it is written, since actions
//! carry it as text.
//!
//! Pure. Invariant: a source without a member lets in nobody.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::config::{Config, NodeConfig};

/// How everybody is written.
const EVERYBODY: &str = "any";

/// Who may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Everybody.
    Anywhere,
    /// These networks; a single address is one of a single address.
    Networks(BTreeSet<IpNet>),
    /// The cluster's nodes.
    Nodes(Nodes),
}

/// The cluster's nodes, or all of them but one. A thousand nodes share one list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nodes {
    /// In ascending order, as addresses and as text.
    all: Arc<[(IpAddr, String)]>,
    but: Option<IpAddr>,
}

impl Nodes {
    /// All of them.
    pub(super) fn of(config: &Config) -> Self {
        let text = |node: &NodeConfig| (node.address, node.address.to_string());
        let mut all: Vec<_> = config.nodes.iter().map(text).collect();
        all.sort();
        Self { all: all.into(), but: None }
    }

    /// All but the one at that address.
    pub(super) fn but(&self, address: IpAddr) -> Self {
        Self { all: Arc::clone(&self.all), but: Some(address) }
    }

    /// Their addresses, and the same as text.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        let place =
            self.but.and_then(|but| self.all.binary_search_by_key(&but, |(address, _)| *address).ok());
        let (before, rest) = self.all.split_at(place.unwrap_or_default());
        let behind = rest.get(place.iter().len()..).unwrap_or_default();
        before.iter().chain(behind).map(|(address, text)| (*address, text.as_str()))
    }
}

impl Source {
    /// These networks; none means everybody, as in `cluster.yaml`.
    pub(super) fn of(networks: &BTreeSet<IpNet>) -> Self {
        if networks.is_empty() { Self::Anywhere } else { Self::Networks(networks.clone()) }
    }

    /// Whether it is nobody at all.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        match self {
            Self::Anywhere => false,
            Self::Networks(networks) => networks.is_empty(),
            Self::Nodes(nodes) => nodes.iter().next().is_none(),
        }
    }

    /// Whether that address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Networks(networks) => networks.iter().any(|network| network.contains(&address)),
            Self::Nodes(nodes) => nodes.iter().any(|(node, _)| node == address),
        }
    }

    /// The networks; `None` for everybody.
    #[must_use]
    pub fn networks(&self) -> Option<Vec<IpNet>> {
        match self {
            Self::Anywhere => None,
            Self::Networks(networks) => Some(networks.iter().copied().collect()),
            Self::Nodes(nodes) => Some(nodes.iter().map(|(address, _)| IpNet::from(address)).collect()),
        }
    }

    /// The networks as they are written, a single address without its prefix length; `any` for everybody.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Anywhere => vec![EVERYBODY.to_owned()],
            Self::Networks(networks) => networks.iter().map(text_of).collect(),
            Self::Nodes(nodes) => nodes.iter().map(|(_, text)| text.to_owned()).collect(),
        }
    }
}

/// A network as it is written, a single address without its prefix length.
pub(super) fn text_of(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(nodes) => {
                formatter.write_str(&nodes.iter().map(|(_, text)| text).collect::<Vec<_>>().join(", "))
            }
            Self::Anywhere | Self::Networks(_) => formatter.write_str(&self.texts().join(", ")),
        }
    }
}

/// A word that is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a network")]
pub struct NoNetwork(String);

impl FromStr for Source {
    type Err = NoNetwork;

    /// What [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        if text == EVERYBODY {
            return Ok(Self::Anywhere);
        }
        let network = |text: &str| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse().or_else(|_| address()).map_err(|_| NoNetwork(text.to_owned()))
        };
        text.split(", ")
            .filter(|text| !text.is_empty())
            .map(network)
            .collect::<Result<_, _>>()
            .map(Self::Networks)
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.texts().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written() {
        for text in ["any", "", "192.0.2.1, 198.51.100.0/24", "2001:db8::1, 2001:db8:5::/48"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        assert_eq!("any".parse(), Ok(Source::Anywhere));
        assert!("".parse::<Source>().unwrap().is_nobody());
        assert_eq!("192.0.2.1, x".parse::<Source>(), Err(NoNetwork("x".to_owned())));
    }

    #[test]
    fn the_nodes_are_all_but_the_one_that_is_left_out() {
        let text = "version: 1\ncluster: lab\nnodes:\n  - {name: b, address: 203.0.113.18}\n\
                    \x20 - {name: a, address: 203.0.113.12}\n  - {name: c, address: 203.0.113.14}\n";
        let config = Config::parse("cluster.yaml", text).unwrap();
        let nodes = Nodes::of(&config);
        let but = |address: &str| Source::Nodes(nodes.but(address.parse().unwrap())).to_string();
        assert_eq!(Source::Nodes(nodes.clone()).to_string(), "203.0.113.12, 203.0.113.14, 203.0.113.18");
        assert_eq!(but("203.0.113.12"), "203.0.113.14, 203.0.113.18");
        assert_eq!(but("203.0.113.14"), "203.0.113.12, 203.0.113.18");
        assert_eq!(but("203.0.113.18"), "203.0.113.12, 203.0.113.14");
        assert_eq!(but("192.0.2.1"), "203.0.113.12, 203.0.113.14, 203.0.113.18");
    }
}
