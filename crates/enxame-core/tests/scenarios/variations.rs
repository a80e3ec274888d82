//! Whatever the facts are, the planner with the real registry makes a plan of them, and the same one every time.

use std::collections::BTreeSet;

use enxame_core::areas;
use enxame_core::change::{ChangeId, Kind};
use enxame_core::config::Config;
use enxame_core::declare::Scope;
use enxame_core::facts::{
    ClusterFacts, EngineState, FileFacts, LocalSwarmState, ModuleState, NodeFacts, Observed, SwarmFacts,
};
use enxame_core::plan;
use enxame_core::version::EngineVersion;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{directory, facts};

/// One thing that is otherwise on one node than in the base.
#[derive(Clone, Debug)]
enum Variation {
    File(Index, FileFacts),
    Module(Index, ModuleState),
    Package(Index, Option<String>),
    Sysctl(Index, Option<String>),
    Unit(Index),
    PathMtu(Index, Observed<u32>),
    NoRoute(Index),
    Esp(Observed<bool>),
    Engine(EngineState),
    Version(EngineVersion),
    Local(LocalSwarmState),
    Quorum(bool),
    NodeId(String),
    SeenNode(Index, bool, String),
    Network(Index, bool, Option<u32>),
    NoNetwork(Index),
    Publishing(Vec<String>),
    Hostname(String),
    MachineId(String),
}

fn file() -> impl Strategy<Value = FileFacts> {
    let text = prop_oneof![
        ".{0,40}",
        "(# BEGIN enxame|# END enxame|127.0.0.1 kvm8-core|\\{\\}|\\[\\]|\n|\r){0,6}",
        Just("{\"log-driver\": \"local\", \"log-opts\": 7}".to_owned()),
    ];
    prop_oneof![
        Just(FileFacts::Absent),
        Just(FileFacts::Unreadable("it is a directory".to_owned())),
        (text, 0..0o1000_u32).prop_map(|(content, mode)| FileFacts::Text { content, mode, uid: 0, gid: 0 }),
    ]
}

fn variation() -> impl Strategy<Value = Variation> {
    let index = any::<Index>;
    let word = || "[a-z0-9.]{0,5}";
    let module = select(vec![ModuleState::Loaded, ModuleState::Loadable, ModuleState::Missing]);
    let local = select(vec![
        LocalSwarmState::Inactive,
        LocalSwarmState::Pending,
        LocalSwarmState::Active,
        LocalSwarmState::Error,
        LocalSwarmState::Locked,
    ]);
    let mtu = || prop_oneof![Just(0_u32), Just(1400), Just(1500), any::<u32>()];
    let version = (20..30_u32, 0..5_u32, 0..5_u32);
    let observed =
        || prop_oneof![mtu().prop_map(Observed::Known), Just(Observed::Unknown("no echo".to_owned()))];
    let engine =
        select(vec![EngineState::Absent, EngineState::NotAnswering("dockerd is not running".to_owned())]);
    let esp = prop_oneof![any::<bool>().prop_map(Observed::Known), Just(Observed::Unknown(String::new()))];
    prop_oneof![
        (index(), file()).prop_map(|(at, file)| Variation::File(at, file)),
        (index(), module).prop_map(|(at, state)| Variation::Module(at, state)),
        (index(), prop::option::of(word())).prop_map(|(at, version)| Variation::Package(at, version)),
        (index(), prop::option::of(word())).prop_map(|(at, value)| Variation::Sysctl(at, value)),
        index().prop_map(Variation::Unit),
        (index(), observed()).prop_map(|(at, mtu)| Variation::PathMtu(at, mtu)),
        index().prop_map(Variation::NoRoute),
        esp.prop_map(Variation::Esp),
        engine.prop_map(Variation::Engine),
        version.prop_map(|(major, minor, patch)| Variation::Version(EngineVersion { major, minor, patch })),
        local.prop_map(Variation::Local),
        any::<bool>().prop_map(Variation::Quorum),
        word().prop_map(Variation::NodeId),
        (index(), any::<bool>(), word()).prop_map(|(at, manager, id)| Variation::SeenNode(at, manager, id)),
        (index(), any::<bool>(), prop::option::of(mtu()))
            .prop_map(|(at, encrypted, mtu)| Variation::Network(at, encrypted, mtu)),
        index().prop_map(Variation::NoNetwork),
        prop::collection::vec(word(), 0..3).prop_map(Variation::Publishing),
        word().prop_map(Variation::Hostname),
        word().prop_map(Variation::MachineId),
    ]
}

fn pick<'a, T>(items: impl Iterator<Item = &'a mut T>, at: Index) -> Option<&'a mut T> {
    let mut items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| items.swap_remove(at.index(items.len())))
}

fn swarm(node: &mut NodeFacts) -> Option<&mut SwarmFacts> {
    match &mut node.engine.state {
        EngineState::Running { swarm, .. } => Some(swarm),
        EngineState::Absent | EngineState::NotAnswering(_) => None,
    }
}

fn vary(node: &mut NodeFacts, variation: Variation) {
    match variation {
        Variation::File(at, new) => *pick(node.files.values_mut(), at).unwrap() = new,
        Variation::Module(at, new) => *pick(node.modules.values_mut(), at).unwrap() = new,
        Variation::Package(at, new) => pick(node.packages.values_mut(), at).unwrap().installed = new,
        Variation::Sysctl(at, new) => *pick(node.sysctl.values_mut(), at).unwrap() = new,
        Variation::Unit(at) => {
            *pick(node.units.values_mut(), at).unwrap() = enxame_core::facts::UnitFacts::default();
        }
        Variation::PathMtu(at, new) => {
            if let Observed::Known(route) = pick(node.routes.values_mut(), at).unwrap() {
                route.path_mtu_bytes = new;
            }
        }
        Variation::NoRoute(at) => {
            *pick(node.routes.values_mut(), at).unwrap() = Observed::Unknown("unreachable".to_owned());
        }
        Variation::Esp(new) => node.esp = new,
        Variation::Engine(new) => node.engine.state = new,
        Variation::Version(new) => {
            if let EngineState::Running { version, version_text, .. } = &mut node.engine.state {
                (*version, *version_text) = (Some(new), new.to_string());
            }
        }
        Variation::Hostname(new) => node.hostname = new,
        Variation::MachineId(new) => node.machine_id = new,
        of_swarm => {
            if let Some(swarm) = swarm(node) {
                vary_swarm(swarm, of_swarm);
            }
        }
    }
}

fn vary_swarm(swarm: &mut SwarmFacts, variation: Variation) {
    match variation {
        Variation::Local(new) => swarm.local = new,
        Variation::Quorum(new) => swarm.is_manager_with_quorum = new,
        Variation::NodeId(new) => swarm.node_id = new,
        Variation::SeenNode(at, is_manager, id) => {
            if let Some(seen) = pick(swarm.nodes.iter_mut(), at) {
                (seen.is_manager, seen.id) = (is_manager, id);
            }
        }
        Variation::Network(at, is_encrypted, underlay_mtu_bytes) => {
            if let Some(network) = pick(swarm.networks.iter_mut(), at) {
                (network.is_encrypted, network.underlay_mtu_bytes) = (is_encrypted, underlay_mtu_bytes);
            }
        }
        Variation::NoNetwork(at) if !swarm.networks.is_empty() => {
            swarm.networks.remove(at.index(swarm.networks.len()));
        }
        Variation::Publishing(new) => swarm.services_publishing_through_ingress = new,
        _ => {}
    }
}

fn clusters() -> impl Strategy<Value = (Config, ClusterFacts)> {
    let text =
        |scenario: &str, file: &str| std::fs::read_to_string(directory().join(scenario).join(file)).unwrap();
    let bases: Vec<(Config, ClusterFacts)> = [
        "a_bare_cluster_gets_everything_from_docker",
        "a_prepared_cluster_is_founded_in_order",
        "a_converged_cluster_needs_nothing",
        "an_ipv6_cluster_leaves_room_for_the_longer_header",
    ]
    .into_iter()
    .map(|name| {
        let config = Config::parse("cluster.yaml", &text(name, "cluster.yaml")).unwrap();
        (config, facts::read(&directory(), &directory().join(name).join("facts.json")))
    })
    .collect();
    let variations = prop::collection::vec((any::<Index>(), variation()), 0..12);
    (select(bases), variations).prop_map(|((config, mut facts), variations)| {
        for (node, variation) in variations {
            vary(pick(facts.values_mut(), node).unwrap(), variation);
        }
        (config, facts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_facts_give_one_plan_in_a_possible_order((config, facts) in clusters()) {
        let registry = areas::resources();
        let plan = plan::make(&config, &facts, None, registry).unwrap();
        let again = plan::make(&config, &facts, None, registry).unwrap();
        prop_assert_eq!(serde_json::to_string(&plan).unwrap(), serde_json::to_string(&again).unwrap());
        let mut done: BTreeSet<&ChangeId> = BTreeSet::new();
        for change in &plan.changes {
            for before in &change.after {
                prop_assert!(done.contains(before), "{} stands before {before}", change.id);
            }
            prop_assert!(done.insert(&change.id), "{} stands there twice", change.id);
            prop_assert!(facts.get(&change.node).is_some());
        }
    }

    #[test]
    fn what_changes_by_itself_changes_nothing_in_the_plan((config, facts) in clusters(), ms in 1..100_u64) {
        let registry = areas::resources();
        let mut later = facts.clone();
        for (index, node) in (0..).zip(later.values_mut()) {
            node.volatile.clock_unix_ms += ms * index;
            node.volatile.memory_available_bytes /= 2;
            node.volatile.round_trip_us.values_mut().for_each(|time| *time = time.map(|us| us + ms));
        }
        let plan = plan::make(&config, &facts, None, registry).unwrap();
        prop_assert_eq!(plan, plan::make(&config, &later, None, registry).unwrap());
    }
}

/// The planner puts the cluster's changes behind all nodes' and in the registry's order, so that is the only order
/// they may ask for.
#[test]
fn the_registry_asks_for_no_order_that_the_planner_does_not_keep() {
    let registry = areas::resources();
    let place = |kind: &Kind| registry.iter().position(|one| one.kind() == *kind).unwrap();
    for (index, one) in registry.iter().enumerate() {
        for before in one.after() {
            let before_scope = registry[place(before)].scope();
            match one.scope() {
                Scope::Node => assert_eq!(before_scope, Scope::Node, "{} after {before}", one.kind()),
                Scope::Cluster if before_scope == Scope::Cluster => {
                    assert!(place(before) < index, "{} after {before}", one.kind());
                }
                Scope::Cluster => {}
            }
        }
    }
}
