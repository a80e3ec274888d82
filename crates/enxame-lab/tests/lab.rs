//! The laboratory does what it says, on real machines. Meant for the nextest profile `lab` (one thread).
//!
//! The tests share one laboratory, which is brought up if it is not. Invariant: each leaves it as it found
//! it, so their order does not matter.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

const FIRST: &str = "kvm2-manager";
const SECOND: &str = "kvm4-manager";
const LAST: &str = "kvm8-core";

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_enxame-lab")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Runs a verb that must succeed and returns what it wrote.
fn must(arguments: &[&str]) -> String {
    let output = lab(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a verb that must fail and returns what it said.
fn must_fail(arguments: &[&str]) -> String {
    let output = lab(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?} succeeded");
    text(&output.stderr)
}

fn up() {
    // Whatever image is up already serves; only a laboratory that is down is brought up.
    if !must(&["status", "--json"]).contains("\"up\": true") {
        must(&["up"]);
    }
}

fn reaches(node: &str, address: &str) -> bool {
    lab(&["ssh", node, "--", "ping", "-c", "1", "-W", "2", address]).status.success()
}

fn round_trip(address: &str) -> Duration {
    let output = must(&["exec", "--", "ping", "-c", "3", "-i", "0.3", "-q", address]);
    let times = output.rsplit_once(" = ").unwrap().1;
    Duration::from_secs_f64(times.split('/').next().unwrap().parse::<f64>().unwrap() / 1000.0)
}

#[test]
fn exec_keeps_the_working_directory_and_passes_the_exit_code_on() {
    up();
    let output = lab(&["exec", "--", "sh", "-c", "pwd; test -f \"$ENXAME_CONFIG\" || exit 1; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output.stdout), std::env::current_dir().unwrap().display().to_string());
}

#[test]
fn the_outsider_reaches_the_nodes_from_beyond_a_router() {
    up();
    for address in ["203.0.113.12", "2001:db8:113::12"] {
        let output = must(&["outside", "--", "ping", "-c", "1", "-W", "5", address]);
        assert!(output.contains("ttl=63"), "not one router away: {output}");
        let output = must(&["exec", "--", "ping", "-c", "1", "-W", "5", address]);
        assert!(output.contains("ttl=64"), "the operator is not a neighbour: {output}");
    }
}

#[test]
fn a_node_has_no_way_out_but_the_package_proxy() {
    up();
    assert!(!reaches(FIRST, "192.0.2.1"));
    let fetch =
        "exec 3<>/dev/tcp/203.0.113.1/3142 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3";
    let answer = must(&["ssh", FIRST, "--", &format!("bash -c \"{}\"", fetch.replace('"', "\\\""))]);
    assert!(answer.starts_with("HTTP/1."), "{answer}");
}

#[test]
fn a_cut_stops_one_pair_both_ways_and_heal_undoes_it() {
    up();
    must(&["cut", FIRST, SECOND]);
    let outcome = (
        reaches(FIRST, "203.0.113.14"),
        reaches(SECOND, "2001:db8:113::12"),
        reaches(FIRST, "203.0.113.18"),
        reaches(SECOND, "203.0.113.18"),
    );
    must(&["heal"]);
    assert_eq!(outcome, (false, false, true, true));
    assert!(reaches(FIRST, "203.0.113.14"));
}

#[test]
fn a_delay_is_added_to_both_directions() {
    up();
    must(&["delay", "operator", LAST, "150"]);
    let (late, other) = (round_trip("203.0.113.18"), round_trip("203.0.113.12"));
    must(&["heal"]);
    assert!(late >= Duration::from_millis(300), "{late:?}");
    assert!(other < Duration::from_millis(300), "{other:?}");
    assert!(round_trip("203.0.113.18") < Duration::from_millis(300));
}

#[test]
fn a_loaded_state_brings_back_what_was_deleted() {
    up();
    must(&["ssh", SECOND, "--", "touch /root/kept && sync"]);
    must(&["save", "test-kept"]);
    must(&["ssh", SECOND, "--", "rm /root/kept && touch /root/later && sync"]);
    let started = Instant::now();
    must(&["load", "test-kept"]);
    assert!(started.elapsed() < Duration::from_secs(120), "the load hung");
    assert_eq!(must(&["ssh", SECOND, "--", "ls /root"]), "kept");
    let node: f64 = must(&["ssh", SECOND, "--", "date +%s"]).parse().unwrap();
    let here = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((node - here).abs() < 30.0, "the node's clock says {node}, here it is {here}");
    must(&["ssh", SECOND, "--", "rm /root/kept"]);
}

#[test]
fn a_node_comes_back_after_a_power_cut() {
    up();
    let boot = must(&["ssh", LAST, "--", "cat /proc/sys/kernel/random/boot_id"]);
    must(&["kill", LAST]);
    assert!(must_fail(&["kill", LAST]).contains("off already"));
    assert!(must_fail(&["save", "test-partial"]).contains("enxame-lab start kvm8-core"));
    must(&["start", LAST]);
    assert_ne!(must(&["ssh", LAST, "--", "cat /proc/sys/kernel/random/boot_id"]), boot);
}

#[test]
fn up_again_changes_nothing_and_says_so() {
    up();
    let status: Vec<String> = must(&["status"]).lines().map(str::to_owned).collect();
    let flavour = status[1].split_whitespace().nth(1).unwrap().rsplit_once('-').unwrap().0.to_owned();
    let (image, kind) = flavour.split_once('-').unwrap();
    let output = lab(&["up", "--image", image, "--kind", kind]);
    assert!(text(&output.stderr).contains("already up"), "{}", text(&output.stderr));
    assert_eq!(must(&["status"]).lines().map(str::to_owned).collect::<Vec<_>>(), status);
}

#[test]
fn an_unknown_name_is_answered_with_those_that_exist() {
    up();
    assert!(must_fail(&["ssh", "kvm16", "--", "true"]).contains("kvm2-manager, kvm4-manager, kvm8-core"));
    assert!(must_fail(&["load", "never-saved"]).contains("hint:"));
}
