use std::collections::BTreeMap;

use super::*;

const THREE: &str = "\
version: 1
cluster: lab
nodes:
  - name: kvm2-manager
    address: 203.0.113.12
  - name: kvm4-manager
    address: 203.0.113.14
  - name: kvm8-core
    address: 203.0.113.18
    roles: [storage, db, proxy]
    preferred_leader: true
";

fn problems(text: &str) -> Vec<String> {
    Config::parse("cluster.yaml", text).unwrap_err().problems().iter().map(ToString::to_string).collect()
}

#[test]
fn the_smallest_file_gets_the_manuals_defaults() {
    let config = Config::parse("cluster.yaml", THREE).unwrap();
    assert_eq!(config.founder().unwrap().name.as_str(), "kvm8-core");
    assert_eq!(config.networks.secure.as_str(), "swarm-secure-net");
    assert_eq!((config.swarm.data_path_port, config.swarm.heartbeat.as_secs()), (4789, 5));
    assert_eq!(config.engine.source, EngineSource::DockerCe);
    assert_eq!(config.nodes[0].ssh_host, "203.0.113.12");
}

#[test]
fn roles_become_keys_of_their_own_so_that_none_is_lost() {
    let config = Config::parse("cluster.yaml", THREE).unwrap();
    let labels: Vec<String> =
        config.nodes[2].swarm_labels().iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["db=true", "proxy=true", "role=db", "storage=true"]);
    assert_eq!(config.nodes[0].swarm_labels(), BTreeMap::from([("role".into(), "worker".into())]));
}

#[test]
fn every_problem_has_its_line_and_column() {
    let text = THREE
        .replace("version: 1", "version: 7")
        .replace("203.0.113.14", "203.0.113.12")
        .replace("name: kvm4-manager", "name: kvm2-manager")
        + "networks:\n  plaintext: swarm-secure-net\n  underlay_mtu: 100\n";
    assert_eq!(
        problems(&text),
        [
            "cluster.yaml:1:10: version 7 is not known",
            "cluster.yaml:6:11: the name `kvm2-manager` is taken by the node on line 4",
            "cluster.yaml:7:14: the address 203.0.113.12 is taken by the node on line 4",
            "cluster.yaml:13:14: `swarm-secure-net` is the name of an encrypted network",
            "cluster.yaml:14:17: an MTU of 100 bytes",
        ]
    );
}

#[test]
fn what_ssh_could_take_for_an_option_is_refused() {
    let text =
        THREE.replace("address: 203.0.113.12", "address: 203.0.113.12\n    ssh_host: -oProxyCommand=evil");
    assert_eq!(problems(&text), ["cluster.yaml:6:15: `-oProxyCommand=evil` is not a host that ssh can take"]);
}

#[test]
fn unusable_addresses_names_and_pools_are_refused() {
    for (from, to, expected) in [
        ("203.0.113.12", "127.0.0.1", "5:14: 127.0.0.1 is not an address that other servers can reach"),
        ("203.0.113.12", "fe80::1", "5:14: fe80::1 is not an address that other servers can reach"),
        (
            "cluster: lab",
            "cluster: lab\nswarm:\n  address_pool: {base: 10.0.0.1/8, size: 24}",
            "4:17: 10.0.0.1/8 has bits beyond its prefix",
        ),
        (
            "cluster: lab",
            "cluster: lab\nswarm:\n  data_path_port: 2377",
            "4:19: 2377 cannot be the data-path port",
        ),
        (
            "cluster: lab",
            "cluster: lab\nengine:\n  version: '23.0.1'",
            "4:12: engine 23.0.1 may send encrypted networks' traffic in clear (CVE-2023-28841)",
        ),
        ("cluster: lab", "cluster: lab\nengine:\n  log_max_size: 10", "4:17: `10` is not a size"),
        (
            "cluster: lab",
            "cluster: lab\nssh: {allow_from: [my-house]}",
            "3:20: `my-house` is neither an address nor a network",
        ),
        (
            "cluster: lab",
            "cluster: lab\nssh: {allow_from: [198.51.100.7/24]}",
            "3:20: 198.51.100.7/24 has bits beyond its prefix",
        ),
        ("cluster: lab", "cluster: lab\nssh: {port: 0}", "3:13: there is no port 0"),
        (
            "cluster: lab",
            "cluster: lab\nssh: {port: 2222}\nfirewall: {public_ports: [443, 2222]}",
            "4:32: port 2222 is not for everybody: SSH, which `ssh.allow_from` is for",
        ),
        (
            "cluster: lab",
            "cluster: lab\nfirewall: {public_ports: [2377]}",
            "3:27: port 2377 is not for everybody: swarm management",
        ),
        (
            "cluster: lab",
            "cluster: lab\nfirewall: {edge: {provider: hostinger, url: 'http://api.example.com'}}",
            "3:45: `http://api.example.com` would carry the token in clear",
        ),
        (
            "cluster: lab",
            "cluster: lab\nfirewall: {edge: {provider: hostinger, url: 'https://a@b'}}",
            "3:45: `https://a@b` is not an API's address",
        ),
        (
            "cluster: lab",
            "cluster: lab\nfirewall: {edge: {provider: hostinger, firewall: ''}}",
            "3:50: `` is not a firewall's name",
        ),
        (
            "cluster: lab",
            "cluster: lab\nfirewall: {edge: {token_file: secret}}",
            "3:31: `token_file` is for a provider with an API",
        ),
        (
            "    roles: [storage, db, proxy]",
            "    labels: {role: x}",
            "10:20: the label `role` is set from the node's roles",
        ),
    ] {
        let found = problems(&THREE.replace(from, to));
        assert!(found.contains(&format!("cluster.yaml:{expected}")), "{found:#?}");
    }
}

#[test]
fn what_the_yaml_reader_refuses_has_its_place_too() {
    for (from, to, place) in [
        ("cluster: lab", "cluster: lab\nclutser: x", "cluster.yaml:3:1"),
        ("203.0.113.12", "203.0.113", "cluster.yaml:5:14"),
        ("kvm2-manager", "KVM 2", "cluster.yaml:4:11"),
        ("  - name: kvm2-manager", "  - name: kvm2-manager\n   x", "cluster.yaml:"),
        ("[storage, db, proxy]", "[storage, cache]", "cluster.yaml:10:22"),
    ] {
        let found = problems(&THREE.replace(from, to));
        assert!(found.len() == 1 && found[0].starts_with(place), "{found:#?}");
    }
    assert_eq!(problems("").len(), 1);
}

#[test]
fn the_schema_names_every_key_of_the_file() {
    let schema = Config::json_schema().unwrap();
    for key in [
        "token_file",
        "preferred_leader",
        "data_path_port",
        "underlay_mtu",
        "key_fingerprint",
        "stacks",
        "sysctl",
        "ssh_host",
    ] {
        assert!(schema.contains(&format!("\"{key}\"")), "{key}");
    }
}

#[test]
fn the_network_for_services_is_not_the_routing_meshs() {
    let text = THREE.to_owned() + "networks: {secure: ingress}\n";
    assert_eq!(problems(&text), ["cluster.yaml:12:20: `ingress` is the name of the routing mesh's network"]);
}

#[test]
fn the_edge_is_clicked_in_unless_a_provider_is_named_and_its_firewall_is_called_after_the_cluster() {
    let config = Config::parse("cluster.yaml", THREE).unwrap();
    assert_eq!(config.firewall.edge.provider, EdgeProvider::Manual);
    let text = THREE.to_owned() + "firewall: {edge: {provider: hostinger, token_file: secret/token}}\n";
    let edge = Config::parse("cluster.yaml", &text).unwrap().firewall.edge;
    assert_eq!((edge.provider, edge.firewall.as_str()), (EdgeProvider::Hostinger, "enxame-lab"));
    assert_eq!(edge.url, "https://developers.hostinger.com");
    for url in ["http://127.0.0.1:8080/", "http://[::1]:8080"] {
        let text = THREE.to_owned() + &format!("firewall: {{edge: {{provider: hostinger, url: '{url}'}}}}\n");
        let edge = Config::parse("cluster.yaml", &text).unwrap().firewall.edge;
        assert_eq!(edge.url, url.trim_end_matches('/'));
    }
}

#[test]
fn a_port_that_a_service_of_the_clusters_own_listens_on_is_not_opened_to_everybody() {
    let told = |firewall: &str| problems(&(THREE.to_owned() + "firewall: " + firewall + "\n"));
    for (port, owner) in [
        (22, "SSH, which `ssh.allow_from` is for"),
        (2049, "the shared files (NFS)"),
        (2375, "Docker's API"),
        (2376, "Docker's API"),
        (2377, "swarm management"),
        (4789, "VXLAN, the swarm's data path"),
        (7946, "the swarm's gossip"),
    ] {
        let message = format!("port {port} is not for everybody: {owner}");
        assert_eq!(told(&format!("{{public_ports: [{port}]}}")), [format!("cluster.yaml:12:27: {message}")]);
        for protocol in ["tcp", "udp"] {
            let opening = format!("{{openings: [{{protocol: {protocol}, port: {port}}}]}}");
            assert_eq!(told(&opening), [format!("cluster.yaml:12:45: {message}")]);
        }
    }
}

#[test]
fn the_port_of_verifys_service_is_opened_to_nobody_at_all() {
    let told = |firewall: &str| {
        let text = THREE.to_owned() + "firewall: " + firewall + "\n";
        Config::parse("cluster.yaml", &text)
            .map_err(|error| error.problems().iter().map(ToString::to_string).collect::<Vec<_>>())
            .map(drop)
    };
    let refused = |column| {
        Err(vec![format!(
            "cluster.yaml:12:{column}: port 29877 is kept for the service that `verify` publishes"
        )])
    };
    assert_eq!(told("{public_ports: [29877]}"), refused(27));
    assert_eq!(told("{openings: [{protocol: tcp, port: 29877}]}"), refused(45));
    assert_eq!(told("{openings: [{protocol: tcp, port: 29877, from: [192.0.2.0/24]}]}"), refused(45));
    // The service speaks TCP: UDP is free.
    assert_eq!(told("{openings: [{protocol: udp, port: 29877}]}"), Ok(()));
}

/// Three nodes with these addresses in the tunnels, and this `tunnel`.
fn tunnelled(addresses: [&str; 3], tunnel: &str) -> String {
    let mut text = THREE.to_owned();
    for (node, address) in ["12", "14", "18"].into_iter().zip(addresses) {
        let line = format!("    address: 203.0.113.{node}\n");
        let address = if address.is_empty() { String::new() } else { format!("    tunnel: {address}\n") };
        text = text.replace(&line, &(line.clone() + &address));
    }
    text + tunnel
}

#[test]
fn tunnels_are_wanted_as_soon_as_they_are_written_and_not_before() {
    let tunnel = |text: &str| Config::parse("cluster.yaml", text).unwrap().tunnel;
    assert_eq!(tunnel(THREE), None);
    for text in ["tunnel:\n", "tunnel: {}\n"] {
        assert_eq!(
            tunnel(&tunnelled([""; 3], text)),
            Some(TunnelConfig { network: None, port: 51_820, operators: Vec::new() }),
            "{text}"
        );
    }
    let whole = tunnelled(
        ["192.168.255.1", "192.168.255.2", "192.168.255.3"],
        "tunnel: {network: 192.168.255.0/24, port: 4500}\n",
    );
    let config = Config::parse("cluster.yaml", &whole).unwrap();
    assert_eq!(
        config.tunnel,
        Some(TunnelConfig {
            network: Some("192.168.255.0/24".parse().unwrap()),
            port: 4500,
            operators: Vec::new()
        })
    );
    assert_eq!(config.nodes[1].tunnel, Some("192.168.255.2".parse().unwrap()));
}

#[test]
fn tunnels_that_cannot_be_are_refused_with_their_place() {
    let one = ["192.168.255.1", "", ""];
    let network = "tunnel: {network: 192.168.255.0/24}\n";
    for (addresses, tunnel, expected) in [
        (one, "", "6:13: `kvm2-manager` has an address in the tunnels, and there are none"),
        (one, "tunnel:\n", "6:13: 192.168.255.1 is of no network: `tunnel.network` is not written"),
        (
            ["192.168.255.1", "192.168.255.1", "192.168.255.3"],
            network,
            "9:13: the address 192.168.255.1 in the tunnels is taken by `kvm2-manager`",
        ),
        (
            ["10.0.0.1", "192.168.255.2", "192.168.255.3"],
            network,
            "6:13: 10.0.0.1 is not of the tunnels' network 192.168.255.0/24",
        ),
        (
            ["192.168.255.0", "192.168.255.2", "192.168.255.3"],
            network,
            "6:13: 192.168.255.0 is nobody's: it stands for the whole network 192.168.255.0/24",
        ),
        (
            [""; 3],
            "tunnel: {network: 192.168.255.1/24}\n",
            "12:19: 192.168.255.1/24 has bits beyond its prefix",
        ),
        (
            [""; 3],
            "tunnel: {network: 192.168.255.0/31}\n",
            "12:19: 192.168.255.0/31 is no network for the tunnels of 3 nodes",
        ),
        (
            [""; 3],
            "tunnel: {network: 192.168.255.0/30}\n",
            "12:19: 192.168.255.0/30 is no network for the tunnels of 3 nodes",
        ),
        (
            [""; 3],
            "tunnel: {network: 10.9.0.0/16}\n",
            "12:19: 10.9.0.0/16 overlaps the swarm's address pool 10.0.0.0/8",
        ),
        (
            [""; 3],
            "tunnel: {network: 172.20.0.0/16}\n",
            "12:19: 172.20.0.0/16 overlaps the engine's address pool 172.16.0.0/12",
        ),
        (
            [""; 3],
            "tunnel: {network: 198.51.100.0/24}\n",
            "12:19: 198.51.100.0/24 has addresses of the Internet",
        ),
        ([""; 3], "tunnel: {port: 0}\n", "12:16: there is no port 0"),
        (
            [""; 3],
            "tunnel: {port: 7946}\n",
            "12:16: UDP 7946 is not free for the tunnels: the swarm's gossip",
        ),
        (
            [""; 3],
            "tunnel:\nfirewall: {openings: [{protocol: udp, port: 51820}]}\n",
            "13:45: UDP 51820 is the port of the tunnels between the nodes",
        ),
    ] {
        assert_eq!(problems(&tunnelled(addresses, tunnel)), [format!("cluster.yaml:{expected}")], "{tunnel}");
    }
    for bad in
        ["tunnel: {network: no}\n", "tunnel: {network: 192.168.255.0}\n", "tunnel: {network: 'fd00::/64'}\n"]
    {
        let told = problems(&tunnelled([""; 3], bad));
        assert!(told[0].starts_with("cluster.yaml:12:19: "), "{told:?}");
    }
    let told = problems(&tunnelled(["192.168.255.300", "", ""], "tunnel:\n"));
    assert!(told[0].starts_with("cluster.yaml:6:13: "), "{told:?}");
}

const KEY: &str = "KnZN7Q7h0VHb336NXFrNItUP7FXSQKC548fQNR2C7gs=";
const OTHER_KEY: &str = "WXOQKbdREPh1MS4tPVxFNafy8+cbdKM3Ff3GMnDQ3hs=";

/// Three nodes in tunnels, and these operators: name, key, address.
fn operated(operators: &[(&str, &str, &str)]) -> String {
    let entry = |(name, key, address): &(&str, &str, &str)| {
        let address = if address.is_empty() { String::new() } else { format!("      address: {address}\n") };
        format!("    - name: {name}\n      public_key: {key}\n{address}")
    };
    let tunnel = "tunnel:\n  network: 192.168.255.0/29\n  operators:\n".to_owned()
        + &operators.iter().map(entry).collect::<String>();
    tunnelled(["192.168.255.1", "192.168.255.2", "192.168.255.3"], &tunnel)
}

#[test]
fn operators_have_a_name_a_key_and_an_address_that_is_proposed_where_it_is_missing() {
    let text = operated(&[("ana", KEY, "192.168.255.6"), ("ana-laptop", OTHER_KEY, "")]);
    let config = Config::parse("cluster.yaml", &text).unwrap();
    let told: Vec<_> = config.operators().map(|one| (one.name.as_str(), one.address)).collect();
    assert_eq!(told, [("ana", Some("192.168.255.6".parse().unwrap())), ("ana-laptop", None)]);
    assert!(config.operators().next().is_some_and(|one| one.public_key.as_str() == KEY));
    assert!(config.is_in_the_tunnels("192.168.255.6".parse().unwrap()));
    assert!(!config.is_in_the_tunnels("192.168.255.9".parse().unwrap()));
    let nobody = Config::parse("cluster.yaml", THREE).unwrap();
    assert!(!nobody.is_in_the_tunnels("192.168.255.6".parse().unwrap()));
}

#[test]
fn operators_who_cannot_be_are_refused_with_their_place() {
    let free = ("ana", KEY, "192.168.255.6");
    for (operators, expected) in [
        (vec![("Ana Maria", KEY, "")], "18:13: `Ana Maria` is no name of an operator"),
        (
            vec![free, ("ana", OTHER_KEY, "192.168.255.5")],
            "21:13: the name `ana` is taken by the operator on line 18",
        ),
        (
            vec![("ana", "c2VjcmV0", "")],
            "19:19: the key of `ana` is not a WireGuard key: 44 characters that end with `=`",
        ),
        (
            vec![free, ("rui", KEY, "192.168.255.5")],
            "22:19: the key of `rui` is that of the operator on line 18",
        ),
        (
            vec![free, ("rui", OTHER_KEY, "192.168.255.6")],
            "23:16: the address 192.168.255.6 in the tunnels is taken by the operator `ana`",
        ),
        (
            vec![("ana", KEY, "192.168.255.2")],
            "20:16: the address 192.168.255.2 in the tunnels is taken by `kvm4-manager`",
        ),
        (
            vec![("ana", KEY, "192.168.254.2")],
            "20:16: 192.168.254.2 is not of the tunnels' network 192.168.255.0/29",
        ),
        (
            vec![("ana", KEY, "192.168.255.7")],
            "20:16: 192.168.255.7 is nobody's: it stands for the whole network 192.168.255.0/29",
        ),
    ] {
        let told = problems(&operated(&operators));
        assert_eq!(told, [format!("cluster.yaml:{expected}")], "{operators:?}");
    }
    let without_room = operated(&[free]).replace("255.0/29", "255.0/30");
    let told = problems(&without_room);
    assert!(
        told[0].ends_with("192.168.255.0/30 is no network for the tunnels of 3 nodes and 1 operator(s)"),
        "{told:?}"
    );
    let without_network = operated(&[free]).replace("  network: 192.168.255.0/29\n", "");
    let bare = without_network.lines().filter(|line| !line.starts_with("    tunnel: "));
    let told = problems(&bare.collect::<Vec<_>>().join("\n"));
    assert_eq!(told, ["cluster.yaml:16:16: 192.168.255.6 is of no network: `tunnel.network` is not written"]);
}
