//! Who reaches what: what every place is expected to reach of a node, beside what it did reach.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::areas::firewall::{self, Firewall, Opening, SSH_PORT, Service};
use crate::config::{Config, NodeConfig, SWARM_GOSSIP_PORT, SWARM_MANAGEMENT_PORT};
use crate::facts::{NodeFacts, Observed, SshSession};
use crate::names::NodeName;
use crate::ports::PortSet;
use crate::probe::Scanned;

/// TCP ports beyond the well-known ones (1 to 1023, RFC 6335) that nodes try of each other: what is dangerous where it is
/// open, databases and panels above all.
const WORTH_TRYING: [u16; 32] = [
    1433, 1521, 2049, 2375, 2376, 2377, 3000, 3306, 3389, 4789, 5000, 5432, 5672, 5900, 6379, 6443, 7946,
    8000, 8080, 8081, 8443, 8888, 9000, 9090, 9093, 9100, 9200, 9323, 10250, 11211, 15672, 27017,
];
/// UDP ports that answer strangers where somebody forgot about them: DNS, portmapper, NTP, SNMP, IKE, NFS, swarm, NAT-T.
const UDP_WORTH_TRYING: [u16; 9] = [53, 111, 123, 161, 500, 2049, 2377, 4500, 7946];
/// A UDP port that nobody uses, beyond those that kernels hand out: how the host treats what it knows nothing of.
const UNUSED_UDP: u16 = 65_000;

/// Where somebody looked from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vantage {
    /// Where `enxame` was called.
    Operator,
    /// Another node.
    Peer(NodeName),
}

/// What somebody is expected to reach.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Expected {
    /// The TCP ports that must take connections.
    pub open: PortSet,
    /// The TCP ports that are declared by number: they must not be filtered, whether anything listens or not.
    pub declared: PortSet,
    /// All TCP ports that may answer.
    pub admitted: PortSet,
    /// All UDP ports that may answer.
    pub admitted_udp: PortSet,
}

/// One look at one address of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// From where.
    pub from: Vantage,
    /// At whom.
    pub node: NodeName,
    /// At which of its addresses.
    pub address: IpAddr,
    /// Whom the node takes the one who looks for.
    pub seen_as: Option<IpAddr>,
    /// Why the operator did not look from where it stands, when a peer did instead.
    pub instead: Option<String>,
    /// What should be reached.
    pub expected: Expected,
    /// What was reached.
    pub seen: Observed<Scanned>,
}

impl Expected {
    /// What `from` is expected to reach of a node. `vantage` tells a peer from others at the same address.
    #[must_use]
    pub fn of(
        config: &Config,
        node: &NodeConfig,
        session: Option<SshSession>,
        (vantage, from): (&Vantage, IpAddr),
    ) -> Self {
        let openings = Firewall::of(config).on_node(node, session);
        let admitted: PortSet =
            (1..=u16::MAX).filter(|port| firewall::admits(&openings, from, Service::Tcp(*port))).collect();
        let by_number = |opening: &Opening| match opening.service {
            Service::Tcp(port) if opening.source.contains(from) => Some(port),
            _ => None,
        };
        let declared: PortSet = openings.iter().filter_map(by_number).collect();
        let ssh = session.map_or(config.ssh.port.unwrap_or(SSH_PORT), |session| session.port);
        let mut open: PortSet = [ssh].into_iter().collect::<PortSet>().common(&declared);
        let is_in_the_mesh = config.peers_of(&node.name).any(|peer| peer.address == from);
        if is_in_the_mesh && matches!(vantage, Vantage::Peer(_)) {
            let swarm: PortSet = [SWARM_MANAGEMENT_PORT, SWARM_GOSSIP_PORT].into_iter().collect();
            open = open.and(&swarm.common(&admitted));
        }
        let admitted_udp = udp_ports(config)
            .iter()
            .filter(|port| firewall::admits(&openings, from, Service::Udp(*port)))
            .collect();
        Self { open, declared, admitted, admitted_udp }
    }

    /// The ports that tell a filter from a cut way, the likeliest to answer first.
    #[must_use]
    pub fn controls(&self) -> Vec<u16> {
        self.open.iter().chain(self.declared.without(&self.open).iter()).collect()
    }

    /// What nodes try of each other, so that it takes seconds.
    #[must_use]
    pub fn sample(&self) -> PortSet {
        let worth_trying = (1..1024).chain(WORTH_TRYING).collect::<PortSet>();
        worth_trying.and(&self.declared).and(&self.open)
    }
}

/// The UDP ports that are tried.
#[must_use]
pub fn udp_ports(config: &Config) -> PortSet {
    let mut ports = default_udp_ports();
    ports.insert(config.swarm.data_path_port);
    ports
}

/// The same where no cluster is known.
#[must_use]
pub fn default_udp_ports() -> PortSet {
    UDP_WORTH_TRYING.into_iter().chain([4789, UNUSED_UDP]).collect()
}

/// The addresses at which a node is looked at from outside.
#[must_use]
pub fn addresses_of(node: &NodeConfig, facts: Option<&NodeFacts>) -> BTreeSet<IpAddr> {
    let interfaces = facts.map(|facts| firewall::public_interfaces(node, facts)).unwrap_or_default();
    let carried = interfaces.into_iter().flat_map(|interface| &interface.addresses).copied();
    carried.filter(|address| firewall::is_public(*address)).chain([node.address]).collect()
}
