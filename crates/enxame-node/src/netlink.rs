//! What is asked of the kernel over netlink: its ESP associations, whether it takes one, how a peer is reached, and
//! whether anybody has changed the packet filter. All concern the network namespace of the calling thread.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use enxame_core::facts::LinkFacts;
use enxame_core::probe::Association;
use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_MULTIPART, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_netfilter::nftables::{GenAttribute, GenMessage, NfTablesMessage};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_packet_route::link::{LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_packet_xfrm::constants::XFRM_MODE_TRANSPORT;
use netlink_packet_xfrm::state::{GetDumpMessage, ModifyMessage};
use netlink_packet_xfrm::{AlgAead, Id, XfrmAttrs, XfrmMessage};
use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

/// How long the kernel is given for one answer; it answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// IP protocol number of ESP, RFC 4303.
pub(crate) const ESP: u8 = 50;

/// All ESP associations (`XFRM_MSG_GETSA`).
pub(crate) fn associations() -> io::Result<Vec<Association>> {
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

/// Adds an association between two loopback addresses with AES-GCM as the engine's (moby, overlay/encryption.go): key
/// of 128 bits and salt of 32, checksum of 64.
pub(crate) fn add_trial_association() -> io::Result<()> {
    let loopback = netlink_packet_xfrm::Address::from_ipv4(&Ipv4Addr::LOCALHOST);
    let mut message = ModifyMessage::default();
    let association = &mut message.user_sa_info;
    association.family = u16::try_from(libc::AF_INET).map_err(io::Error::other)?;
    association.mode = XFRM_MODE_TRANSPORT;
    association.saddr = loopback;
    association.id = Id { daddr: loopback, spi: 1, proto: ESP };
    // The length is the field's.
    let mut alg_name = [0; _];
    for (place, byte) in alg_name.iter_mut().zip(b"rfc4106(gcm(aes))") {
        *place = *byte;
    }
    let algorithm = AlgAead { alg_name, alg_key_len: 160, alg_icv_len: 64, alg_key: vec![0; 20] };
    message.nlas.push(XfrmAttrs::EncryptionAlgAead(algorithm));
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), XfrmMessage::AddSa(message).into());
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    ask(libc::NETLINK_XFRM, message, |_| ())
}

/// The interfaces by which the addresses are reached.
pub(crate) fn interfaces_to(peers: &BTreeSet<IpAddr>) -> io::Result<BTreeSet<u32>> {
    peers.iter().map(|peer| Ok(route_to(*peer)?.interface)).collect()
}

/// The kernel's choice of a way to an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The interface's index.
    pub(crate) interface: u32,
    /// The address that packets to it come from.
    pub(crate) source: Option<IpAddr>,
    /// An MTU that somebody has set for the route, in bytes.
    pub(crate) mtu_bytes: Option<u32>,
}

/// How an address is reached (`RTM_GETROUTE`).
pub(crate) fn route_to(peer: IpAddr) -> io::Result<Route> {
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
    let mut found = None;
    ask(libc::NETLINK_ROUTE, message, |answer| {
        if let RouteNetlinkMessage::NewRoute(answer) = answer {
            found = chosen(&answer.attributes);
        }
    })?;
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NetworkUnreachable, format!("no route to {peer}")))
}

/// What routes lead to, but the default ones, and by which interface, in every table. Its own addresses are no
/// such routes.
pub(crate) fn routed_networks() -> io::Result<Vec<(IpNet, u32)>> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut route = RouteMessage::default();
        route.header.address_family = family;
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), RouteNetlinkMessage::GetRoute(route).into());
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        ask(libc::NETLINK_ROUTE, message, |answer| {
            if let RouteNetlinkMessage::NewRoute(answer) = answer
                && answer.header.kind == RouteType::Unicast
            {
                found.extend(destination(&answer));
            }
        })?;
    }
    Ok(found)
}

fn destination(route: &RouteMessage) -> Option<(IpNet, u32)> {
    let (mut at, mut interface) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Destination(RouteAddress::Inet(address)) => at = Some(IpAddr::V4(*address)),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => at = Some(IpAddr::V6(*address)),
            _ => {}
        }
    }
    // The default route names no destination.
    Some((IpNet::new(at?, route.header.destination_prefix_length).ok()?, interface?))
}

fn chosen(attributes: &[RouteAttribute]) -> Option<Route> {
    let mut interface = None;
    let mut source = None;
    let mut mtu_bytes = None;
    let mut is_learned = false;
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => source = Some(IpAddr::V4(*address)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => source = Some(IpAddr::V6(*address)),
            RouteAttribute::Metrics(metrics) => {
                mtu_bytes = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            // An MTU that the kernel learned by itself is forgotten after ten minutes: not a fact about the route.
            RouteAttribute::CacheInfo(cache) => is_learned = cache.expires != 0,
            _ => {}
        }
    }
    Some(Route { interface: interface?, source, mtu_bytes: mtu_bytes.filter(|_| !is_learned) })
}

/// What kind of link an interface is (`RTM_GETLINK`).
pub(crate) fn link(name: &str) -> io::Result<LinkFacts> {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let mut message =
        NetlinkMessage::new(NetlinkHeader::default(), RouteNetlinkMessage::GetLink(link).into());
    message.header.flags = NLM_F_REQUEST;
    let mut found = None;
    ask(libc::NETLINK_ROUTE, message, |answer| {
        if let RouteNetlinkMessage::NewLink(answer) = answer {
            let infos = answer.attributes.iter().filter_map(|attribute| match attribute {
                LinkAttribute::LinkInfo(infos) => Some(infos),
                _ => None,
            });
            let kind = infos.flatten().find_map(|info| match info {
                LinkInfo::Kind(kind) => Some(kind.to_string()),
                _ => None,
            });
            let hardware = answer.header.link_layer_type.into();
            found = Some(LinkFacts { hardware, kind: kind.unwrap_or_default() });
        }
    })?;
    found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel names no link"))
}

/// The generation of `nf_tables`' rules (`NFT_MSG_GETGEN`): another one after every transaction of anybody's.
pub(crate) fn rules_generation() -> io::Result<u32> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let question = NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() });
    let question = NetfilterMessage::new(header, question);
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), question.into());
    message.header.flags = NLM_F_REQUEST;
    let mut found = None;
    ask(libc::NETLINK_NETFILTER, message, |answer: NetfilterMessage| {
        if let NetfilterMessageInner::NfTables(NfTablesMessage::NewGen(answer)) = answer.inner {
            found = answer.attributes.iter().find_map(|attribute| match attribute {
                GenAttribute::Id(generation) => Some(*generation),
                _ => None,
            });
        }
    })?;
    found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel names no generation"))
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

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::RouteCacheInfo;

    use std::path::Path;

    use super::*;
    use crate::testing::namespace::{inside, is_inside, run};

    #[test]
    fn the_loopback_is_reached_by_itself() {
        let route = route_to(Ipv4Addr::LOCALHOST.into()).expect("a route");
        assert_eq!(route.source, Some(Ipv4Addr::LOCALHOST.into()));
        assert!(route.interface > 0);
    }

    #[test]
    fn every_change_of_the_filter_and_nothing_else_makes_a_generation() {
        if !is_inside() {
            return inside("netlink::tests::every_change_of_the_filter_and_nothing_else_makes_a_generation");
        }
        let generation = || rules_generation().unwrap();
        run("nft add table inet t");
        run("nft add chain inet t c { type filter hook output priority 0 ; }");
        let empty = generation();
        run("nft list ruleset");
        assert_eq!(generation(), empty);
        run("nft add rule inet t c counter drop");
        let full = generation();
        assert_ne!(full, empty);
        // It counts, which is no change.
        assert!(std::net::UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"", "127.0.0.1:9").is_err());
        assert_eq!(generation(), full);
        run("nft flush chain inet t c");
        assert!(generation() != full && generation() != empty);
        let flushed = generation();
        // As iptables is of most distributions by now.
        if Path::new("/usr/sbin/iptables-nft").exists() {
            run("iptables-nft -N anybody");
            assert_ne!(generation(), flushed);
        }
    }

    #[test]
    fn the_kernel_says_what_an_interface_is_whatever_it_is_called() {
        if !is_inside() {
            return inside("netlink::tests::the_kernel_says_what_an_interface_is_whatever_it_is_called");
        }
        let facts = |hardware, kind: &str| LinkFacts { hardware, kind: kind.to_owned() };
        assert_eq!(link("lo").unwrap().kind, "");
        run("ip link add office0 type bridge");
        assert_eq!(link("office0").unwrap(), facts(LinkFacts::ETHERNET, "bridge"));
        assert!(link("office1").is_err());
        if Path::new("/dev/net/tun").exists() {
            run("ip tuntap add office1 mode tun");
            run("ip tuntap add office2 mode tap");
            // `ARPHRD_NONE`.
            assert_eq!(link("office1").unwrap(), facts(0xfffe, "tun"));
            assert_eq!(link("office2").unwrap(), facts(LinkFacts::ETHERNET, "tun"));
            run("ip address add 10.8.0.1/24 dev office1");
            run("ip link set office1 up");
            let answers_by = crate::facts::interface_to("10.8.0.2".parse().unwrap());
            assert_eq!(answers_by.as_deref(), Some("office1"));
        }
    }

    #[test]
    fn an_mtu_that_the_kernel_will_forget_is_no_fact_of_the_route() {
        let set = [RouteAttribute::Oif(2), RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)])];
        assert_eq!(chosen(&set).and_then(|route| route.mtu_bytes), Some(1400));
        // `struct rta_cacheinfo` (rtnetlink.h): the third of eight words is when it ends, in hundredths of a second.
        let words = [0, 0, 59_300_u32, 0, 0, 0, 0, 0];
        let learned = RouteCacheInfo::parse(&words.map(u32::to_ne_bytes).concat()).expect("whole");
        let learned = [set.as_slice(), &[RouteAttribute::CacheInfo(learned)]].concat();
        assert_eq!(chosen(&learned), Some(Route { interface: 2, source: None, mtu_bytes: None }));
    }
}
