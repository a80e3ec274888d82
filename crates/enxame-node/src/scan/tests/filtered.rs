//! Scans behind a filter, each in a network namespace of its own.

use std::net::TcpListener;
use std::time::Duration;

use enxame_core::probe::UdpAnswer;

use super::*;
use crate::testing::namespace::{inside, is_inside, run};

/// A host of one's own with an address of each family and rules for what comes in.
fn host(rules: &[&str]) {
    run("ip link set lo up");
    run("ip addr add 192.0.2.1/32 dev lo");
    run("ip -6 addr add 2001:db8::1/128 dev lo nodad");
    run("nft add table inet t");
    run("nft add chain inet t input { type filter hook input priority 0 ; }");
    for rule in rules {
        run(&format!("nft add rule inet t input {rule}"));
    }
}

#[test]
fn filtered_ports_are_neither_open_nor_refused() {
    if !is_inside() {
        return inside("scan::tests::filtered::filtered_ports_are_neither_open_nor_refused");
    }
    host(&[
        "tcp dport 100-199 drop",
        "tcp dport 200 reject with icmpx admin-prohibited",
        "tcp dport 201 reject with icmpx port-unreachable",
        "tcp dport 202 reject with tcp reset",
        "udp dport 300 drop",
    ]);
    for target in ["192.0.2.1", "2001:db8::1"] {
        let listeners = [150, 250].map(|port| TcpListener::bind((target, port)).unwrap());
        let mut order = order(target, "90-260");
        order.controls = vec![150, 250];
        order.udp = ports("300");
        let found = scanned(&order).unwrap();
        assert_eq!(found.open, ports("250"), "{target}");
        assert_eq!(found.silent(), ports("100-199"), "{target}");
        assert_eq!(found.rejected, ports("200-201"), "{target}");
        assert_eq!(found.refused, ports("90-99,202-249,251-260"), "{target}");
        assert_eq!(found.control, Some(250), "{target}");
        assert_eq!(found.udp_ports(UdpAnswer::Silent), ports("300"), "{target}");
        drop(listeners);
    }
}

#[test]
fn a_target_of_which_nothing_answers_that_should_proves_nothing() {
    if !is_inside() {
        return inside("scan::tests::filtered::a_target_of_which_nothing_answers_that_should_proves_nothing");
    }
    host(&["drop"]);
    let mut order = order("192.0.2.1", "1-10");
    order.controls = vec![22, 443];
    match scanned(&order) {
        Err(ScanError::NothingAnswers { controls, .. }) => assert_eq!(controls, ports("22,443")),
        other => panic!("{other:?}"),
    }
    // Nobody says that anything should.
    order.controls.clear();
    let found = scanned(&order).unwrap();
    assert_eq!((found.silent(), found.control), (ports("1-10"), None));
}

#[test]
fn a_way_that_is_lost_during_the_scan_proves_nothing() {
    if !is_inside() {
        return inside("scan::tests::filtered::a_way_that_is_lost_during_the_scan_proves_nothing");
    }
    host(&["tcp dport 1000-9000 drop"]);
    let listener = TcpListener::bind("192.0.2.1:22").unwrap();
    let mut order = order("192.0.2.1", "22,1000-9000");
    order.controls = vec![22];
    let cut = std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(2));
        run("nft insert rule inet t input drop");
    });
    match scanned(&order) {
        Err(ScanError::WayLost { port, .. }) => assert_eq!(port, 22),
        other => panic!("{other:?}"),
    }
    cut.join().unwrap();
    drop(listener);
}

#[test]
fn a_host_without_a_family_has_no_route_to_it() {
    if !is_inside() {
        return inside("scan::tests::filtered::a_host_without_a_family_has_no_route_to_it");
    }
    run("ip link set lo up");
    for target in ["203.0.113.12", "2001:db8::12"] {
        assert!(matches!(scanned(&order(target, "1-10")), Err(ScanError::NoRoute { .. })), "{target}");
    }
}

#[test]
fn a_datagram_that_this_host_keeps_in_is_told_from_silence() {
    if !is_inside() {
        return inside("scan::tests::filtered::a_datagram_that_this_host_keeps_in_is_told_from_silence");
    }
    host(&["udp dport 4790 drop"]);
    run("nft add chain inet t output { type filter hook output priority 0 ; }");
    run("nft add rule inet t output udp dport 4789 drop");
    let mut order = order("192.0.2.1", "1-10");
    order.udp = ports("4789-4791");
    let found = scanned(&order).unwrap();
    assert_eq!(found.udp_ports(UdpAnswer::Unsent), ports("4789"));
    assert_eq!(found.udp_ports(UdpAnswer::Silent), ports("4790"));
    assert_eq!(found.udp_ports(UdpAnswer::Unreachable), ports("4791"));
}

#[test]
fn few_descriptors_make_a_scan_slow_and_not_wrong() {
    if !is_inside() {
        return inside("scan::tests::filtered::few_descriptors_make_a_scan_slow_and_not_wrong");
    }
    host(&["tcp dport 100-199 drop"]);
    let listener = TcpListener::bind("192.0.2.1:80").unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let effort = Effort { window: 1500, cancelled: &AtomicBool::new(false) };
    let found = scan(&order("192.0.2.1", "1-300"), effort, &mut |_| ()).unwrap();
    assert_eq!((found.open, found.refused.count()), (ports("80"), 199));
    drop(listener);
}

#[test]
fn a_port_that_the_kernel_connects_to_itself_is_not_open() {
    if !is_inside() {
        return inside("scan::tests::filtered::a_port_that_the_kernel_connects_to_itself_is_not_open");
    }
    host(&[]);
    // The kernel has one local port to pick, and that is the one that is tried.
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap();
    assert_eq!(scanned(&order("192.0.2.1", "40000")).unwrap().refused, ports("40000"));
}
