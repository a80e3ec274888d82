//! One server is off, as one is when it matters; and a person who has seen enough.

use std::time::Duration;

use crate::planned;
use crate::support::{applied, enxame, enxame_in_background, lab, node, on_node, wait_until};
use serde_json::Value;

const OFF: &str = "kvm2-manager";
const HERE: &str = "kvm4-manager";

#[test]
fn with_one_server_off_the_others_are_worked_on_and_it_is_brought_up_when_it_is_back() {
    applied();
    for name in [OFF, HERE] {
        on_node(name, "sed -i '/kvm8-core/d' /etc/hosts && sync");
    }
    lab(&["kill", OFF]);

    let has_line = || on_node(HERE, "grep -c kvm8-core /etc/hosts || true");
    let refused = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(refused.code, 3, "{refused}");
    let exact = format!("hint: to go on without: enxame apply --yes --quiet --without {OFF}");
    assert!(refused.stderr.contains(&exact), "{refused}");
    assert!(refused.stdout.contains("name every node in /etc/hosts"), "the others are planned: {refused}");
    assert!(
        refused.stdout.contains(&format!("(because of {OFF}: cannot connect")),
        "and what is withheld: {refused}"
    );
    assert_eq!(has_line(), "0", "a refusal changes nothing");

    let applied = enxame(&["apply", "--yes", "--quiet", "--without", OFF]);
    assert_eq!(applied.code, 0, "{applied}");
    assert_eq!(has_line(), "1");
    let plan = enxame(&["plan", "--quiet"]);
    assert_eq!(plan.code, 3, "nothing to change there is no word about the one that is off: {plan}");
    let openings =
        on_node(HERE, "ufw status | grep -c 203.0.113.12; nft list table inet enxame | grep -c 203.0.113.12");
    assert!(openings.lines().all(|count| count != "0"), "what the absent one may reach stays: {openings}");

    let status = enxame(&["status", "--quiet"]);
    assert_eq!(status.code, 3, "{status}");
    let of_off = status.stdout.lines().find(|line| line.contains("203.0.113.12")).unwrap_or_default();
    assert!(of_off.contains("unreachable"), "{status}");

    let verify = enxame(&["verify", "--only", "wire", "--json", "--quiet"]);
    assert_eq!(verify.code, 3, "{verify}");
    let evidence: Value = serde_json::from_str(&verify.stdout).unwrap();
    let proofs = evidence["report"]["proofs"].as_array().unwrap();
    let names_it = |proof: &&Value| {
        [&proof["pair"]["from"], &proof["pair"]["to"], &proof["node"]].iter().any(|end| *end == OFF)
    };
    let (of_it, of_others): (Vec<&Value>, Vec<&Value>) = proofs.iter().partition(names_it);
    assert!(!of_it.is_empty() && !of_others.is_empty(), "{verify}");
    for proof in of_it {
        assert_eq!(proof["verdict"], "unknown", "{proof}");
        assert!(proof["text"].as_str().unwrap().contains(OFF), "{proof}");
    }
    let undone = of_others.iter().filter(|proof| proof["pair"].is_object() && proof["verdict"] != "pass");
    assert_eq!(undone.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());

    lab(&["start", OFF]);
    let applied = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(applied.code, 0, "{applied}");
    assert_eq!(on_node(OFF, "grep -c kvm8-core /etc/hosts"), "1");
    assert_eq!(planned(), Vec::<String>::new());
}

/// Ctrl-C reaches the nodes: a scan is ended there, what somebody waits for is not, and nobody finds a lock that is left.
#[test]
fn an_interrupted_verify_and_an_interrupted_apply_leave_no_lock_and_the_next_apply_goes_on() {
    applied();
    let is = |command: &str| node(HERE, command).succeeded();
    let is_locked = || !is("flock -n /run/enxame.lock true");
    let interrupted = |arguments: &[&str], at_work: &str| {
        assert!(!is_locked(), "somebody else is at work");
        let running = enxame_in_background(arguments);
        wait_until(Duration::from_secs(120), at_work, || is(at_work));
        running.interrupt();
        let ended = running.wait();
        // Its agents end when their connections do.
        wait_until(Duration::from_secs(5), "the lock is free", || !is_locked());
        ended
    };
    // Ports that nobody answers for are waited for.
    let verify = interrupted(&["verify", "--only", "exposure"], "ss -Htn state syn-sent | grep -q .");
    assert_eq!(verify.code, 130, "{verify}");

    on_node(HERE, "apt-mark unhold docker.io && sed -i '/kvm8-core/d' /etc/hosts");
    let apply = interrupted(&["apply", "--yes"], "! flock -n /run/enxame.lock true");
    assert_ne!(apply.code, 101, "{apply}");
    let next = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(next.code, 0, "{next}");
    assert_eq!(planned(), Vec::<String>::new());
}
