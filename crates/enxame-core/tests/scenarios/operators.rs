//! Operators as peers in the tunnels: how they get in, and who is kept from closing the door behind himself.

use std::collections::BTreeSet;

use enxame_core::areas::firewall::{self, Firewall, Service, Source};
use enxame_core::areas::tunnel::{INTERFACE, UNIT, operator};
use enxame_core::areas::{self, Action};
use enxame_core::change::Risk;
use enxame_core::declare::{Severity, SwarmFate, Waiver};
use enxame_core::edge::{self, EdgeFacts};
use enxame_core::facts::{KeyFacts, SshSession};
use enxame_core::names::NodeName;
use enxame_core::plan;
use enxame_core::procedures::{self, ProcedureError};

use crate::world::{World, key};

const NODES: [&str; 3] = ["kvm2-manager", "kvm4-manager", "kvm8-core"];
const ANA: &str = "192.168.255.254";
const SHUT: &str = "ssh: {allow_operator: false}\n";

/// The tunnels with one operator, made.
fn connected() -> World {
    let mut world = World::of("tunnels_that_are_written_are_made_behind_the_firewall");
    world.yaml += &entry("ana", 20, ANA);
    world.apply();
    assert_eq!(world.errors(), [""; 0]);
    world
}

/// The lines of `tunnel.operators`, which is the last of the file.
fn entry(name: &str, number: u8, address: &str) -> String {
    format!("  operators:\n    - {{name: {name}, public_key: {}, address: {address}}}\n", key(number))
}

/// The node's operator comes from there, and is answered by that interface.
fn comes(world: &mut World, node: &str, from: &str, by: &str) {
    let facts = world.node(node);
    facts.ssh_session = SshSession::parse(&format!("{from} 50022 192.0.2.1 22"));
    facts.ssh_answers_by = Some(by.to_owned());
}

/// All nodes' operator is that one, through the tunnel.
fn comes_through(world: &mut World, from: &str) {
    for node in NODES {
        comes(world, node, from, INTERFACE);
    }
}

/// What is refused of access, each once, with its hint.
fn refused(world: &World) -> BTreeSet<(String, String)> {
    let findings = world.plan().findings.into_iter().filter(|one| one.severity == Severity::Error);
    findings
        .inspect(|one| assert_eq!(one.waiver, Some(Waiver::AllowSshCut), "{one:?}"))
        .map(|one| (one.message, one.hint))
        .collect()
}

fn only_refusal(world: &World) -> (String, String) {
    let refused = refused(world);
    assert_eq!(refused.len(), 1, "{refused:?}");
    refused.into_iter().next().unwrap()
}

#[test]
fn an_operator_is_a_peer_of_every_node_until_he_is_taken_out_of_cluster_yaml() {
    let mut world = connected();
    assert_eq!(world.ids(), [""; 0]);
    for node in NODES {
        let conf = world.conf(node);
        let ana = conf.split("[Peer]").find(|peer| peer.contains("operator ana")).unwrap();
        assert!(ana.contains(&format!("AllowedIPs = {ANA}/32")), "{conf}");
        assert!(!ana.contains("Endpoint") && !ana.contains("Keepalive"), "{conf}");
    }
    let before = world.yaml.replace(&entry("ana", 20, ANA), "");
    world.yaml = before;
    assert_eq!(world.ids().len(), 3);
    for change in world.changes() {
        assert_eq!(change.risk, Risk::Safe, "sessions with others go on");
        let gone = change.differences.iter().find(|one| one.field.contains(key(20).as_str())).unwrap();
        assert_eq!(gone.new.as_deref(), Some("absent"));
    }
    world.apply();
    assert!(NODES.iter().all(|node| !world.conf(node).contains(key(20).as_str())));
}

#[test]
fn the_port_is_open_to_everybody_and_ssh_in_the_tunnel_to_operators_alone() {
    let mut world = connected();
    comes(&mut world, "kvm8-core", "198.51.100.7", "eth0");
    world.node("kvm8-core").ssh_session = SshSession::parse("198.51.100.7 50022 203.0.113.18 2222");
    let [ana, peer, stranger] = [ANA, "192.168.255.1", "198.51.100.66"].map(|one| one.parse().unwrap());
    for more in ["", "firewall: {mesh: full}\n"] {
        let config =
            enxame_core::config::Config::parse("cluster.yaml", &(world.yaml.clone() + more)).unwrap();
        let firewall = Firewall::of(&config);
        let node = config.nodes.last().unwrap();
        let session = world.seen("kvm8-core").ssh_session;
        let is_open = |openings: &[firewall::Opening]| {
            let of_port = openings.iter().find(|opening| opening.service == Service::Udp(51_820));
            of_port.is_some_and(|opening| opening.source == Source::Anywhere)
        };
        let on_node = firewall.on_node(node, session);
        assert!(
            is_open(&on_node) && is_open(&firewall.at_the_edge(&session.into_iter().collect())),
            "{more}"
        );
        assert!(!firewall::admits(&on_node, ana, Service::Tcp(2222)), "his address means nothing outside");
        let inside = firewall.in_the_tunnel(node, session).unwrap();
        assert!(firewall::admits(&inside, ana, Service::Tcp(2222)), "where sshd was reached");
        for (from, service) in [(ana, 22), (ana, 2049), (peer, 2222), (peer, 22), (stranger, 2222)] {
            assert!(!firewall::admits(&inside, from, Service::Tcp(service)), "{from} {service}");
        }
        assert!(firewall::admits(&inside, peer, Service::Tcp(2049)));
    }
    // The texts of both layers on the node.
    let plan = world.plan();
    let of = |id: &str| plan.changes.iter().find(|change| change.id.0 == id).unwrap();
    let Action::Firewall(firewall::Action::Guard(guard)) = &of("kvm8-core/guard").action else { panic!() };
    let text = &guard.table.content;
    let (outside, inside) = text.split_once("chain tunnel-openings {").unwrap();
    assert!(
        outside.contains("\tudp dport 51820 accept comment \"tunnels of nodes and operators\""),
        "{text}"
    );
    assert!(inside.contains("ip saddr { 192.168.255.254/32 } tcp dport 2222 accept"), "{text}");
    assert!(!text.contains("51820 accept comment \"tunnels between nodes\""), "{text}");
    let Action::Firewall(firewall::Action::Ufw(ufw)) = &of("kvm8-core/ufw").action else { panic!() };
    let [(_, v4), (_, v6)] = ufw.wanted().unwrap();
    let has = |rules: &[String], wanted: &str| rules.iter().any(|rule| rule.contains(wanted));
    assert!(has(&v4.rules, "-i enxame0 -p tcp --dport 2222 -s 192.168.255.254 -j ACCEPT"), "{:#?}", v4.rules);
    assert!(
        has(&v4.rules, "-p udp --dport 51820 -j ACCEPT") && has(&v6.rules, "-p udp --dport 51820 -j ACCEPT")
    );
}

#[test]
fn who_comes_through_the_tunnel_may_close_ssh_to_every_public_address() {
    let mut world = connected();
    world.yaml += SHUT;
    // From outside it would be the end.
    let (message, hint) = only_refusal(&world);
    assert_eq!(message, "would not let you in any more: you come from 203.0.113.1");
    assert!(hint.starts_with("connect the tunnel first (`enxame tunnel config NAME`)"), "{hint}");
    comes_through(&mut world, ANA);
    assert_eq!(refused(&world), BTreeSet::new());
    let plan = world.plan();
    let guards = plan.changes.iter().filter_map(|change| match &change.action {
        Action::Firewall(firewall::Action::Guard(guard)) => Some(guard),
        _ => None,
    });
    for guard in guards.inspect(|guard| assert_eq!(guard.closed, None)) {
        let outside = guard.table.content.split_once("chain tunnel-openings {").unwrap().0;
        assert!(!outside.contains("administration by SSH"), "{outside}");
    }
    // Whoever applies from the tunnel is let in nowhere else by that.
    world.yaml = world.yaml.replace(SHUT, "");
    let plan = world.plan();
    assert!(!plan.is_refused() && !plan.findings.iter().any(|one| one.message.contains(ANA)), "{plan:?}");
    let (config, session) = (world.config(), world.seen("kvm8-core").ssh_session);
    let outside = Firewall::of(&config).on_node(&config.nodes[2], session);
    assert!(!firewall::admits(&outside, ANA.parse().unwrap(), Service::Tcp(22)));
}

#[test]
fn before_there_are_tunnels_the_way_to_them_begins_with_one_apply_from_outside() {
    let mut world = World::of("tunnels_that_are_written_are_made_behind_the_firewall");
    world.yaml += &entry("ana", 20, ANA);
    world.yaml += SHUT;
    let (_, hint) = only_refusal(&world);
    assert!(hint.starts_with("let yourself in for one apply"), "{hint}");
    // There are tunnels, and no operator's end of them yet.
    let mut world = connected();
    world.yaml = world.yaml.replace(&entry("ana", 20, ANA), &entry("ana", 21, ANA)) + SHUT;
    let (_, hint) = only_refusal(&world);
    assert!(hint.starts_with("let yourself in for one apply"), "{hint}");
}

#[test]
fn only_a_session_that_is_answered_by_the_tunnel_counts_as_one_through_it() {
    let mut world = connected();
    world.yaml += SHUT;
    comes_through(&mut world, ANA);
    comes(&mut world, "kvm4-manager", ANA, "eth0");
    assert_eq!(only_refusal(&world).0, "would not let you in any more: you come from 192.168.255.254");
    // An agent that does not say by what it answers: the address that was asked for tells.
    let node = world.node("kvm4-manager");
    node.ssh_answers_by = None;
    node.ssh_session = SshSession::parse("192.168.255.254 50022 192.168.255.2 22");
    assert_eq!(refused(&world), BTreeSet::new());
}

#[test]
fn who_would_be_cut_off_from_the_tunnel_that_he_comes_through_is_refused() {
    type Spoil = fn(&mut World);
    let spoils: [(&str, Spoil); 8] = [
        ("from 192.168.255.254, which is no operator's address", |world| {
            world.yaml = world.yaml.replace("address: 192.168.255.254", "address: 192.168.255.253");
        }),
        ("from 192.168.255.254, which is no operator's address", |world| {
            world.yaml = world.yaml.replace(&entry("ana", 20, ANA), "");
        }),
        ("from 192.168.255.2, which is a node's", |world| comes_through(world, "192.168.255.2")),
        ("you come through enxame0, and it goes", |world| {
            world.yaml = world.yaml.replace("tunnel:\n  network: 192.168.255.0/24\n", "");
            world.yaml = world.yaml.replace(&entry("ana", 20, ANA), "");
            for address in 1..4 {
                world.yaml = world.yaml.replace(&format!("    tunnel: 192.168.255.{address}\n"), "");
            }
        }),
        ("you come through enxame0, and your key becomes another", |world| {
            world.yaml = world.yaml.replace(&entry("ana", 20, ANA), &entry("ana", 21, ANA));
        }),
        ("you come through enxame0, and its port becomes 4500", |world| {
            world.yaml = world.yaml.replace("/24\n", "/24\n  port: 4500\n");
        }),
        ("you come through enxame0, and the node's address in it becomes another", |world| {
            world.yaml = world.yaml.replace("tunnel: 192.168.255.2\n", "tunnel: 192.168.255.20\n");
        }),
        ("you come through enxame0, and the node makes another key", |world| {
            world.node("kvm8-core").tunnel.key = KeyFacts::Absent;
        }),
    ];
    for (told, spoil) in spoils {
        let mut world = connected();
        comes_through(&mut world, ANA);
        spoil(&mut world);
        let (message, _) = only_refusal(&world);
        assert!(message.ends_with(told), "{message}, not {told}");
        // Whoever comes from outside may do it.
        for node in NODES {
            comes(&mut world, node, "203.0.113.1", "eth0");
        }
        assert_eq!(refused(&world), BTreeSet::new(), "{told}");
    }
    // Nor is enxame taken off under him.
    let mut world = connected();
    comes_through(&mut world, ANA);
    let removal = plan::make_removal(&world.config(), &world.facts, SwarmFate::Stays, areas::resources());
    assert!(removal.unwrap().is_refused());
    // What makes the tunnel whole again for him, and what is others', is done.
    let mut world = connected();
    comes_through(&mut world, ANA);
    world.yaml += &entry("rui", 22, "192.168.255.253").replace("  operators:\n", "");
    world.node("kvm8-core").units.get_mut(UNIT).unwrap().active = "failed".to_owned();
    assert!(!world.changes().is_empty());
    assert_eq!(refused(&world), BTreeSet::new());
}

#[test]
fn the_providers_edge_lets_in_what_carries_an_operator_and_no_ssh_from_his_address() {
    let mut world = connected();
    world.yaml += SHUT;
    comes_through(&mut world, ANA);
    let cut = |world: &World| {
        let seen = EdgeFacts {
            provider: "hostinger".to_owned(),
            firewall: None,
            names: [].into(),
            machines: [].into(),
            strangers: [].into(),
        };
        let plan = plan::make(&world.config(), &world.facts, Some(&seen), areas::resources()).unwrap();
        let rules = plan.edge.unwrap().add;
        assert!(rules.iter().any(|rule: &edge::EdgeRule| rule.to_string() == "UDP 51820 from any"));
        assert!(!rules.iter().any(|rule| rule.to_string().contains(ANA)));
        let findings = plan.findings.into_iter().map(|one| one.message);
        findings.filter(|message| message.contains("would cut you off")).count()
    };
    assert_eq!(cut(&world), 0);
    comes(&mut world, "kvm2-manager", "203.0.113.1", "eth0");
    assert_eq!(cut(&world), 1);
}

#[test]
fn what_is_missing_of_operators_is_proposed_from_the_networks_other_end() {
    let mut world = connected();
    let bare = entry("ana", 20, ANA).replace(&format!(", address: {ANA}"), "");
    world.yaml = world.yaml.replace(&entry("ana", 20, ANA), &bare);
    let errors = |world: &World| {
        let findings = world.plan().findings.into_iter().filter(|one| one.severity == Severity::Error);
        findings.map(|one| format!("{}: {}", one.message, one.hint)).collect::<Vec<_>>()
    };
    assert_eq!(
        errors(&world),
        [
            "an operator has no address in the tunnels yet: write at the operator ana: `address: 192.168.255.254`"
        ]
    );
    assert_eq!(world.ids(), [""; 0], "what is there stays meanwhile");
    world.yaml = world.yaml.replace("    tunnel: 192.168.255.2\n", "");
    let told = errors(&world);
    assert_eq!(
        told,
        [
            "1 node(s) and 1 operator(s) have no address in the tunnels yet: write at kvm4-manager: `tunnel: 192.168.255.2`, at the \
          operator ana: `address: 192.168.255.254`"
        ]
    );
}

#[test]
fn a_node_and_an_operator_with_one_key_are_refused() {
    let mut world = connected();
    world.node("kvm8-core").tunnel.key = KeyFacts::Usable { public: key(20), mode: 0o600 };
    assert_eq!(world.errors(), ["has the key for the tunnels that is the operator ana's"]);
}

#[test]
fn an_operators_own_file_has_every_node_and_nothing_secret() {
    let mut world = connected();
    let ana = NodeName::new("ana").unwrap();
    let file = |world: &World| operator::file(&world.config(), &world.facts, &ana).unwrap();
    let whole = file(&world);
    assert_eq!((whole.missing.len(), whole.waiting.len()), (0, 0));
    insta::assert_snapshot!("own_file", whole.text);

    // Of a node that does not answer its peers know the key; a node that has none yet is left out.
    let away = NodeName::new("kvm4-manager").unwrap();
    world.facts.insert_hole(away.clone(), "no route to host");
    world.node("kvm8-core").tunnel.key = KeyFacts::Absent;
    world.yaml = world.yaml.replace("192.168.255.254", "192.168.255.200");
    let part = file(&world);
    let missing: Vec<_> = part.missing.iter().map(|(node, why)| format!("{node}: {why}")).collect();
    assert_eq!(
        missing,
        ["kvm4-manager: no route to host", "kvm8-core: it has no key for the tunnels yet: apply first"]
    );
    assert_eq!(part.waiting, [NodeName::new("kvm2-manager").unwrap()], "it lets in the old address");
    assert!(part.text.contains("# kvm4-manager (does not answer; kvm2-manager has this key of it)\n"));
    assert!(!part.text.contains("kvm8-core"), "{}", part.text);

    let nobody = NodeName::new("rui").unwrap();
    let error = operator::file(&world.config(), &world.facts, &nobody).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.hint().as_str()),
        ("cluster.yaml has no operator rui", "`tunnel.operators` has ana")
    );
}

#[test]
fn other_keys_are_not_made_under_whoever_comes_through_the_tunnel_and_operators_need_another_file() {
    let mut world = connected();
    let told = |world: &World| procedures::rotate_tunnel_keys(&world.config(), &world.facts);
    let plan = told(&world).unwrap();
    assert!(!plan.is_refused());
    let message = "the own files of ana have the old keys then";
    assert!(plan.findings.iter().any(|one| one.message == message), "{:?}", plan.findings);
    comes(&mut world, "kvm4-manager", ANA, INTERFACE);
    let node = NodeName::new("kvm4-manager").unwrap();
    assert_eq!(told(&world).unwrap_err(), ProcedureError::ThroughTheTunnel(node));
}
