//! The whole of enxame on three real machines (nextest profile `lab`, one thread).
//!
//! The tests share one laboratory and may run in any order: each begins from a saved state, `prepared` (packages in,
//! nothing configured) or `applied-*` (after one apply by this very build), which the first that needs it makes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod edge;
mod editions;
mod firewall;
mod support;
mod uninstall;

use std::fs;
use std::time::Duration;

use serde_json::Value;
use support::{NODES, applied, enxame, lab, node, on_node, prepared, wait_until};

/// The plan's changes as `node: summary`.
fn planned() -> Vec<String> {
    let plan = enxame(&["plan", "--json", "--quiet"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let changes = plan["changes"].as_array().unwrap().iter();
    changes.map(|c| format!("{}: {}", c["node"].as_str().unwrap(), c["summary"].as_str().unwrap())).collect()
}

#[test]
fn a_first_apply_makes_an_encrypted_swarm_of_three_servers_and_the_second_plan_is_empty() {
    prepared();
    // Its warnings may differ: clocks get set and links get slow meanwhile.
    let changes = || {
        let plan = enxame(&["plan", "--json", "--quiet"]);
        assert_eq!(plan.code, 2, "{plan}");
        serde_json::from_str::<Value>(&plan.stdout).unwrap()["changes"].clone()
    };
    assert_eq!(changes(), changes(), "planning changes nothing");

    let applied = enxame(&["apply", "--yes"]);
    assert_eq!(applied.code, 0, "{applied}");
    // The first by name: the others begin where it is now.
    support::keep_applied();
    let after = enxame(&["plan", "--quiet"]);
    assert!(after.code == 0 && after.stdout.ends_with("Nothing to change.\n"), "{after}");

    // On the machines, by their own words.
    for (name, address) in NODES {
        assert_eq!(on_node(name, "hostname"), name);
        for (peer, peer_address) in NODES {
            let resolved = on_node(name, &format!("getent ahostsv4 {peer}"));
            let own = peer == name && resolved.starts_with("127.0.1.1");
            assert!(own || resolved.starts_with(peer_address), "{name}: {peer} is {resolved}");
        }
        assert_eq!(
            on_node(name, "docker info -f '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}'"),
            "active true"
        );
        assert_eq!(on_node(name, "docker info -f '{{.Swarm.NodeAddr}}'"), address);
        assert_eq!(
            on_node(name, "sysctl -n net.core.somaxconn net.ipv4.tcp_keepalive_time").replace('\n', " "),
            "65535 600"
        );
        let modules = on_node(name, "cut -d' ' -f1 /proc/modules");
        for module in ["esp4", "vxlan", "xt_bpf", "ip_vs"] {
            assert!(modules.lines().any(|line| line == module), "{name}: {module} is not loaded");
        }
        assert!(on_node(name, "apt-mark showhold").contains("docker.io"), "{name}: not held");
        let options = "docker network inspect -f '{{json .Options}}'";
        for network in ["ingress", "swarm-secure-net"] {
            // Nodes learn of a network when they first need it; managers always know it.
            let options = on_node(name, &format!("{options} {network}"));
            assert!(options.contains("\"encrypted\""), "{name}: {network}: {options}");
        }
    }
    let labels = on_node("kvm8-core", "docker node inspect -f '{{json .Spec.Labels}}' kvm8-core");
    assert_eq!(labels, r#"{"db":"true","proxy":"true","role":"db","storage":"true"}"#);

    // The token went from engine to engine and nowhere else.
    let token = on_node("kvm8-core", "docker swarm join-token -q manager");
    assert!(!applied.stdout.contains(&token) && !applied.stderr.contains(&token));
    for (name, _) in NODES {
        let found =
            node(name, &format!("grep -rlF -e {token} /var/lib/enxame /var/log /run/log 2>/dev/null"));
        assert_eq!(found.stdout.trim(), "", "{name}: the token was written");
    }
}

#[test]
fn what_drifts_is_found_and_put_back_and_nothing_else_is_touched() {
    applied();
    on_node("kvm2-manager", "sysctl -w net.core.somaxconn=4096");
    on_node("kvm2-manager", "sed -i '/kvm8-core/d' /etc/hosts && echo '192.0.2.9 mine' >> /etc/hosts");
    on_node("kvm4-manager", "apt-mark unhold docker.io");
    on_node("kvm8-core", "docker node update --label-rm storage --label-add foreign=kept kvm8-core");
    assert_eq!(
        planned(),
        [
            "kvm2-manager: name every node in /etc/hosts",
            "kvm2-manager: tune the kernel for wide-area links",
            "kvm4-manager: install and hold docker.io",
            "kvm8-core: label kvm8-core",
        ]
    );
    let status = enxame(&["status", "--quiet"]);
    assert!(status.stdout.contains("drift     kvm2-manager: name every node in /etc/hosts"), "{status}");
    let applied = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(applied.code, 0, "{applied}");
    assert_eq!(planned(), Vec::<String>::new());
    assert!(on_node("kvm2-manager", "cat /etc/hosts").contains("192.0.2.9 mine"));
    assert!(
        on_node("kvm8-core", "docker node inspect -f '{{json .Spec.Labels}}' kvm8-core").contains("foreign")
    );
}

#[test]
fn an_agent_killed_in_the_middle_leaves_a_state_from_which_apply_goes_on() {
    prepared();
    let running = support::enxame_in_background(&["apply", "--yes", "--quiet"]);
    // Two thirds through: the swarm is founded, not all have joined, and a network is being removed.
    let begun = r#"/ingress","event":"begun"#;
    wait_until(Duration::from_secs(180), "the ingress network is being made again", || {
        node("kvm8-core", &format!("grep -F '{begun}' /var/lib/enxame/journal.jsonl")).succeeded()
    });
    for (name, _) in NODES {
        node(name, "pkill -KILL -f /var/lib/enxame/agents/");
    }
    let cut = running.wait();
    assert_eq!(cut.code, 1, "{cut}");
    let resumed = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(resumed.code, 0, "{resumed}");
    assert_eq!(planned(), Vec::<String>::new());
    assert_eq!(on_node("kvm8-core", "docker node ls -q | wc -l"), "3");
}

#[test]
fn two_operators_cannot_apply_at_once() {
    applied();
    // Something to do, so that the second run would begin to act.
    let holder =
        support::lab_in_background(&["ssh", "kvm4-manager", "--", "flock /run/enxame.lock sleep 60"]);
    wait_until(Duration::from_secs(30), "the lock is held", || {
        !node("kvm4-manager", "flock --nonblock /run/enxame.lock true").succeeded()
    });
    let refused = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("kvm4-manager: cannot lock the node"), "{refused}");
    holder.kill();
}

#[test]
fn a_server_that_is_down_is_named_and_status_of_the_others_is_not_guessed() {
    applied();
    lab(&["kill", "kvm2-manager"]);
    let plan = enxame(&["plan", "--quiet"]);
    lab(&["start", "kvm2-manager"]);
    assert_eq!(plan.code, 1, "{plan}");
    assert!(plan.stderr.contains("kvm2-manager: cannot connect"), "{plan}");
    assert!(!plan.stderr.contains("kvm4-manager"), "{plan}");
}

#[test]
fn accounts_with_sudo_serve_and_accounts_without_are_refused_with_a_hint() {
    applied();
    let config = fs::read_to_string(support::config()).unwrap();
    let with = |user: &str| {
        let path = support::config().with_file_name(format!("cluster-{user}.yaml"));
        fs::write(&path, config.replace("user: root", &format!("user: {user}"))).unwrap();
        enxame(&["check", "--quiet", "--config", path.to_str().unwrap()])
    };
    assert_eq!(with("admin").code, 0);
    let refused = with("nosudo");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("passwordless sudo"), "{refused}");
}

#[test]
fn init_proposes_a_file_that_check_accepts() {
    prepared();
    let ssh_config = support::config().with_file_name("ssh_config");
    let hosts = NODES.map(|(_, address)| format!("root@{address}"));
    let mut arguments = vec!["init", "--ssh-config", ssh_config.to_str().unwrap()];
    arguments.extend(hosts.iter().map(String::as_str));
    let proposed = enxame(&arguments);
    assert_eq!(proposed.code, 0, "{proposed}");
    assert!(proposed.stdout.contains("name: vps-18\n    address: 203.0.113.18\n"), "{proposed}");
    let largest = proposed.stdout.split("203.0.113.18").nth(1).unwrap();
    assert!(largest.contains("roles: [storage, db, proxy]"), "{proposed}");
    let path = support::config().with_file_name("proposed.yaml");
    fs::write(&path, proposed.stdout + "engine:\n  source: distribution\n").unwrap();
    let check = enxame(&["check", "--quiet", "--config", path.to_str().unwrap()]);
    assert_eq!(check.code, 0, "{check}");
}

/// The failed proofs of a report, each as `network from -> to: text`.
fn failed_proofs(evidence: &Value) -> Vec<String> {
    let proofs = evidence["report"]["proofs"].as_array().unwrap().iter();
    let failed = proofs.filter(|proof| proof["verdict"] == "fail");
    failed.map(ToString::to_string).collect()
}

fn leftovers() -> String {
    let look = "docker ps -aq --filter label=enxame.probe; docker service ls -q --filter label=enxame.probe; \
                docker images -q enxame-probe";
    NODES.map(|(name, _)| on_node(name, look)).concat()
}

#[test]
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

/// Takes the guard away, which lets no clear packet out: a proof that counts them needs some.
fn unguarded() {
    for (name, _) in NODES {
        on_node(name, "nft delete table inet enxame");
    }
}

/// The negative twin: the same proof on a network that someone made by hand.
#[test]
fn verify_fails_on_a_network_made_without_encryption_and_counts_what_it_saw() {
    applied();
    unguarded();
    on_node("kvm8-core", "docker network create --driver overlay --attachable forgotten-net");
    let verify = enxame(&["verify", "--only", "wire", "--json", "--quiet"]);
    assert_eq!(verify.code, 3, "{verify}");
    let evidence: Value = serde_json::from_str(&verify.stdout).unwrap();
    let proofs = evidence["report"]["proofs"].as_array().unwrap();
    for (from, _) in NODES {
        for (to, _) in NODES.iter().filter(|(to, _)| *to != from) {
            let proof = proofs.iter().find(|proof| {
                proof["network"] == "forgotten-net"
                    && proof["verdict"] == "fail"
                    && proof["pair"]["from"] == from
                    && proof["pair"]["to"] == *to
                    && proof["numbers"]["clear_packets"].as_u64().is_some_and(|count| count > 0)
            });
            assert!(proof.is_some(), "{from} -> {to}: {}", failed_proofs(&evidence).join("\n"));
        }
    }
    let others =
        proofs.iter().filter(|proof| proof["verdict"] != "pass" && proof["network"] != "forgotten-net");
    assert_eq!(others.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(leftovers(), "");
}

/// The negative twin: the routing mesh as Docker makes it. Apply mends it.
#[test]
fn verify_fails_on_an_unencrypted_ingress_network_and_apply_makes_it_again() {
    applied();
    unguarded();
    on_node(
        "kvm8-core",
        "echo y | docker network rm ingress >/dev/null && \
         for i in $(seq 60); do docker network create --driver overlay --ingress ingress && break; sleep 1; done",
    );
    let verify = enxame(&["verify", "--only", "wire", "--json", "--quiet"]);
    assert_eq!(verify.code, 3, "{verify}");
    let evidence: Value = serde_json::from_str(&verify.stdout).unwrap();
    let failed = failed_proofs(&evidence);
    assert!(
        failed.iter().any(|proof| proof.contains("\"ingress\"") && proof.contains("clear_packets")),
        "{failed:#?}"
    );
    assert_eq!(
        planned(),
        [
            "kvm2-manager: guard the public interface",
            "kvm4-manager: guard the public interface",
            "kvm8-core: guard the public interface",
            "kvm8-core: make the ingress network again, encrypted"
        ]
    );
    assert_eq!(enxame(&["apply", "--yes", "--quiet"]).code, 0);
    let mended = enxame(&["verify", "--only", "wire", "--quiet"]);
    assert_eq!(mended.code, 0, "{mended}");
}

#[test]
fn verify_fails_on_a_line_that_loses_packets_and_names_its_two_ends() {
    applied();
    lab(&["delay", "kvm2-manager", "kvm8-core", "10", "10%"]);
    let verify = enxame(&["verify", "--only", "wire", "--json", "--quiet"]);
    lab(&["heal"]);
    assert_eq!(verify.code, 3, "{verify}");
    let evidence: Value = serde_json::from_str(&verify.stdout).unwrap();
    let proofs = evidence["report"]["proofs"].as_array().unwrap();
    let mut failed: Vec<(&str, &str)> = proofs
        .iter()
        .filter(|proof| proof["id"] == "path_quality" && proof["verdict"] == "fail")
        .map(|proof| (proof["pair"]["from"].as_str().unwrap(), proof["pair"]["to"].as_str().unwrap()))
        .collect();
    failed.sort_unstable();
    assert_eq!(failed, [("kvm2-manager", "kvm8-core"), ("kvm8-core", "kvm2-manager")]);
}
