//! Tests in a network namespace of their own. Each starts this test binary again there (`unshare -rn`), where its second
//! half runs: with root's powers over that namespace, and without touching this host.

use std::process::Command;

/// Set in the second half.
const INSIDE: &str = "ENXAME_TEST_INSIDE_NAMESPACE";

/// Runs the test of that path again in a namespace; says so where that is not possible.
pub(crate) fn inside(test: &str) {
    again(test, "-rn");
}

/// The same with mounts of its own.
pub(crate) fn inside_with_mounts(test: &str) {
    again(test, "-rmn");
}

fn again(test: &str, flags: &str) {
    let this = std::env::current_exe().unwrap();
    let can = |arguments: &[&str]| {
        Command::new("unshare").args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if !can(&[flags, "nft", "add", "table", "inet", "trial"]) || !can(&[flags, "ip", "link", "show"]) {
        eprintln!("SKIPPED {test}: `unshare {flags}` with nft and ip does not work here");
        return;
    }
    let output = Command::new("unshare")
        .arg(flags)
        .arg(this)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    for line in told.lines().filter(|line| line.starts_with("SKIPPED ")) {
        eprintln!("{line}");
    }
}

/// Whether this is the second half.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &str) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
