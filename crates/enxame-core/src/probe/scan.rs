//! Which ports of an address to try, and which of them answered how.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ports::PortSet;

/// What to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// The address.
    pub target: IpAddr,
    /// The TCP ports to connect to.
    pub tcp: PortSet,
    /// The UDP ports to send to.
    pub udp: PortSet,
    /// TCP ports of which one must answer before, while and after the others are tried, the likeliest first: silence
    /// means something only while the way is there. Without any, whatever answers is asked again at the end.
    pub controls: Vec<u16>,
}

/// How the ports answered. The TCP ports that were tried and are in no set were silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned {
    /// The address that the attempts left from, as this host has it.
    pub source: IpAddr,
    /// The TCP ports that were tried.
    pub tried_tcp: PortSet,
    /// Those that took the connection.
    pub open: PortSet,
    /// Those that answered with a reset: not filtered, and nothing listens.
    pub refused: PortSet,
    /// Those that somebody answered for with an ICMP error: filtered, and said so.
    pub rejected: PortSet,
    /// The UDP ports.
    pub udp: BTreeMap<u16, UdpAnswer>,
    /// The TCP port that answered all along; `None` when nothing answered and nothing had to.
    pub control: Option<u16>,
}

impl Scanned {
    /// The TCP ports that did not answer: filtered, silently.
    #[must_use]
    pub fn silent(&self) -> PortSet {
        self.tried_tcp.without(&self.open).without(&self.refused).without(&self.rejected)
    }

    /// The UDP ports that answered so.
    #[must_use]
    pub fn udp_ports(&self, answer: UdpAnswer) -> PortSet {
        self.udp.iter().filter(|(_, seen)| **seen == answer).map(|(port, _)| *port).collect()
    }
}

/// How a UDP port answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UdpAnswer {
    /// With a datagram.
    Answered,
    /// With ICMP port unreachable: the datagram reached a host where nothing listens.
    Unreachable,
    /// With another ICMP error: filtered, and said so.
    Rejected,
    /// Not at all: filtered, or something listens and has nothing to say to strangers.
    Silent,
    /// It was not asked: the host that asks kept every datagram from leaving.
    Unsent,
}
