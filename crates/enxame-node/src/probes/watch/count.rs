//! What a packet is: ESP, clear VXLAN, something with the marker in it, or nothing of interest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use enxame_core::probe::{Counts, Direction, Marker, PeerCounts, Watch};
use etherparse::{IpNumber, Ipv6ExtensionSlice, LaxIpSlice, UdpSlice};
use memchr::memmem::Finder;

/// UDP port of ESP behind address translation, RFC 3948.
const ESP_IN_UDP: u16 = 4500;

/// How many addresses that are no peers are told apart; all further ones are left out.
const STRANGERS: usize = 64;

/// A packet without its link-layer header.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    pub(super) direction: Direction,
    /// Whether the link layer calls it IP.
    pub(super) is_ip: bool,
    /// Its whole length, in bytes.
    pub(super) length_bytes: usize,
    /// As much of it as could be held.
    pub(super) bytes: &'a [u8],
}

/// Counts.
#[derive(Debug)]
pub(super) struct Counter {
    data_path_port: u16,
    marker: Finder<'static>,
    pub(super) packets: u64,
    pub(super) truncated: u64,
    pub(super) peers: BTreeMap<IpAddr, PeerCounts>,
    pub(super) marker_elsewhere: u64,
    pub(super) clear_elsewhere: BTreeMap<IpAddr, BTreeMap<u32, u64>>,
}

impl Counter {
    pub(super) fn new(watch: &Watch) -> Self {
        let peers =
            |peers: &BTreeSet<IpAddr>| peers.iter().map(|peer| (*peer, PeerCounts::default())).collect();
        Self {
            data_path_port: watch.data_path_port,
            marker: finder(&watch.marker),
            packets: 0,
            truncated: 0,
            peers: peers(&watch.peers),
            marker_elsewhere: 0,
            clear_elsewhere: BTreeMap::new(),
        }
    }

    pub(super) fn count(&mut self, packet: &Packet<'_>) {
        self.packets += 1;
        self.truncated += u64::from(packet.length_bytes > packet.bytes.len());
        let has_marker = self.marker.find(packet.bytes).is_some();
        let ip = packet.is_ip.then(|| LaxIpSlice::from_slice(packet.bytes).ok()).flatten();
        let Some((ip, _)) = ip else {
            self.marker_elsewhere += u64::from(has_marker);
            return;
        };
        let seen = Contents::of(&ip, self.data_path_port);
        let other_end = match packet.direction {
            Direction::Sent => ip.destination_addr(),
            Direction::Received => ip.source_addr(),
        };
        if let Some(peer) = self.peers.get_mut(&other_end) {
            let counts = match packet.direction {
                Direction::Sent => &mut peer.sent,
                Direction::Received => &mut peer.received,
            };
            counts.marker += u64::from(has_marker && !seen.may_be_decrypted(packet.direction));
            seen.add_to(counts, packet.length_bytes);
            return;
        }
        self.marker_elsewhere += u64::from(has_marker);
        // What strangers send here is theirs; what leaves towards them is ours.
        if let (Some(vni), Direction::Sent) = (seen.clear_vni, packet.direction)
            && (self.clear_elsewhere.len() < STRANGERS || self.clear_elsewhere.contains_key(&other_end))
        {
            *self.clear_elsewhere.entry(other_end).or_default().entry(vni).or_default() += 1;
        }
    }
}

fn finder(marker: &Marker) -> Finder<'static> {
    Finder::new(marker.bytes()).into_owned()
}

/// What an IP packet is.
#[derive(Debug, Default)]
struct Contents {
    is_esp: bool,
    clear_vni: Option<u32>,
    is_unreadable: bool,
    fragment: Option<Fragment>,
}

/// Which part of a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragment {
    First,
    Later,
}

impl Contents {
    fn of(ip: &LaxIpSlice<'_>, data_path_port: u16) -> Self {
        let payload = ip.payload();
        let (offset, has_more) = fragment(ip);
        let mut seen = Self { is_esp: payload.ip_number == IpNumber(crate::netlink::ESP), ..Self::default() };
        if payload.ip_number != IpNumber::UDP {
            return seen;
        }
        if offset > 0 {
            seen.fragment = Some(Fragment::Later);
            return seen;
        }
        seen.fragment = has_more.then_some(Fragment::First);
        let Ok(udp) = UdpSlice::from_slice_lax(payload.payload) else {
            seen.is_unreadable = true;
            return seen;
        };
        if udp.destination_port() == data_path_port {
            seen.clear_vni = vxlan_network(udp.payload());
            seen.is_unreadable = seen.clear_vni.is_none();
        } else if udp.destination_port() == ESP_IN_UDP || udp.source_port() == ESP_IN_UDP {
            // Four zero bytes are IKE, one byte is a keepalive: RFC 3948, section 2.
            seen.is_esp =
                udp.payload().first_chunk::<8>().is_some_and(|head| head.first_chunk() != Some(&[0; 4]));
        }
        seen
    }

    /// Whether its content may no longer be what was on the wire. The kernel decrypts an ESP packet in place where it
    /// can, in pages that it shares with the copy that waits here (`esp_input` after `pskb_expand_head`, which leaves
    /// the fragments shared): what is read of one that arrived may be what was decrypted meanwhile. One that leaves is
    /// encrypted before anybody sees it and never touched again, so the sender's watch tells what was readable.
    fn may_be_decrypted(&self, direction: Direction) -> bool {
        self.is_esp && direction == Direction::Received
    }

    fn add_to(&self, counts: &mut Counts, length_bytes: usize) {
        counts.esp_packets += u64::from(self.is_esp);
        if self.is_esp {
            counts.esp_bytes += u64::try_from(length_bytes).unwrap_or(u64::MAX);
        }
        if let Some(vni) = self.clear_vni {
            *counts.clear.entry(vni).or_default() += 1;
        }
        counts.unreadable += u64::from(self.is_unreadable);
        counts.first_fragments += u64::from(self.fragment == Some(Fragment::First));
        counts.later_fragments += u64::from(self.fragment == Some(Fragment::Later));
    }
}

/// The fragment's offset (in units of eight bytes) and whether more follow.
fn fragment(ip: &LaxIpSlice<'_>) -> (u16, bool) {
    match ip {
        LaxIpSlice::Ipv4(ip) => (ip.header().fragments_offset().value(), ip.header().more_fragments()),
        LaxIpSlice::Ipv6(ip) => ip
            .extensions()
            .clone()
            .into_iter()
            .find_map(|extension| match extension {
                Ipv6ExtensionSlice::Fragment(fragment) => {
                    Some((fragment.fragment_offset().value(), fragment.more_fragments()))
                }
                _ => None,
            })
            .unwrap_or_default(),
    }
}

/// The network identifier of a VXLAN header: flags with the I bit, three reserved bytes, 24 bits of identifier,
/// one reserved byte (RFC 7348, section 5).
fn vxlan_network(payload: &[u8]) -> Option<u32> {
    let [flags, _, _, _, high, middle, low, _] = *payload.first_chunk::<8>()?;
    (flags & 0x08 != 0).then(|| u32::from_be_bytes([0, high, middle, low]))
}
