//! The way to each peer: the kernel's choice of source and interface, then echoes over it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use enxame_core::facts::{Observed, RouteFacts};
use serde::Deserialize;

use super::{echo, gave_up, interfaces, path_mtu};
use crate::host::{Command, Host};

/// The ways to the peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// The route to each.
    pub(super) routes: BTreeMap<IpAddr, Observed<RouteFacts>>,
    /// The best round-trip time to each, in microseconds.
    pub(super) round_trip_us: BTreeMap<IpAddr, Option<u64>>,
}

/// Asks the kernel for all routes with one process, then sends echoes to all peers at the same time.
pub(super) fn look(host: &dyn Host, peers: &BTreeSet<IpAddr>) -> Peers {
    if peers.is_empty() {
        return Peers::default();
    }
    let chosen = chosen_routes(host, peers);
    thread::scope(|scope| {
        let started: Vec<_> = chosen
            .into_iter()
            .map(|(peer, route)| (peer, scope.spawn(move || measured(peer, route))))
            .collect();
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
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    source: IpAddr,
    interface: String,
    /// A configured MTU of the route.
    mtu_bytes: Option<u32>,
}

fn chosen_routes(host: &dyn Host, peers: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, Observed<Chosen>> {
    let batch =
        peers.iter().fold(String::new(), |batch, peer| batch + "route get " + &peer.to_string() + "\n");
    let command =
        Command::new(["ip", "-j", "-force", "-batch", "-"]).reading(batch).within(Duration::from_secs(5));
    match host.run(&command) {
        Ok(finished) => {
            let routes = routes(&finished.stdout);
            let refusals = refusals(&finished.stderr);
            let answer = |(line, peer): (usize, &IpAddr)| {
                let refusal = || refusals.get(&(line + 1)).copied().unwrap_or("ip(8) said nothing of it");
                let answer = routes.get(peer).and_then(chosen);
                (
                    *peer,
                    answer.map_or_else(
                        || Observed::Unknown(format!("no route: {}", refusal())),
                        Observed::Known,
                    ),
                )
            };
            peers.iter().enumerate().map(answer).collect()
        }
        Err(error) => peers.iter().map(|peer| (*peer, Observed::Unknown(error.to_string()))).collect(),
    }
}

/// A route as `ip -j route get` prints it (iproute2, ip/iproute.c).
#[derive(Debug, Deserialize)]
struct Route {
    dst: IpAddr,
    dev: Option<String>,
    prefsrc: Option<IpAddr>,
    #[serde(default)]
    metrics: Vec<Metrics>,
    /// Seconds until the kernel forgets a route, e.g. one with an MTU that it learned.
    expires: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct Metrics {
    mtu: Option<u32>,
}

/// One array per line that was answered; arrays of routes that cannot be read are passed over.
fn routes(stdout: &str) -> BTreeMap<IpAddr, Route> {
    serde_json::Deserializer::from_str(stdout)
        .into_iter::<Vec<serde_json::Value>>()
        .map_while(Result::ok)
        .flatten()
        .filter_map(|value| serde_json::from_value::<Route>(value).ok())
        .map(|route| (route.dst, route))
        .collect()
}

fn chosen(route: &Route) -> Option<Chosen> {
    // An MTU that the kernel learned by itself is forgotten after ten minutes: not a fact about the route, and the
    // echoes find it anyway.
    let configured = route.metrics.iter().find_map(|metrics| metrics.mtu).filter(|_| route.expires.is_none());
    Some(Chosen { source: route.prefsrc?, interface: route.dev.clone()?, mtu_bytes: configured })
}

/// Why a line of the batch was refused, by the line's number: the message comes before `Command failed -:N`.
fn refusals(stderr: &str) -> BTreeMap<usize, &str> {
    let mut refusals = BTreeMap::new();
    let mut message = "";
    for line in stderr.lines() {
        match line.strip_prefix("Command failed -:").map(|number| number.trim().parse()) {
            Some(Ok(number)) => drop(refusals.insert(number, message)),
            Some(Err(_)) => {}
            None => message = line.strip_prefix("RTNETLINK answers: ").unwrap_or(line),
        }
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{FakeHost, Finished};

    // As iproute2 6.1 prints it.
    const ANSWERS: &str = "[{\"dst\":\"203.0.113.14\",\"dev\":\"ens3\",\"prefsrc\":\"203.0.113.12\",\"flags\":[],\"uid\":0,\
        \"cache\":[]}]\n[{\"dst\":\"203.0.113.18\",\"gateway\":\"203.0.113.1\",\"dev\":\"ens4\",\"prefsrc\":\"203.0.113.13\",\
        \"flags\":[],\"uid\":0,\"cache\":[],\"metrics\":[{\"mtu\":1400}]}]\n\
        [{\"dst\":\"2001:db8::1\",\"from\":\"::\",\"gateway\":\"fd00::1\",\"dev\":\"eth0\",\"prefsrc\":\"fd00::2\",\
        \"metric\":1024,\"expires\":593,\"metrics\":[{\"mtu\":1300}],\"flags\":[],\"pref\":\"medium\"}]\n";
    const REFUSALS: &str = "RTNETLINK answers: Network is unreachable\nCommand failed -:1\n";

    fn ask(peers: &[&str], stdout: &str, stderr: &str) -> BTreeMap<IpAddr, Observed<Chosen>> {
        let finished = Finished { code: Some(0), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        let host = FakeHost::default().answering("ip -j -force -batch -", finished);
        chosen_routes(&host, &peers.iter().map(|peer| peer.parse().unwrap()).collect())
    }

    fn known(source: &str, interface: &str, mtu_bytes: Option<u32>) -> Observed<Chosen> {
        Observed::Known(Chosen {
            source: source.parse().unwrap(),
            interface: interface.to_owned(),
            mtu_bytes,
        })
    }

    #[test]
    fn the_kernels_choice_is_read_for_every_peer() {
        let chosen = ask(&["203.0.113.14", "203.0.113.18"], ANSWERS, "");
        let chosen: Vec<_> = chosen.into_values().collect();
        assert_eq!(chosen, [known("203.0.113.12", "ens3", None), known("203.0.113.13", "ens4", Some(1400))]);
    }

    #[test]
    fn an_mtu_that_the_kernel_will_forget_is_no_fact_of_the_route() {
        let chosen: Vec<_> = ask(&["2001:db8::1"], ANSWERS, "").into_values().collect();
        assert_eq!(chosen, [known("fd00::2", "eth0", None)]);
    }

    #[test]
    fn a_peer_without_a_route_says_why_and_leaves_the_others_alone() {
        let chosen: Vec<_> =
            ask(&["198.51.100.1", "203.0.113.14"], ANSWERS, REFUSALS).into_values().collect();
        let why = Observed::Unknown("no route: Network is unreachable".to_owned());
        assert_eq!(chosen, [why, known("203.0.113.12", "ens3", None)]);
    }

    #[test]
    fn without_the_program_every_route_is_unknown() {
        let chosen = chosen_routes(&FakeHost::default(), &["192.0.2.1".parse().unwrap()].into());
        assert!(
            matches!(chosen.values().next(), Some(Observed::Unknown(why)) if why.contains("cannot run `ip"))
        );
    }
}
