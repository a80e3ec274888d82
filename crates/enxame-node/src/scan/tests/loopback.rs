//! Nothing filters the loopback: what is not open is refused.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use enxame_core::probe::UdpAnswer;

use super::super::local_address;
use super::*;

#[test]
fn an_open_port_is_told_from_those_that_refuse() {
    for target in ["127.0.0.1", "::1"] {
        let Ok(listener) = TcpListener::bind((target, 0)) else {
            eprintln!("SKIPPED: this host has no {target}");
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let mut order = order(target, &format!("1-1000,{port}"));
        order.controls = vec![port];
        let found = scanned(&order).unwrap();
        assert!(found.open.contains(port), "{found:?}");
        assert!(found.silent().is_empty() && found.rejected.is_empty(), "{found:?}");
        assert_eq!(found.open.count() + found.refused.count(), found.tried_tcp.count());
        assert_eq!((found.control, found.source), (Some(port), target.parse().unwrap()));
    }
}

#[test]
fn who_listens_never_learns_of_a_scan() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let mut order = order("127.0.0.1", &at.port().to_string());
    order.controls = vec![at.port()];
    assert!(scanned(&order).unwrap().open.contains(at.port()));
    // Longer than the kernel holds an acknowledgement back (`TCP_DELACK_MAX`).
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(TcpStream::connect(at).unwrap());
    assert!(listener.accept().is_ok(), "what connects as everybody does is accepted");
}

#[test]
fn a_small_window_finds_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let order = order("127.0.0.1", &format!("1-100,{port}"));
    let effort = Effort { window: 1, cancelled: &AtomicBool::new(false) };
    let mut told = Vec::new();
    let found = scan(&order, effort, &mut |percent| told.push(percent)).unwrap();
    assert!(found.open.contains(port));
    assert!(found.silent().is_empty(), "{found:?}");
    assert!(told.is_sorted(), "{told:?}");
}

#[test]
fn without_a_control_what_answered_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let found = scanned(&order("127.0.0.1", &port.to_string())).unwrap();
    assert_eq!(found.control, Some(port));
}

#[test]
fn udp_ports_that_answer_are_told_from_those_where_nothing_listens() {
    let responder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let [answering, silent] = [&responder, &mute].map(|socket| socket.local_addr().unwrap().port());
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, from) = responder.recv_from(&mut buffer).unwrap();
        responder.send_to(&buffer[..length], from).unwrap();
    });
    let order = Scan { udp: [answering, silent, closed].into_iter().collect(), ..order("127.0.0.1", "") };
    let found = scanned(&order).unwrap();
    let expected =
        [(answering, UdpAnswer::Answered), (silent, UdpAnswer::Silent), (closed, UdpAnswer::Unreachable)];
    assert_eq!(found.udp, expected.into_iter().collect());
}

#[test]
fn an_address_without_a_route_is_not_a_closed_host() {
    // Linux connects a datagram socket to the limited broadcast address only with SO_BROADCAST.
    let order = order("255.255.255.255", "1-10");
    assert!(matches!(scanned(&order), Err(ScanError::NoRoute { .. })));
    assert!(matches!(local_address(order.target), Err(ScanError::NoRoute { .. })));
}

#[test]
fn a_scan_that_is_cancelled_while_it_waits_for_datagrams_ends_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let [tcp, udp] = [listener.local_addr().unwrap().port(), mute.local_addr().unwrap().port()];
    let order = Scan { udp: [udp].into_iter().collect(), ..order("127.0.0.1", &tcp.to_string()) };
    let cancelled = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let effort = Effort { window: 1, cancelled: &cancelled };
        let scanning = scope.spawn(move || scan(&order, effort, &mut |_| ()));
        // After the last question the answers have more than a second.
        let mut buffer = [0; 64];
        for _ in 0..3 {
            mute.recv_from(&mut buffer).unwrap();
        }
        let said = Instant::now();
        cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(scanning.join().unwrap(), Err(ScanError::Cancelled)));
        assert!(said.elapsed() < Duration::from_millis(700));
    });
}

#[test]
fn a_cancelled_scan_ends_at_once() {
    let order = order("127.0.0.1", "1-65535");
    let begun = Instant::now();
    let effort = Effort { window: 100, cancelled: &AtomicBool::new(true) };
    assert!(matches!(scan(&order, effort, &mut |_| ()), Err(ScanError::Cancelled)));
    assert!(begun.elapsed() < Duration::from_secs(1));
}
