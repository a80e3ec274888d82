//! The way to each peer: the kernel's choice of source and interface, then echoes over it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::thread;

use enxame_core::facts::{Observed, RouteFacts};
use nix::net::if_::if_indextoname;

use super::{echo, gave_up, interfaces, path_mtu};
use crate::netlink;

/// The ways to the peers.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// The route to each.
    pub(crate) routes: BTreeMap<IpAddr, Observed<RouteFacts>>,
    /// The best round-trip time to each, in microseconds.
    pub(crate) round_trip_us: BTreeMap<IpAddr, Option<u64>>,
}

/// Asks the kernel for every route and sends echoes to all peers at the same time.
pub(crate) fn look(peers: &BTreeSet<IpAddr>) -> Peers {
    thread::scope(|scope| {
        let started: Vec<_> =
            peers.iter().map(|peer| (*peer, scope.spawn(|| measured(*peer, chosen_route(*peer))))).collect();
        let mut found = Peers::default();
        for (peer, thread) in started {
            let (route, round_trip_us) = thread.join().unwrap_or_else(|_| (gave_up(), None));
            found.routes.insert(peer, route);
            found.round_trip_us.insert(peer, round_trip_us);
        }
        found
    })
}

fn measured(peer: IpAddr, chosen: Observed<Chosen>) -> (Observed<RouteFacts>, Option<u64>) {
    let chosen = match chosen {
        Observed::Known(chosen) => chosen,
        Observed::Unknown(why) => return (Observed::Unknown(why), None),
    };
    let interface_mtu = interfaces::mtu_bytes(&chosen.interface);
    let Some(mtu_bytes) = chosen.mtu_bytes.or(interface_mtu) else {
        return (Observed::Unknown(format!("the MTU of {} cannot be read", chosen.interface)), None);
    };
    let (path_mtu_bytes, round_trip) = match echo::EchoSocket::open(peer) {
        Ok(mut socket) => {
            let measured = path_mtu::measure(&mut socket, interface_mtu.unwrap_or(mtu_bytes));
            let path_mtu = match measured.path_mtu_bytes {
                Observed::Unknown(why) => Observed::Unknown(format!("{peer} {why}")),
                known @ Observed::Known(_) => known,
            };
            (path_mtu, measured.round_trip)
        }
        Err(error) => (Observed::Unknown(format!("cannot send echo requests to {peer}: {error}")), None),
    };
    let route = RouteFacts { source: chosen.source, interface: chosen.interface, mtu_bytes, path_mtu_bytes };
    let round_trip_us = round_trip.and_then(|time| u64::try_from(time.as_micros()).ok());
    (Observed::Known(route), round_trip_us)
}

/// What the kernel chose.
struct Chosen {
    source: IpAddr,
    interface: String,
    /// A configured MTU of the route.
    mtu_bytes: Option<u32>,
}

fn chosen_route(peer: IpAddr) -> Observed<Chosen> {
    let route = match netlink::route_to(peer) {
        Ok(route) => route,
        Err(error) => return Observed::Unknown(format!("no route: {error}")),
    };
    let interface = name_of(route.interface);
    match (route.source, interface) {
        (Some(source), Some(interface)) => {
            Observed::Known(Chosen { source, interface, mtu_bytes: route.mtu_bytes })
        }
        _ => Observed::Unknown("no route: the kernel names no source address or interface".to_owned()),
    }
}

/// The interface by which packets to an address leave.
pub(crate) fn interface_to(address: IpAddr) -> Option<String> {
    netlink::route_to(address).ok().and_then(|route| name_of(route.interface))
}

fn name_of(interface: u32) -> Option<String> {
    if_indextoname(interface).ok()?.into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_a_peer_like_another() {
        let Observed::Known(chosen) = chosen_route("127.0.0.1".parse().unwrap()) else { panic!("no route") };
        assert_eq!((chosen.source.to_string().as_str(), chosen.interface.as_str()), ("127.0.0.1", "lo"));
    }

    #[test]
    fn a_peer_without_a_route_says_why() {
        // Addresses that no host has (RFC 6666, discard-only): unreachable, or by a default route that says nothing wrong.
        if let Observed::Unknown(why) = chosen_route("100::1".parse().unwrap()) {
            assert!(why.starts_with("no route: "), "{why}");
        }
    }
}
