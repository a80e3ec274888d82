//! What `verify` proves, and what it must not: the negative twins share one run.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::planned;
use crate::support::{self, NODES, applied, enxame, lab, on_node};

fn leftovers() -> String {
    let look = "docker ps -aq --filter label=enxame.probe; docker service ls -q --filter label=enxame.probe; \
                docker images -q enxame-probe";
    NODES.map(|(name, _)| on_node(name, look)).concat()
}

#[test]
/// The only whole run: all others look at a part with `--only`.
fn verify_proves_every_network_and_leaves_nothing_behind() {
    applied();
    let path = support::config().with_file_name("evidence.json");
    let verify = enxame(&["verify", "--evidence", path.to_str().unwrap()]);
    assert_eq!(verify.code, 0, "{verify}");
    let evidence: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(evidence["verdict"], "pass");
    assert_eq!(leftovers(), "");
    assert_eq!(planned(), Vec::<String>::new(), "a proof changes nothing");
}

/// A proof's network, or what else it is about, and its two ends.
fn place(proof: &Value) -> (String, String, String) {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (word(&proof["network"]), word(&proof["pair"]["from"]), word(&proof["pair"]["to"]))
}

/// Three faults in one run: a network made without encryption, the routing mesh as Docker makes it, and a line that loses
/// packets. Apply mends what is enxame's to mend.
#[test]
fn verify_counts_clear_packets_names_the_ends_of_a_bad_line_and_apply_mends_the_ingress_network() {
    applied();
    // The guard lets no clear packet out: a proof that counts them needs some.
    for (name, _) in NODES {
        on_node(name, "nft delete table inet enxame");
    }
    on_node(
        "kvm8-core",
        "docker network create --driver overlay --attachable forgotten-net && \
         echo y | docker network rm ingress >/dev/null && \
         for i in $(seq 60); do docker network create --driver overlay --ingress ingress && break; sleep 1; done",
    );
    lab(&["delay", "kvm2-manager", "kvm8-core", "10", "10%"]);
    let verify = enxame(&["verify", "--only", "wire", "--json", "--quiet"]);
    lab(&["heal"]);
    assert_eq!(verify.code, 3, "{verify}");
    let evidence: Value = serde_json::from_str(&verify.stdout).unwrap();
    let proofs = evidence["report"]["proofs"].as_array().unwrap();
    let failed: Vec<&Value> = proofs.iter().filter(|proof| proof["verdict"] == "fail").collect();
    let told = || failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");

    let in_clear: BTreeSet<_> = failed
        .iter()
        .filter(|proof| proof["numbers"]["clear_packets"].as_u64().is_some_and(|count| count > 0))
        .map(|proof| place(proof))
        .collect();
    // A way that the load did not take, because its line loses packets, is unknown.
    for network in ["forgotten-net", "ingress"] {
        let pairs = in_clear.iter().filter(|(name, ..)| name == network).count();
        assert!(pairs >= 2, "{pairs} ways of {network}: {}", told());
    }

    let bad_lines = failed.iter().filter(|proof| proof["id"] == "path_quality");
    let ends: BTreeSet<_> = bad_lines.map(|proof| (place(proof).1, place(proof).2)).collect();
    let line = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(
        ends,
        BTreeSet::from([line("kvm2-manager", "kvm8-core"), line("kvm8-core", "kvm2-manager")]),
        "{}",
        told()
    );

    // The encrypted network passes where the line is good.
    let others = proofs.iter().filter(|proof| {
        let (network, from, to) = place(proof);
        network == "swarm-secure-net" && !ends.contains(&(from, to)) && proof["verdict"] != "pass"
    });
    assert_eq!(others.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(leftovers(), "");

    assert_eq!(
        planned(),
        [
            "kvm2-manager: guard the public interface",
            "kvm4-manager: guard the public interface",
            "kvm8-core: guard the public interface",
            "kvm8-core: make the ingress network again, encrypted"
        ]
    );
    let refused = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(refused.code, 3, "{refused}");
    assert!(refused.stdout.contains("the guard would let nothing of it out of a node"), "{refused}");
    on_node("kvm8-core", "docker network rm forgotten-net");
    let mended = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(mended.code, 0, "{mended}");
    assert_eq!(planned(), Vec::<String>::new());
}
