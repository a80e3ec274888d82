//! Who may reach what: one list of openings, from the configuration alone, that every layer of the firewall is made of.
//!
//! Pure. Invariant: what is not in the list is closed.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::config::{Config, Role, SWARM_GOSSIP_PORT, SWARM_MANAGEMENT_PORT};

/// The only port of `NFSv4` (RFC 8881, 2.9).
const NFS_PORT: u16 = 2049;
/// Where sshd listens unless told otherwise.
const SSH_PORT: u16 = 22;

/// A protocol above IP, with the port where it has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// TCP to a port.
    Tcp(u16),
    /// UDP to a port.
    Udp(u16),
    /// Encapsulating Security Payload, IP protocol 50 (RFC 4303).
    Esp,
    /// ICMP, without which no path MTU is found (RFC 1191).
    Icmp,
    /// `ICMPv6`, without which IPv6 does not work at all (RFC 4890).
    Icmpv6,
}

impl Service {
    /// The protocol's name, as firewalls write it.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Tcp(_) => "TCP",
            Self::Udp(_) => "UDP",
            Self::Esp => "ESP",
            Self::Icmp => "ICMP",
            Self::Icmpv6 => "ICMPv6",
        }
    }

    /// The port, where the protocol has ports.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Tcp(port) | Self::Udp(port) => Some(port),
            Self::Esp | Self::Icmp | Self::Icmpv6 => None,
        }
    }
}

/// Who may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Everybody.
    Anywhere,
    /// These networks; a single address is one of a single address.
    Networks(BTreeSet<IpNet>),
}

impl Source {
    fn addresses(addresses: impl Iterator<Item = IpAddr>) -> Self {
        Self::Networks(addresses.map(IpNet::from).collect())
    }

    /// The networks as they are written, a single address without its prefix length; `any` for everybody.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Anywhere => vec!["any".to_owned()],
            Self::Networks(networks) => networks.iter().map(text_of).collect(),
        }
    }
}

fn text_of(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.texts().join(", "))
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.texts().serialize(serializer)
    }
}

/// One thing that is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What.
    pub service: Service,
    /// From whom.
    pub source: Source,
    /// Why, for people.
    pub purpose: &'static str,
}

/// What the provider's edge lets in to every node (manual 3.1, corrected). The whole mesh is here because one firewall of
/// the provider's serves all nodes.
///
/// Clear VXLAN is not in it, unless a network is declared plaintext: what is encrypted arrives as ESP.
#[must_use]
pub fn at_the_edge(config: &Config) -> Vec<Opening> {
    let nodes = || Source::addresses(config.nodes.iter().map(|node| node.address));
    let mut openings = vec![Opening {
        service: Service::Tcp(config.ssh.port.unwrap_or(SSH_PORT)),
        source: Source::Networks(config.ssh.allow_from.clone()),
        purpose: "administration by SSH",
    }];
    openings.extend(config.firewall.public_ports.iter().map(|port| Opening {
        service: Service::Tcp(*port),
        source: Source::Anywhere,
        purpose: "public services",
    }));
    let mut mesh = |service, purpose| openings.push(Opening { service, source: nodes(), purpose });
    mesh(Service::Tcp(SWARM_MANAGEMENT_PORT), "swarm management");
    mesh(Service::Tcp(SWARM_GOSSIP_PORT), "gossip between nodes");
    mesh(Service::Udp(SWARM_GOSSIP_PORT), "gossip between nodes");
    mesh(Service::Esp, "encrypted overlay networks");
    if config.networks.plaintext.is_some() {
        mesh(Service::Udp(config.swarm.data_path_port), "the overlay network declared plaintext");
    }
    if config.nodes.iter().any(|node| node.roles.contains(&Role::Storage)) {
        mesh(Service::Tcp(NFS_PORT), "shared files");
    }
    for service in [Service::Icmp, Service::Icmpv6] {
        openings.push(Opening { service, source: Source::Anywhere, purpose: "path MTU, echo" });
    }
    openings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openings(more: &str) -> Vec<String> {
        let text = format!(
            "version: 1\ncluster: lab\nssh:\n  allow_from: [198.51.100.7, 2001:db8:5::/48]\n{more}\nnodes:\n\
             \x20 - name: kvm2\n    address: 203.0.113.12\n  - name: kvm8\n    address: 203.0.113.18\n    roles: [storage]\n"
        );
        let config = Config::parse("cluster.yaml", &text).unwrap();
        let line = |opening: &Opening| {
            let port = opening.service.port().map(|port| format!("/{port}")).unwrap_or_default();
            format!("{}{port} from {}", opening.service.protocol(), opening.source)
        };
        at_the_edge(&config).iter().map(line).collect()
    }

    #[test]
    fn only_what_the_manual_names_is_let_in_and_no_clear_vxlan() {
        assert_eq!(
            openings(""),
            [
                "TCP/22 from 198.51.100.7, 2001:db8:5::/48",
                "TCP/80 from any",
                "TCP/443 from any",
                "TCP/2377 from 203.0.113.12, 203.0.113.18",
                "TCP/7946 from 203.0.113.12, 203.0.113.18",
                "UDP/7946 from 203.0.113.12, 203.0.113.18",
                "ESP from 203.0.113.12, 203.0.113.18",
                "TCP/2049 from 203.0.113.12, 203.0.113.18",
                "ICMP from any",
                "ICMPv6 from any",
            ]
        );
    }

    #[test]
    fn a_network_declared_plaintext_needs_its_vxlan_and_ports_of_ones_own_replace_the_default() {
        let openings = openings(
            "networks: {plaintext: open-net}\nswarm: {data_path_port: 4800}\nfirewall: {public_ports: [8443]}",
        );
        assert!(openings.contains(&"UDP/4800 from 203.0.113.12, 203.0.113.18".to_owned()), "{openings:#?}");
        assert!(openings.contains(&"TCP/8443 from any".to_owned()));
        assert!(!openings.iter().any(|opening| opening.starts_with("TCP/80 ")));
    }
}
