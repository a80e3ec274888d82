//! Scans behind a filter. Each test starts this test binary again inside a network namespace of its own (`unshare -rn`),
//! where its second half runs: with root's powers over that namespace, and without touching this host.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use enxame_core::probe::UdpAnswer;

use super::*;

/// Set in the second half.
const INSIDE: &str = "ENXAME_TEST_INSIDE_NAMESPACE";

/// Runs a test of this file again in a namespace; says so where that is not possible.
fn inside(name: &str) {
    let this = std::env::current_exe().unwrap();
    let can = |arguments: &[&str]| {
        Command::new("unshare").args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if !can(&["-rn", "nft", "add", "table", "inet", "trial"]) || !can(&["-rn", "ip", "link", "show"]) {
        eprintln!("SKIPPED {name}: `unshare -rn` with nft and ip does not work here");
        return;
    }
    let test = format!("scan::tests::filtered::{name}");
    let output = Command::new("unshare")
        .arg("-rn")
        .arg(this)
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

fn run(command: &str) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

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
        return inside("filtered_ports_are_neither_open_nor_refused");
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
        return inside("a_target_of_which_nothing_answers_that_should_proves_nothing");
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
        return inside("a_way_that_is_lost_during_the_scan_proves_nothing");
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
        return inside("a_host_without_a_family_has_no_route_to_it");
    }
    run("ip link set lo up");
    for target in ["203.0.113.12", "2001:db8::12"] {
        assert!(matches!(scanned(&order(target, "1-10")), Err(ScanError::NoRoute { .. })), "{target}");
    }
}

#[test]
fn few_descriptors_make_a_scan_slow_and_not_wrong() {
    if !is_inside() {
        return inside("few_descriptors_make_a_scan_slow_and_not_wrong");
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
        return inside("a_port_that_the_kernel_connects_to_itself_is_not_open");
    }
    host(&[]);
    // The kernel has one local port to pick, and that is the one that is tried.
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap();
    assert_eq!(scanned(&order("192.0.2.1", "40000")).unwrap().refused, ports("40000"));
}
