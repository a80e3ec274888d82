//! Tunnels between the nodes, from the first apply on: what is planned is made in the facts, and planned again.

use enxame_core::areas::tunnel::interface::How;
use enxame_core::areas::tunnel::{self, CONF_PATH, INTERFACE, NETWORK_PATH, UNIT, UNIT_PATH};
use enxame_core::areas::{self, Action};
use enxame_core::change::{Change, Risk};
use enxame_core::declare::SwarmFate;
use enxame_core::facts::{DeviceFacts, KeyFacts, NodeFacts, Observed};
use enxame_core::names::NodeName;
use enxame_core::plan;
use enxame_core::procedures;

use crate::world::{World, key};

/// Nothing of it is there yet.
fn new() -> World {
    World::of("tunnels_that_are_written_are_made_behind_the_firewall")
}

/// All three are connected.
fn connected() -> World {
    let mut world = new();
    world.apply();
    world
}

fn of_nodes(kind: &str, nodes: &[&str]) -> Vec<String> {
    nodes.iter().map(|node| format!("{node}/{kind}")).collect()
}

const NODES: [&str; 3] = ["kvm2-manager", "kvm4-manager", "kvm8-core"];

#[test]
fn one_apply_makes_keys_hands_them_over_and_leaves_nothing_to_do() {
    let world = new();
    assert_eq!(world.errors(), [""; 0]);
    for change in world.changes().iter().filter(|change| change.kind.0 == "tunnel") {
        // A peer's key is there before it is asked for, whatever else that peer is at.
        for node in NODES {
            let made = format!("{node}/tunnel_key");
            assert!(change.after.iter().any(|id| id.0 == made), "{} after {made}", change.id);
        }
        assert_eq!(change.risk, Risk::Safe);
    }
    let world = connected();
    assert_eq!(world.ids(), [""; 0]);
    for node in NODES {
        assert_eq!(world.conf(node).matches("[Peer]").count(), 2, "{}", world.conf(node));
        assert!(!world.conf(node).contains("PrivateKey"));
    }
}

#[test]
fn a_node_that_leaves_is_cut_off_by_all_others_and_their_sessions_go_on() {
    let mut world = connected();
    let gone = world.key("kvm4-manager");
    let (before, rest) = world.yaml.split_once("  - name: kvm4-manager").unwrap();
    let rest = rest.split_once("  - name: kvm8-core").unwrap().1;
    world.yaml = format!("{before}  - name: kvm8-core{rest}");
    assert_eq!(world.ids(), of_nodes("tunnel", &["kvm2-manager", "kvm8-core"]));
    for change in world.changes() {
        let Action::Tunnel(tunnel::Action::Interface(action)) = &change.action else { panic!("{change:?}") };
        assert_eq!(action.how, How::Reload);
        let told = change.differences.iter().find(|one| one.field.contains(gone.as_str())).unwrap();
        assert_eq!(told.new.as_deref(), Some("absent"));
    }
    world.apply();
    assert_eq!(world.ids(), [""; 0]);
    assert!(NODES.iter().all(|node| *node == "kvm4-manager" || !world.conf(node).contains(gone.as_str())));
}

#[test]
fn a_node_that_does_not_answer_keeps_its_key_and_one_that_never_did_is_named() {
    let mut world = connected();
    let away = NodeName::new("kvm4-manager").unwrap();
    world.facts.insert_hole(away.clone(), "no route to host");
    assert_eq!(world.ids(), [""; 0]);

    let mut world = new();
    world.facts.insert_hole(away.clone(), "no route to host");
    world.apply();
    assert_eq!(world.ids(), [""; 0], "the others are connected");
    assert_eq!(world.conf("kvm2-manager").matches("[Peer]").count(), 1);
    let told = world.plan().findings.into_iter().map(|finding| finding.message);
    assert_eq!(told.filter(|message| message.starts_with("no tunnel to kvm4-manager yet")).count(), 2);
}

#[test]
fn a_key_that_is_lost_is_made_anew_and_every_peer_is_told() {
    let mut world = connected();
    let old = world.key("kvm8-core");
    world.node("kvm8-core").tunnel.key = KeyFacts::Unusable("there is no key in it".to_owned());
    let ids = world.ids();
    let expected = [of_nodes("tunnel_key", &["kvm8-core"]), of_nodes("tunnel", &NODES)].concat();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect());
    world.apply();
    assert_eq!(world.ids(), [""; 0]);
    assert!(NODES.iter().all(|node| !world.conf(node).contains(old.as_str())));
}

#[test]
fn a_key_that_others_may_read_is_shut_and_stays() {
    let mut world = connected();
    let public = world.key("kvm2-manager");
    world.node("kvm2-manager").tunnel.key = KeyFacts::Usable { public, mode: 0o644 };
    let change = world.only_change();
    assert_eq!(change.id.0, "kvm2-manager/tunnel_key");
    assert_eq!(change.differences[0].old.as_deref(), Some("0644"));
}

#[test]
fn what_is_not_as_it_was_made_is_made_again() {
    type Spoil = fn(&mut NodeFacts);
    fn device(node: &mut NodeFacts) -> &mut DeviceFacts {
        match &mut node.tunnel.interface {
            Observed::Known(Some(device)) => device,
            other => panic!("{other:?}"),
        }
    }
    let spoils: [(&str, Spoil); 9] = [
        ("enxame0", |node| {
            node.tunnel.interface = Observed::Known(None);
            node.interfaces.retain(|interface| interface.name != INTERFACE);
        }),
        ("enxame0", |node| node.tunnel.interface = Observed::Unknown("wg is not installed".to_owned())),
        ("enxame0 link (live)", |node| device(node).is_up = false),
        ("enxame0 port (live)", |node| device(node).port = 1),
        ("enxame0 key (live)", |node| device(node).public_key = None),
        ("enxame0 MTU (live)", |node| node.interfaces.last_mut().unwrap().mtu_bytes = 1500),
        ("enxame0 address (live)", |node| node.interfaces.last_mut().unwrap().addresses.clear()),
        (UNIT, |node| node.units.get_mut(UNIT).unwrap().active = "failed".to_owned()),
        (UNIT, |node| node.units.get_mut(UNIT).unwrap().enabled = "disabled".to_owned()),
    ];
    for (field, spoil) in spoils {
        let mut world = connected();
        spoil(world.node("kvm2-manager"));
        let change = world.only_change();
        assert_eq!(change.id.0, "kvm2-manager/tunnel", "{field}");
        let fields: Vec<&str> = change.differences.iter().map(|one| one.field.as_ref()).collect();
        assert_eq!(fields, [field]);
        world.apply();
        assert_eq!(world.ids(), [""; 0], "{field}");
    }
    // Somebody's own peer, and one that may send from more than its address.
    let mut world = connected();
    let other = world.key("kvm4-manager");
    let peers = &mut device(world.node("kvm2-manager")).peers;
    peers.insert(key(20), ["192.168.255.99/32".parse().unwrap()].into());
    peers.insert(other, ["0.0.0.0/0".parse().unwrap()].into());
    let told = world.only_change().differences;
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn an_address_that_moves_starts_the_interface_anew_and_is_told_to_the_peers() {
    let mut world = connected();
    world.yaml = world.yaml.replace("tunnel: 192.168.255.2", "tunnel: 192.168.255.20");
    let how = |change: &Change| match &change.action {
        Action::Tunnel(tunnel::Action::Interface(action)) => action.how,
        other => panic!("{other:?}"),
    };
    let all: Vec<(String, How)> =
        world.changes().iter().map(|change| (change.node.to_string(), how(change))).collect();
    let expected =
        [("kvm2-manager", How::Reload), ("kvm4-manager", How::Restart), ("kvm8-core", How::Reload)];
    assert_eq!(all, expected.map(|(node, how)| (node.to_owned(), how)));
    world.apply();
    assert_eq!(world.ids(), [""; 0]);
}

#[test]
fn the_narrowest_path_decides_and_one_that_is_not_measured_makes_nothing_wider() {
    let mtu = |world: &World| world.seen("kvm2-manager").interfaces.last().unwrap().mtu_bytes;
    let measure = |world: &mut World, seen: Observed<u32>| {
        let route = world.node("kvm4-manager").routes.get_mut(&"203.0.113.18".parse().unwrap()).unwrap();
        let Observed::Known(route) = route else { panic!("{route:?}") };
        route.path_mtu_bytes = seen;
    };
    let mut world = new();
    measure(&mut world, Observed::Known(1400));
    world.apply();
    assert_eq!(mtu(&world), 1320);
    measure(&mut world, Observed::Unknown("the peer does not answer".to_owned()));
    assert_eq!(world.ids(), [""; 0]);
    measure(&mut world, Observed::Known(1500));
    assert_eq!(world.ids(), of_nodes("tunnel", &NODES));
    world.apply();
    assert_eq!(mtu(&world), 1420);
}

#[test]
fn two_nodes_with_one_key_are_refused() {
    let mut world = connected();
    let public = world.key("kvm2-manager");
    world.node("kvm8-core").tunnel.key = KeyFacts::Usable { public, mode: 0o600 };
    assert_eq!(
        world.errors(),
        ["has the same key for the tunnels as kvm2-manager: one is a clone of the other"]
    );
}

#[test]
fn the_last_handshake_of_every_pair_is_told_and_pairs_that_do_not_talk_are_named() {
    let pairs = |world: &World| {
        let pairs = tunnel::pairs(&world.config(), &world.facts).into_iter();
        pairs
            .map(|pair| (pair.nodes.map(|node| node.to_string()).join(" "), pair.handshake_s_ago))
            .collect::<Vec<_>>()
    };
    let silent = |world: &World| {
        let findings = world.plan().findings.into_iter().map(|finding| finding.message);
        findings.filter(|message| message.contains("have not talked")).collect::<Vec<_>>()
    };
    let mut world = connected();
    let of = |one: &str, other: &str, ago| (format!("{one} {other}"), ago);
    let [a, b, c] = NODES;
    assert_eq!(pairs(&world), [of(a, b, Some(40)), of(a, c, Some(40)), of(b, c, Some(40))]);
    assert_eq!(silent(&world), [""; 0]);
    // One end has heard of nothing, as after its interface was made anew; the other knows.
    world.node(a).volatile.tunnel_peers.clear();
    assert_eq!(pairs(&world)[0], of(a, b, Some(40)));
    world.node(b).volatile.tunnel_peers.clear();
    assert_eq!(pairs(&world)[0], of(a, b, None));
    world.node(c).volatile.clock_unix_ms += 600_000;
    let (key_of_b, now) = (world.key(b), world.seen(b).volatile.clock_unix_ms / 1000);
    world.node(c).volatile.tunnel_peers.get_mut(&key_of_b).unwrap().handshake_unix_s = Some(now);
    assert_eq!(pairs(&world)[2], of(b, c, Some(600)));
    assert_eq!(
        silent(&world),
        [
            "kvm2-manager and kvm4-manager have not talked in the tunnel yet",
            "kvm2-manager and kvm8-core have not talked in the tunnel for 10 min",
            "kvm4-manager and kvm8-core have not talked in the tunnel for 10 min",
        ]
    );
    // Of a node that is off nobody wonders.
    for away in [b, c] {
        world.facts.insert_hole(NodeName::new(away).unwrap(), "no route to host");
    }
    assert_eq!(silent(&world), [""; 0]);
}

#[test]
fn all_of_it_goes_with_the_key_in_cluster_yaml_and_with_enxame() {
    let mut world = connected();
    world.yaml = world.yaml.replace("tunnel:\n  network: 192.168.255.0/24\n", "");
    for address in 1..4 {
        world.yaml = world.yaml.replace(&format!("    tunnel: 192.168.255.{address}\n"), "");
    }
    let removed: Vec<String> =
        world.only_of("kvm2-manager").differences.iter().map(|one| one.field.to_string()).collect();
    assert_eq!(removed, [UNIT_PATH, CONF_PATH, NETWORK_PATH, "/etc/enxame/tunnel.key", INTERFACE]);
    world.apply();
    assert_eq!(world.ids(), [""; 0]);

    let mut world = connected();
    let plan =
        plan::make_removal(&world.config(), &world.facts, SwarmFate::Stays, areas::resources()).unwrap();
    let removals: Vec<Change> =
        plan.changes.into_iter().filter(|change| matches!(change.action, Action::Tunnel(_))).collect();
    assert_eq!(removals.len(), 3);
    for change in &removals {
        world.make(change);
    }
    let plan =
        plan::make_removal(&world.config(), &world.facts, SwarmFate::Stays, areas::resources()).unwrap();
    assert!(!plan.changes.iter().any(|change| matches!(change.action, Action::Tunnel(_))));
}

#[test]
fn other_keys_are_made_by_all_and_handed_to_all_in_one_run() {
    let mut world = connected();
    let old = NODES.map(|node| world.key(node));
    let plan = procedures::rotate_tunnel_keys(&world.config(), &world.facts).unwrap();
    let ids: Vec<String> = plan.changes.iter().map(|change| change.id.to_string()).collect();
    assert_eq!(ids.len(), 6, "{ids:?}");
    for change in &plan.changes {
        match &change.action {
            Action::Tunnel(tunnel::Action::Key(action)) => assert!(action.renew),
            Action::Tunnel(tunnel::Action::Interface(action)) => {
                // Every key is made before any is asked for.
                assert!(
                    NODES
                        .iter()
                        .all(|node| change.after.iter().any(|id| id.0 == format!("{node}/tunnel_key")))
                );
                assert_eq!(action.how, How::Reload);
                assert!(action.peers.iter().all(|peer| peer.key.is_none()));
            }
            other => panic!("{other:?}"),
        }
    }
    for change in &plan.changes {
        world.make(change);
    }
    assert_eq!(world.ids(), [""; 0]);
    for (node, old) in NODES.iter().zip(&old) {
        assert_ne!(world.key(node), *old);
        assert!(
            NODES.iter().all(|other| !world.conf(other).contains(old.as_str())),
            "{node}'s old key is nobody's"
        );
    }
    // Cut off half way, an apply goes on.
    let plan = procedures::rotate_tunnel_keys(&world.config(), &world.facts).unwrap();
    for change in plan.changes.iter().take(4) {
        world.make(change);
    }
    assert_ne!(world.ids(), [""; 0]);
    world.apply();
    assert_eq!(world.ids(), [""; 0]);

    // What is wrong elsewhere does not keep anybody from other keys.
    let mut elsewhere = connected();
    elsewhere.node("kvm2-manager").os.id = "gentoo".to_owned();
    assert!(elsewhere.plan().is_refused());
    let plan = procedures::rotate_tunnel_keys(&elsewhere.config(), &elsewhere.facts).unwrap();
    assert!(!plan.is_refused() && plan.changes.len() == 6);

    let refused = |world: &World| {
        procedures::rotate_tunnel_keys(&world.config(), &world.facts).unwrap_err().to_string()
    };
    let mut away = connected();
    away.facts.insert_hole("kvm4-manager".parse().unwrap(), "no route to host");
    assert_eq!(refused(&away), "kvm4-manager does not answer: no route to host");
    assert_eq!(refused(&new()), "kvm2-manager has no key for the tunnels yet");
    let mut without = connected();
    without.yaml = without.yaml.replace("tunnel:\n  network: 192.168.255.0/24\n", "");
    let lines = without.yaml.split_inclusive('\n').filter(|line| !line.contains("tunnel: 192"));
    without.yaml = lines.collect();
    assert!(refused(&without).contains("no tunnels"));
}
