//! What else than the laboratory's usual servers enxame promises: Docker's packages, Debian 12, an underlay of IPv6, legacy
//! iptables; and what takes minutes to look at.
//! For `make drills`: each boots or installs for minutes.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::edge::Provider;
use crate::support::{
    Ended, NODES, applied, capture, config, docker_repository, enxame, lab, node, on_node, prepared, root,
    wait_until,
};
use crate::{firewall, planned, storage};

/// A configuration beside the laboratory's own, with a part of it replaced.
fn variant(name: &str, old: &str, new: &str) -> String {
    let text = fs::read_to_string(config()).unwrap();
    assert!(text.contains(old), "{text}");
    let path = root().join(".lab").join(name);
    fs::write(&path, text.replace(old, new)).unwrap();
    path.display().to_string()
}

fn with(config: &str, verb: &[&str]) -> Ended {
    enxame(&[verb, &["--quiet", "--config", config]].concat())
}

/// Applies, and wants an empty plan and every proof.
fn becomes_a_proven_swarm(config: &str) {
    let applied = with(config, &["apply", "--yes"]);
    assert_eq!(applied.code, 0, "{applied}");
    let again = with(config, &["plan"]);
    assert!(again.code == 0 && again.stdout.ends_with("Nothing to change.\n"), "{again}");
    let verified = with(config, &["verify"]);
    assert_eq!(verified.code, 0, "{verified}");
}

#[test]
fn dockers_packages_come_from_a_repository_with_the_right_key_only() {
    let fingerprint = docker_repository("trixie");
    prepared();
    // It has a file in common with Docker's own package, and neither knows of the other.
    on_node(
        "kvm4-manager",
        "apt-get update -qq && apt-get install -qq --no-install-recommends docker-buildx",
    );
    let repository = |fingerprint: &str| {
        let new = format!(
            "source: docker-ce\n  repository:\n    url: http://203.0.113.1:3142/docker\n    key_fingerprint: {fingerprint}"
        );
        variant("docker-ce.yaml", "source: distribution", &new)
    };

    let config = repository(&fingerprint.chars().rev().collect::<String>());
    let refused = with(&config, &["apply", "--yes"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stdout.contains("the repository's key is"), "{refused}");
    for (name, _) in NODES {
        let files = on_node(name, "ls /etc/apt/sources.list.d /etc/apt/keyrings");
        assert!(!files.contains("docker"), "{name}: {files}");
        assert_eq!(
            on_node(name, "docker version -f '{{.Server.Version}}' | cut -d+ -f1"),
            "26.1.5",
            "{name}"
        );
    }

    let config = repository(&fingerprint);
    becomes_a_proven_swarm(&config);
    for (name, _) in NODES {
        assert_eq!(
            on_node(name, "docker version -f '{{.Server.Version}}' | cut -d+ -f1"),
            "28.5.2",
            "{name}"
        );
        let held = on_node(name, "apt-mark showhold");
        assert!(held.contains("docker-ce") && held.contains("containerd.io"), "{name}: {held}");
        let old = on_node(
            name,
            "dpkg-query -W -f '${db:Status-Status}\\n' docker.io containerd runc 2>/dev/null || true",
        );
        assert!(!old.lines().any(|status| status == "installed"), "{name}: {old}");
    }
}

#[test]
fn debian_12_and_its_old_engine_become_a_proven_swarm() {
    lab(&["up", "--image", "bookworm", "--fresh"]);
    becomes_a_proven_swarm(&config().display().to_string());
    lab(&["down"]);
}

/// What Ubuntu's images do by themselves: the account, the name, the hosts file and the network are cloud-init's, and made
/// again at every boot.
#[test]
fn servers_like_ubuntus_become_a_proven_swarm_and_are_one_after_each_has_booted() {
    lab(&["up", "--kind", "ubuntu-like", "--fresh"]);
    let refused = enxame(&["plan", "--quiet"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("`ssh.user: ubuntu`"), "the server says so: {refused}");

    let config = variant("ubuntu-like.yaml", "user: root", "user: ubuntu");
    becomes_a_proven_swarm(&config);
    for (name, _) in NODES {
        assert_eq!(on_node(name, "ls /snap"), "", "docker's snap is gone");
        let rebooted = with(&config, &["node", "reboot", name, "--yes"]);
        assert_eq!(rebooted.code, 0, "{rebooted}");
        let hosts = on_node(name, "hostname; grep -c kvm8-core /etc/hosts; cloud-init status");
        assert!(hosts.starts_with(&format!("{name}\n1\n")) && hosts.contains("done"), "{hosts}");
    }
    let after = with(&config, &["plan"]);
    assert!(after.code == 0 && after.stdout.ends_with("Nothing to change.\n"), "{after}");
    lab(&["down"]);
}

#[test]
fn an_underlay_of_ipv6_is_proven_like_one_of_ipv4() {
    prepared();
    let mut text = fs::read_to_string(config()).unwrap();
    for (name, address) in NODES {
        let address6 =
            on_node(name, "ip -6 -o addr show scope global | awk '{split($4, a, \"/\"); print a[1]; exit}'");
        let old = format!("address: {address}\n");
        assert!(text.contains(&old), "{text}");
        text = text.replace(&old, &format!("address: \"{address6}\"\n    ssh_host: {address}\n"));
    }
    let path = root().join(".lab/ipv6.yaml");
    fs::write(&path, text).unwrap();
    becomes_a_proven_swarm(&path.display().to_string());
}

#[test]
fn no_port_opens_while_rules_reload_docker_restarts_or_any_node_boots() {
    firewall::no_port_opens_while_rules_reload_docker_restarts_or_any_node_boots();
}

#[test]
fn nodes_that_a_plan_cuts_off_go_back_and_name_the_rule() {
    applied();
    let config = firewall::cutting();
    let tried = enxame(&["apply", "--yes", "--quiet", "--allow-ssh-cut", "--config", &config]);
    assert_eq!(tried.code, 1, "{tried}");
    assert!(
        tried.stdout.contains("TCP 22 is let in from 198.51.100.7 only, not from 203.0.113.1"),
        "it names the rule: {tried}"
    );
    assert_eq!(planned(), Vec::<String>::new(), "every node is as it was");
}

#[test]
fn a_node_that_loses_its_power_while_it_is_cut_off_boots_with_its_old_rules() {
    firewall::the_node_goes_back_by_itself_after("echo b >/proc/sysrq-trigger", Duration::from_secs(240));
}

/// The negative twin of the looks from outside: what somebody opened is named, port by port.
#[test]
fn verify_fails_on_ports_that_somebody_opened_and_names_them() {
    firewall::published();
    on_node("kvm2-manager", "nft delete table inet enxame && iptables -F enxame-published");
    let verify = enxame(&["verify", "--only", "exposure", "--json", "--quiet"]);
    assert_eq!(verify.code, 3, "{verify}");
    let evidence: Value = serde_json::from_str(&verify.stdout).unwrap();
    let proofs = evidence["report"]["proofs"].as_array().unwrap();
    let failed: Vec<_> = proofs.iter().filter(|proof| proof["verdict"] == "fail").collect();
    assert!(!failed.is_empty(), "{verify}");
    for proof in &failed {
        assert!(proof.to_string().contains("kvm2-manager"), "{proof}");
    }
    let text = failed.iter().map(ToString::to_string).collect::<String>();
    for port in ["8080", "8081", "9090"] {
        assert!(text.contains(port), "{port} is not named: {text}");
    }
}

/// The other flavour of iptables, chosen before anything is applied.
#[test]
fn legacy_iptables_closes_the_same_ports() {
    prepared();
    firewall::everywhere(
        "update-alternatives --set iptables /usr/sbin/iptables-legacy && \
         update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy && systemctl restart docker",
    );
    let applied = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(applied.code, 0, "{applied}");
    let plan = enxame(&["plan", "--quiet"]);
    assert_eq!(plan.code, 0, "{plan}");
    assert!(on_node("kvm8-core", "iptables-legacy-save -t filter").contains("enxame-published -j DROP"));
    let verify = enxame(&["verify", "--quiet"]);
    assert_eq!(verify.code, 0, "{verify}");
}

/// What is declared plaintext goes out in clear under its own identifier; what is not declared does not, the twin.
#[test]
fn a_network_declared_plaintext_is_carried_in_clear_and_an_undeclared_one_is_not() {
    prepared();
    let config = variant("plaintext.yaml", "engine:\n", "networks:\n  plaintext: open-net\nengine:\n");
    becomes_a_proven_swarm(&config);
    on_node("kvm8-core", "docker network create -d overlay --attachable undeclared");
    firewall::listen_on("kvm8-core", "open-net");
    firewall::listen_on("kvm2-manager", "open-net");
    firewall::listen_on("kvm8-core", "undeclared");
    firewall::listen_on("kvm2-manager", "undeclared");

    // `udp[12:4]` is the identifier and a byte that is 0.
    let declared = capture("udp dst port 4789 and udp[12:4] = 0xe0000100");
    let others = capture("udp dst port 4789 and udp[12:4] != 0xe0000100");
    std::thread::sleep(Duration::from_secs(2));
    let answers = |network: &str| {
        let address = firewall::address_on("kvm8-core", network);
        let process = format!("$(docker inspect -f '{{{{.State.Pid}}}}' on-{network})");
        let connect = format!("timeout 5 bash -c '</dev/tcp/{address}/7797'");
        node("kvm2-manager", &format!("nsenter -n -t {process} {connect}")).succeeded()
    };
    wait_until(Duration::from_secs(60), "the plaintext network carries", || answers("open-net"));
    assert!(!answers("undeclared"), "the guard lets the undeclared network's packets through");
    let (declared, others) = (declared.stop(), others.stop());
    assert!(declared.lines().count() > 2, "{declared}");
    assert_eq!(others, "", "clear packets of networks that are not declared");

    firewall::everywhere("nft delete table inet enxame");
    assert!(answers("undeclared"), "without the guard it carries");
}

/// The provider's edge in front of the nodes: the swarm works behind it, it closes by itself what the nodes do not, and
/// a change of it that keeps the operator out is undone.
#[test]
fn the_providers_edge_stands_before_the_nodes_and_cannot_lock_its_owner_out() {
    firewall::published();
    let provider = Provider::start();
    let edge = format!("firewall:\n{}engine:\n", provider.config());
    let config = variant("edge.yaml", "engine:\n", &edge);
    let applied = with(&config, &["apply", "--yes"]);
    assert_eq!(applied.code, 0, "{applied}");
    let mine = "TCP 22 203.0.113.1".to_owned();
    assert!(provider.in_force(0).contains(&mine), "{:?}", provider.in_force(0));
    let writes = provider.writes();
    becomes_a_proven_swarm(&config);
    assert_eq!(provider.writes(), writes, "a second apply writes nothing");

    let text = fs::read_to_string(&config).unwrap();
    let cutting = root().join(".lab/edge-cutting.yaml");
    let (mine_only, somebodys) =
        ("allow_from: [203.0.113.1]", "allow_operator: false\n  allow_from: [198.51.100.7]");
    fs::write(&cutting, text.replace(mine_only, somebodys)).unwrap();
    let cutting = cutting.display().to_string();
    let refused = with(&cutting, &["apply", "--yes"]);
    assert_eq!((refused.code, provider.writes()), (3, writes), "{refused}");
    let cut = with(&cutting, &["apply", "--yes", "--allow-ssh-cut"]);
    assert_eq!(cut.code, 1, "{cut}");
    assert!(provider.in_force(0).contains(&mine), "{cut}");
    let plan = with(&config, &["plan"]);
    assert_eq!(plan.code, 0, "everything is as it was: {plan}");

    // With the nodes' own layers off, the edge closes by itself; without it the same ports answer: the negative twin.
    firewall::everywhere("nft delete table inet enxame; iptables -F enxame-published; ufw --force disable");
    assert_eq!(firewall::seen_over_ipv4(), Vec::<String>::new());
    drop(provider);
    assert!(firewall::seen_over_ipv4().contains(&"203.0.113.12 8080 open".to_owned()));
}

#[test]
fn shared_files_that_are_taken_away_are_shut_and_stay_where_they_are() {
    storage::shared();
    on_node(storage::SERVER, &format!("echo kept >{}/file", storage::DIRECTORY));
    let gone = enxame(&["apply", "--yes", "--quiet"]);
    assert_eq!(gone.code, 0, "{gone}");
    assert!(gone.stdout.contains("the shared files stay in /srv/nfs/swarm_data"), "{gone}");
    assert_eq!(planned(), Vec::<String>::new());
    assert_eq!(
        on_node(storage::SERVER, "systemctl is-active nfs-server || true; ip -br link show enxame0 || true"),
        "inactive"
    );
    assert_eq!(on_node(storage::SERVER, &format!("cat {}/file", storage::DIRECTORY)), "kept");
    // Written again, they are served again as they are.
    let again = storage::with_files(&["apply", "--yes", "--quiet"]);
    assert_eq!(again.code, 0, "{again}");
    assert_eq!(storage::planned(), Vec::<String>::new());
    assert_eq!(on_node(storage::SERVER, &format!("cat {}/file", storage::DIRECTORY)), "kept");
}
