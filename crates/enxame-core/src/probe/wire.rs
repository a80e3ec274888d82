//! What was seen on the wire.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::facts::Observed;

/// Which way a packet went, seen from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To a peer.
    Sent,
    /// From a peer.
    Received,
}

/// What one node saw on its interfaces towards the peers since its watch started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The interfaces that were watched.
    pub interfaces: Vec<String>,
    /// Packets seen in all.
    pub packets: u64,
    /// Packets the kernel could not hand over (`PACKET_STATISTICS`): with any, nothing was seen completely.
    pub kernel_drops: u64,
    /// Packets longer than what the watch could hold: their ends were not searched.
    pub truncated: u64,
    /// Whether packets that had come were not yet counted.
    pub is_behind: bool,
    /// Whether the kernel decrypts ESP before anybody can watch it arrive (`esp4_offload`, `esp6_offload`): what
    /// this node saw coming in says nothing about the wire then.
    pub decrypts_before_watching: bool,
    /// What was exchanged with each peer.
    pub peers: BTreeMap<IpAddr, PeerCounts>,
    /// Packets with the marker that were neither from nor to a peer.
    pub marker_elsewhere: u64,
    /// Clear VXLAN packets that left towards addresses that are no peers, by address and VNI.
    pub clear_elsewhere: BTreeMap<IpAddr, BTreeMap<u32, u64>>,
    /// The ESP associations of the node's own network namespace.
    pub associations: Observed<Vec<Association>>,
}

/// What was exchanged with one peer.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PeerCounts {
    /// To the peer.
    pub sent: Counts,
    /// From the peer.
    pub received: Counts,
}

/// What went in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// ESP packets (IP protocol 50, or in UDP port 4500).
    pub esp_packets: u64,
    /// Their length with the IP header, in bytes.
    pub esp_bytes: u64,
    /// Clear VXLAN packets on the data-path port, by VXLAN network identifier.
    pub clear: BTreeMap<u32, u64>,
    /// Packets in which the marker was visible. ESP packets that arrived are left out, since the kernel may decrypt
    /// them before they are read; where they left they are counted.
    pub marker: u64,
    /// Packets on the data-path port without a readable VXLAN header.
    pub unreadable: u64,
    /// First fragments of UDP datagrams: they have the ports and are counted above as well.
    pub first_fragments: u64,
    /// Later fragments of UDP datagrams: nobody can tell their port.
    pub later_fragments: u64,
}

/// An ESP association (`XFRM_MSG_GETSA`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// Where its packets come from.
    pub source: IpAddr,
    /// Where they go.
    pub destination: IpAddr,
    /// Its security parameter index.
    pub spi: u32,
    /// Packets that went through it.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}
