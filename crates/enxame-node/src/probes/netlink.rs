//! The two questions the probes put to the kernel over netlink: the ESP associations, and the interface a
//! peer is reached by. Both concern the network namespace of the calling thread.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::IpAddr;
use std::time::Duration;

use enxame_core::probe::Association;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_MULTIPART, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_packet_xfrm::XfrmMessage;
use netlink_packet_xfrm::state::GetDumpMessage;
use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

/// How long the kernel is given for one answer; it answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// IP protocol number of ESP, RFC 4303.
pub(super) const ESP: u8 = 50;

/// All ESP associations (`XFRM_MSG_GETSA`).
pub(super) fn associations() -> io::Result<Vec<Association>> {
    let mut message = NetlinkMessage::new(
        NetlinkHeader::default(),
        XfrmMessage::GetDumpSa(GetDumpMessage::default()).into(),
    );
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut found = Vec::new();
    ask(libc::NETLINK_XFRM, message, |answer| {
        if let XfrmMessage::AddSa(answer) = answer
            && answer.user_sa_info.id.proto == ESP
        {
            let of_ipv4 = i32::from(answer.user_sa_info.family) == libc::AF_INET;
            let address = |address: netlink_packet_xfrm::Address| {
                if of_ipv4 { IpAddr::V4(address.to_ipv4()) } else { IpAddr::V6(address.to_ipv6()) }
            };
            found.push(Association {
                source: address(answer.user_sa_info.saddr),
                destination: address(answer.user_sa_info.id.daddr),
                spi: answer.user_sa_info.id.spi,
                packets: answer.user_sa_info.lifetime_cur.packets,
                bytes: answer.user_sa_info.lifetime_cur.bytes,
            });
        }
    })?;
    Ok(found)
}

/// The interfaces by which the addresses are reached.
pub(super) fn interfaces_to(peers: &BTreeSet<IpAddr>) -> io::Result<BTreeSet<u32>> {
    let mut interfaces = BTreeSet::new();
    for peer in peers {
        let interface = interface_to(*peer)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NetworkUnreachable, format!("no route to {peer}"))
        })?;
        interfaces.insert(interface);
    }
    Ok(interfaces)
}

fn interface_to(peer: IpAddr) -> io::Result<Option<u32>> {
    let mut route = RouteMessage::default();
    let destination = match peer {
        IpAddr::V4(peer) => {
            route.header.address_family = AddressFamily::Inet;
            route.header.destination_prefix_length = 32;
            RouteAddress::Inet(peer)
        }
        IpAddr::V6(peer) => {
            route.header.address_family = AddressFamily::Inet6;
            route.header.destination_prefix_length = 128;
            RouteAddress::Inet6(peer)
        }
    };
    route.attributes.push(RouteAttribute::Destination(destination));
    let mut message =
        NetlinkMessage::new(NetlinkHeader::default(), RouteNetlinkMessage::GetRoute(route).into());
    message.header.flags = NLM_F_REQUEST;
    let mut interface = None;
    ask(libc::NETLINK_ROUTE, message, |answer| {
        if let RouteNetlinkMessage::NewRoute(route) = answer {
            interface = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
        }
    })?;
    Ok(interface)
}

/// Sends one question and hands every answer to `each`.
fn ask<T: NetlinkSerializable + NetlinkDeserializable>(
    family: libc::c_int,
    mut question: NetlinkMessage<T>,
    mut each: impl FnMut(T),
) -> io::Result<()> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(family)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    question.finalize();
    let mut bytes = vec![0; question.buffer_len()];
    question.serialize(&mut bytes);
    socket.send(&bytes)?;
    // The kernel fills a dump's datagrams up to 32 KiB (NLMSG_GOODSIZE and `max_recvmsg_len`, af_netlink.c).
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = (&socket).read(&mut buffer)?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<T>::deserialize(rest).map_err(io::Error::other)?;
            let is_last = answer.header.flags & NLM_F_MULTIPART == 0;
            let answer_bytes = usize::try_from(answer.header.length).map_err(io::Error::other)?;
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(message) => each(message),
                _ => {}
            }
            if is_last {
                return Ok(());
            }
            // Messages begin at multiples of four bytes (NLMSG_ALIGN).
            rest = rest.get(answer_bytes.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
