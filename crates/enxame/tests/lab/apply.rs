//! From three prepared servers to a swarm, and back to it from drift.

use serde_json::Value;

use crate::planned;
use crate::support::{self, NODES, applied, enxame, node, on_node, prepared};

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
    // Nor is anything told of servers that have nothing wrong but this machine's slowness.
    let is_slowness = |line: &&str| line.contains(" ms to ") || line.contains("clock");
    let warnings: Vec<&str> = after.stdout.lines().filter(|line| line.starts_with("warning:")).collect();
    assert!(warnings.iter().all(is_slowness), "{after}");

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
