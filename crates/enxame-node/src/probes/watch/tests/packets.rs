use std::collections::BTreeSet;
use std::net::IpAddr;

use enxame_core::probe::{Counts, Direction, Marker, Watch};
use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, PacketBuilder};

use super::super::count::{Counter, Packet};

const HERE: [u8; 4] = [203, 0, 113, 12];
const PEER: [u8; 4] = [203, 0, 113, 14];
const STRANGER: [u8; 4] = [198, 51, 100, 66];
const MARKER: [u8; 32] = *b"the marker of this run: 32 bytes";

fn here6() -> [u8; 16] {
    "2001:db8::12".parse::<std::net::Ipv6Addr>().unwrap().octets()
}

fn peer6() -> [u8; 16] {
    "2001:db8::14".parse::<std::net::Ipv6Addr>().unwrap().octets()
}

fn counter() -> Counter {
    let peers = BTreeSet::from([IpAddr::from(PEER), IpAddr::from(peer6())]);
    Counter::new(&Watch { peers, data_path_port: 4789, marker: Marker::new(MARKER) })
}

fn packet(direction: Direction, bytes: &[u8]) -> Packet<'_> {
    Packet { direction, is_ip: true, length_bytes: bytes.len(), bytes }
}

fn sent(bytes: &[u8]) -> Counts {
    let mut counter = counter();
    counter.count(&packet(Direction::Sent, bytes));
    let peer = if bytes[0] >> 4 == 4 { IpAddr::from(PEER) } else { IpAddr::from(peer6()) };
    counter.peers[&peer].sent.clone()
}

fn udp(from: [u8; 4], to: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(from, to, 64).udp(50_000, port).write(&mut bytes, payload).unwrap();
    bytes
}

fn vxlan(vni: u32, inner: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = vni.to_be_bytes();
    [&[0x08, 0, 0, 0, high, middle, low, 0], inner].concat()
}

fn ip(from: [u8; 4], to: [u8; 4], protocol: IpNumber, payload: &[u8]) -> Vec<u8> {
    let header = Ipv4Header::new(u16::try_from(payload.len()).unwrap(), 64, protocol, from, to).unwrap();
    [&header.to_bytes(), payload].concat()
}

#[test]
fn a_clear_vxlan_packet_is_counted_by_its_network() {
    let counts = sent(&udp(HERE, PEER, 4789, &vxlan(4097, b"an inner frame")));
    assert_eq!(counts, Counts { clear: [(4097, 1)].into(), ..Counts::default() });
    assert_eq!(sent(&udp(HERE, PEER, 4788, &vxlan(4097, b"an inner frame"))), Counts::default());
    let largest = sent(&udp(HERE, PEER, 4789, &vxlan(0x00ff_ffff, b"")));
    assert_eq!(largest.clear, [(0x00ff_ffff, 1)].into());
}

#[test]
fn a_datagram_without_a_vxlan_header_on_its_port_is_unreadable() {
    for payload in [&b"short"[..], &[0; 8]] {
        let counts = sent(&udp(HERE, PEER, 4789, payload));
        assert_eq!(counts, Counts { unreadable: 1, ..Counts::default() });
    }
    let cut = udp(HERE, PEER, 4789, b"");
    assert_eq!(sent(&cut[..24]), Counts { unreadable: 1, ..Counts::default() });
}

#[test]
fn esp_is_counted_in_ipv4_ipv6_and_udp() {
    let esp = ip(HERE, PEER, IpNumber(50), &[1; 80]);
    assert_eq!(sent(&esp), Counts { esp_packets: 1, esp_bytes: 100, ..Counts::default() });

    let plain = Ipv6Header {
        payload_length: 80,
        next_header: IpNumber(50),
        source: here6(),
        destination: peer6(),
        ..Ipv6Header::default()
    };
    let plain = [plain.to_bytes().as_slice(), &[1; 80]].concat();
    assert_eq!(sent(&plain), Counts { esp_packets: 1, esp_bytes: 120, ..Counts::default() });

    let behind_options = Ipv6Header {
        payload_length: 88,
        next_header: IpNumber(60),
        source: here6(),
        destination: peer6(),
        ..Ipv6Header::default()
    };
    let options = [50, 0, 1, 4, 0, 0, 0, 0];
    let behind_options = [behind_options.to_bytes().as_slice(), &options, &[1; 80]].concat();
    assert_eq!(sent(&behind_options).esp_packets, 1);

    assert_eq!(sent(&udp(HERE, PEER, 4500, &[1; 80])).esp_packets, 1);
    assert_eq!(sent(&udp(HERE, PEER, 4500, &[0; 80])).esp_packets, 0, "that is IKE");
    assert_eq!(sent(&udp(HERE, PEER, 4500, &[0xff])).esp_packets, 0, "that is a keepalive");
}

#[test]
fn the_first_fragment_is_read_and_a_later_one_is_said_to_be_one() {
    let datagram = udp(HERE, PEER, 4789, &vxlan(4097, &[0; 100]));
    let fragment = |offset: u16, more: bool, payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap();
        let mut header = Ipv4Header::new(length, 64, IpNumber::UDP, HERE, PEER).unwrap();
        header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
        header.more_fragments = more;
        header.dont_fragment = false;
        [&header.to_bytes(), payload].concat()
    };
    let first = sent(&fragment(0, true, &datagram[20..68]));
    assert_eq!(first, Counts { clear: [(4097, 1)].into(), first_fragments: 1, ..Counts::default() });
    let later = sent(&fragment(6, false, &datagram[68..]));
    assert_eq!(later, Counts { later_fragments: 1, ..Counts::default() });
}

#[test]
fn a_later_fragment_of_ipv6_is_not_read_as_a_datagram() {
    let header = Ipv6Header {
        payload_length: 8 + 24,
        next_header: IpNumber(44),
        source: here6(),
        destination: peer6(),
        ..Ipv6Header::default()
    };
    let fragment = Ipv6FragmentHeader::new(IpNumber::UDP, IpFragOffset::try_new(5).unwrap(), false, 7);
    // It would read as a clear VXLAN packet if it were taken for the beginning of a datagram.
    let looks_like = &udp(HERE, PEER, 4789, &vxlan(4097, &[0; 8]))[20..];
    let bytes = [header.to_bytes().as_slice(), &fragment.to_bytes(), looks_like].concat();
    assert_eq!(sent(&bytes), Counts { later_fragments: 1, ..Counts::default() });
}

#[test]
fn the_marker_is_found_anywhere_in_any_packet() {
    let inner = [b"...".as_slice(), &MARKER, b"..."].concat();
    assert_eq!(sent(&udp(HERE, PEER, 4789, &vxlan(1, &inner))).marker, 1);
    assert_eq!(sent(&ip(HERE, PEER, IpNumber::TCP, &inner)).marker, 1);
    assert_eq!(sent(&ip(HERE, PEER, IpNumber(50), &inner)).marker, 1);
    assert_eq!(sent(&ip(HERE, PEER, IpNumber::TCP, &inner[..MARKER.len()])).marker, 0);

    let mut counter = counter();
    counter.count(&packet(Direction::Sent, &ip(HERE, STRANGER, IpNumber::TCP, &inner)));
    counter.count(&Packet { is_ip: false, ..packet(Direction::Sent, &inner) });
    assert_eq!(counter.marker_elsewhere, 2);
}

#[test]
fn what_an_esp_packet_holds_is_judged_where_it_leaves() {
    let readable = [b"...".as_slice(), &MARKER, b"..."].concat();
    let mut counter = counter();
    counter.count(&packet(Direction::Received, &ip(PEER, HERE, IpNumber(50), &readable)));
    counter.count(&packet(Direction::Received, &udp(PEER, HERE, 4500, &readable)));
    counter.count(&packet(Direction::Sent, &ip(HERE, PEER, IpNumber(50), &readable)));
    let peer = &counter.peers[&IpAddr::from(PEER)];
    assert_eq!((peer.received.esp_packets, peer.received.marker), (2, 0));
    assert_eq!((peer.sent.esp_packets, peer.sent.marker), (1, 1));
    counter.count(&packet(Direction::Received, &ip(PEER, HERE, IpNumber::TCP, &readable)));
    assert_eq!(counter.peers[&IpAddr::from(PEER)].received.marker, 1);
}

#[test]
fn directions_and_peers_are_told_apart() {
    let mut counter = counter();
    counter.count(&packet(Direction::Received, &udp(PEER, HERE, 4789, &vxlan(7, b""))));
    counter.count(&packet(Direction::Received, &udp(STRANGER, HERE, 4789, &vxlan(8, b""))));
    counter.count(&packet(Direction::Sent, &udp(HERE, STRANGER, 4789, &vxlan(9, b""))));
    let peer = &counter.peers[&IpAddr::from(PEER)];
    assert_eq!(peer.received.clear, [(7, 1)].into());
    assert_eq!(peer.sent, Counts::default());
    assert_eq!(counter.clear_elsewhere, [(IpAddr::from(STRANGER), [(9, 1)].into())].into());
    assert_eq!(counter.packets, 3);
}

#[test]
fn a_packet_that_could_not_be_held_whole_is_said_to_be_cut() {
    let bytes = udp(HERE, PEER, 4789, &vxlan(7, &[0; 100]));
    let mut counter = counter();
    counter.count(&Packet { bytes: &bytes[..60], ..packet(Direction::Sent, &bytes) });
    assert_eq!(counter.truncated, 1);
    assert_eq!(counter.peers[&IpAddr::from(PEER)].sent.clear, [(7, 1)].into());
}
