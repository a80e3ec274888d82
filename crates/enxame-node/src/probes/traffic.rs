//! The load: exchanges with every peer's task on one network, and through the routing mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use enxame_core::probe::{
    Exchange, Exchanged, Marker, MeshOutcome, MeshTraffic, PeerOutcome, RESPONDER_PORT, Traffic,
    TrafficOutcome,
};

use super::exchange::{Connection, Deadline, ExchangeOutcome, connect, exchange, is_over};
use super::names::{RESOLVER, resolve};
use crate::cancel::Cancel;

/// How long one try to connect may take; on a network that is still being set up a later try gets through.
const CONNECT: Duration = Duration::from_secs(3);

/// How long to wait before the next try.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a datagram may take to come back.
const ECHO: Duration = Duration::from_secs(1);

/// Payload of a datagram: fits into the smallest MTU an encrypted overlay is given (1372 less 28), in bytes.
const DATAGRAM_BYTES: usize = 1200;

/// After so many failed requests in a row the mesh is not asked again.
const GIVE_UP_AFTER: u32 = 3;

/// Talks to every peer, in the calling thread's network namespace. Of what is cancelled the rest counts as failed.
pub(super) fn traffic(traffic: &Traffic, cancel: &Cancel) -> TrafficOutcome {
    let name = format!("tasks.{}.{}", traffic.service, traffic.network.name);
    let deadline = Deadline::unless(cancel, Duration::from_secs(traffic.exchange.wait_seconds));
    let resolved = resolve_until(&name, &traffic.expected, &deadline)
        .map_err(|error| format!("`{name}` could not be asked for: {error}"));
    let mut peers = BTreeMap::new();
    for address in traffic.peers.keys() {
        let at = SocketAddr::new(*address, RESPONDER_PORT);
        let tcp = talk(at, &traffic.exchange, cancel)
            .map_err(|error| format!("the exchange over TCP with {at} failed: {error}"));
        let udp_echoes = (0..traffic.datagrams)
            .map(|number| u32::from(echoes(at, (&traffic.exchange.marker, number), cancel).unwrap_or(false)))
            .sum();
        peers.insert(*address, PeerOutcome { tcp, udp_echoes, udp_sent: traffic.datagrams });
    }
    TrafficOutcome { resolved, peers }
}

/// Asks until the answer is the expected one: new tasks reach every node's resolver by gossip, a little later.
fn resolve_until(
    name: &str,
    expected: &BTreeSet<IpAddr>,
    deadline: &Deadline,
) -> io::Result<BTreeSet<IpAddr>> {
    loop {
        let answer = resolve(RESOLVER, name, deadline);
        let is_expected = answer.as_ref().is_ok_and(|answer| answer == expected);
        if is_expected || deadline.left().map_or(true, |left| left < PAUSE) {
            return answer;
        }
        deadline.sleep(PAUSE);
    }
}

fn talk(at: SocketAddr, what: &Exchange, cancel: &Cancel) -> io::Result<Exchanged> {
    let started = Instant::now();
    let answer = one_exchange(at, what, cancel)?;
    Ok(Exchanged {
        answered_by: answer.answered_by,
        sent_bytes: answer.sent_bytes,
        received_bytes: answer.received_bytes,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Connects, again and again if need be, and exchanges once.
fn one_exchange(at: SocketAddr, what: &Exchange, cancel: &Cancel) -> io::Result<ExchangeOutcome> {
    let deadline = Deadline::unless(cancel, Duration::from_secs(what.wait_seconds));
    let stream = loop {
        match connect(at, &deadline.or_after(CONNECT)) {
            Ok(stream) => break stream,
            Err(error) if deadline.left().map_or(true, |left| left < PAUSE) => return Err(error),
            Err(_) => deadline.sleep(PAUSE),
        }
    };
    exchange(&mut Connection { stream, deadline }, &what.marker, what.payload_bytes)
}

/// Whether a datagram comes back as it went.
fn echoes(at: SocketAddr, (marker, number): (&Marker, u32), cancel: &Cancel) -> io::Result<bool> {
    let any: IpAddr = match at {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0; 16].into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(at)?;
    let datagram = marker.payload(number.into(), DATAGRAM_BYTES);
    socket.send(&datagram)?;
    let deadline = Deadline::unless(cancel, ECHO);
    let mut buffer = vec![0; 2 * DATAGRAM_BYTES];
    let length = loop {
        socket.set_read_timeout(Some(deadline.tick()?))?;
        match socket.recv(&mut buffer) {
            Err(error) if is_over(&error) => {}
            outcome => break outcome?,
        }
    };
    Ok(buffer.get(..length) == Some(&datagram))
}

/// Talks to the published port on the node's own address, in the calling thread's network namespace.
pub(super) fn mesh(mesh: &MeshTraffic, cancel: &Cancel) -> MeshOutcome {
    let at = SocketAddr::new(mesh.address, mesh.port);
    let mut outcome = MeshOutcome { answered: BTreeMap::new(), failed: 0, last_error: None };
    let mut failed_in_a_row = 0;
    let mut requests = 0;
    // A new task is known to every node's IPVS a moment later only.
    let patience = Deadline::unless(cancel, Duration::from_secs(mesh.exchange.wait_seconds));
    loop {
        let all_answered = mesh.nodes.iter().all(|node| outcome.answered.contains_key(node));
        if requests >= mesh.requests {
            if all_answered || patience.left().is_err() {
                break;
            }
            patience.sleep(PAUSE);
        }
        requests += 1;
        match one_exchange(at, &mesh.exchange, cancel) {
            Ok(answer) => {
                failed_in_a_row = 0;
                let answers = outcome.answered.entry(answer.answered_by).or_default();
                answers.requests += 1;
                answers.sent_bytes += answer.sent_bytes;
                answers.received_bytes += answer.received_bytes;
            }
            Err(error) => {
                failed_in_a_row += 1;
                outcome.failed += 1;
                outcome.last_error = Some(format!("a request to {at} failed: {error}"));
            }
        }
        if failed_in_a_row == GIVE_UP_AFTER {
            break;
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::super::responder::serve_on_loopback;
    use super::*;

    const MARKER: [u8; 32] = *b"0123456789abcdef0123456789ABCDEF";

    fn what(marker: [u8; 32]) -> Exchange {
        Exchange { marker: Marker::new(marker), payload_bytes: 400_000, wait_seconds: 10 }
    }

    #[test]
    fn an_exchange_says_who_answered_and_how_much_went_each_way() {
        let at = serve_on_loopback(Marker::new(MARKER), "node-7");
        let exchanged = talk(at, &what(MARKER), &Cancel::new()).unwrap();
        assert_eq!(exchanged.answered_by, "node-7");
        assert_eq!((exchanged.sent_bytes, exchanged.received_bytes), (400_000, 400_000));
        assert!(echoes(at, (&Marker::new(MARKER), 3), &Cancel::new()).unwrap());
    }

    #[test]
    fn who_does_not_know_the_marker_gets_no_answer() {
        let at = serve_on_loopback(Marker::new(MARKER), "node-7");
        let error = talk(at, &what([7; 32]), &Cancel::new()).unwrap_err();
        let kinds = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        let error = echoes(at, (&Marker::new([7; 32]), 3), &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_peer_that_swallows_the_payload_is_given_up_on_in_time() {
        let deaf = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let exchange = Exchange { wait_seconds: 1, payload_bytes: 40, ..what(MARKER) };
        let error = talk(deaf.local_addr().unwrap(), &exchange, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_load_that_is_cancelled_ends_at_once_wherever_it_is() {
        // Takes the payload and says nothing; and nobody at all (TEST-NET-1, RFC 5737).
        let deaf = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        for at in [deaf.local_addr().unwrap(), "192.0.2.254:9".parse().unwrap()] {
            let cancel = Cancel::new();
            let exchange = Exchange { wait_seconds: 60, payload_bytes: 40, ..what(MARKER) };
            let loading = std::thread::spawn({
                let cancel = cancel.clone();
                move || talk(at, &exchange, &cancel)
            });
            std::thread::sleep(Duration::from_millis(200));
            assert!(!loading.is_finished(), "{at}");
            let said = Instant::now();
            cancel.set();
            loading.join().unwrap().expect_err("nobody answered");
            assert!(said.elapsed() < Duration::from_millis(700), "{at}");
        }
    }

    #[test]
    fn the_mesh_counts_by_who_answered_and_gives_up_on_nobody() {
        let at = serve_on_loopback(Marker::new(MARKER), "node-7");
        let mut request = MeshTraffic {
            address: at.ip(),
            port: at.port(),
            requests: 3,
            nodes: BTreeSet::from(["node-7".to_owned()]),
            exchange: Exchange { payload_bytes: 400, wait_seconds: 1, ..what(MARKER) },
        };
        let outcome = mesh(&request, &Cancel::new());
        assert_eq!(outcome.failed, 0, "{:?}", outcome.last_error);
        assert_eq!(outcome.answered["node-7"].requests, 3);
        assert_eq!(outcome.answered["node-7"].sent_bytes, 1200);

        // A node that never answers is asked for until the time is over, and then no more.
        request.nodes.insert("node-8".to_owned());
        let outcome = mesh(&request, &Cancel::new());
        assert!(outcome.answered["node-7"].requests > 3, "{outcome:?}");
        assert!(!outcome.answered.contains_key("node-8"));

        let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        request.port = nobody.port();
        request.requests = 100;
        let outcome = mesh(&request, &Cancel::new());
        assert_eq!((outcome.failed, outcome.answered.len()), (GIVE_UP_AFTER, 0));
    }
}
