//! The planner's order, over registries that no one wrote.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::*;
use crate::areas::machine::kernel_modules::KernelModules;
use crate::change::{Kind, Risk};
use crate::declare::{Declaration, SwarmFate};
use crate::facts::blank::blank;
use crate::names::NodeName;

/// A resource that is all data.
#[derive(Clone, Debug)]
struct Synthetic {
    kind: Kind,
    /// Leaked: a real one's is a constant.
    after: &'static [Kind],
    scope: Scope,
    /// The risks of its drafts, by node; for the cluster, the first node's.
    drafts: Vec<Vec<Risk>>,
}

impl Declare for Synthetic {
    fn kind(&self) -> Kind {
        self.kind.clone()
    }

    fn section(&self) -> &'static str {
        "0"
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn after(&self) -> &'static [Kind] {
        self.after
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery::default()
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let place = view.config.nodes.iter().position(|node| node.name == view.node.name).unwrap();
        let risks = match self.scope {
            Scope::Node => &self.drafts[place],
            Scope::Cluster => &self.drafts[0],
        };
        let drafts = risks.iter().enumerate().map(|(item, risk)| {
            let draft =
                Draft::new("do", "it differs", nothing()).item(item.to_string()).risking(risk.clone());
            match self.scope {
                Scope::Node => draft,
                // Joins act on another node than the one that declares them.
                Scope::Cluster => draft.on(&view.config.nodes[item % view.config.nodes.len()].name),
            }
        });
        Declaration { drafts: drafts.collect(), findings: Vec::new() }
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        Declaration::nothing()
    }
}

/// What a change does is all the same to its place.
fn nothing() -> crate::areas::machine::hosts::Action {
    crate::areas::machine::hosts::Action { lines: String::new() }
}

fn leaked(kinds: &[usize]) -> &'static [Kind] {
    Box::leak(kinds.iter().map(|index| kind(*index)).collect())
}

fn kind(index: usize) -> Kind {
    Kind(format!("kind{index}").into())
}

fn config(nodes: usize, founder: usize) -> Config {
    let mut text = "version: 1\ncluster: c\nnodes:\n".to_owned();
    for index in 0..nodes {
        let (last, leads) = (index + 1, index == founder);
        writeln!(text, "  - {{name: n{index}, address: 203.0.113.{last}, preferred_leader: {leads}}}")
            .unwrap();
    }
    Config::parse("c", &text).unwrap()
}

fn facts(config: &Config) -> ClusterFacts {
    config.nodes.iter().map(|node| (node.name.clone(), blank())).collect()
}

fn risk() -> impl Strategy<Value = Risk> {
    prop_oneof![
        3 => Just(Risk::Safe),
        1 => Just(Risk::Restarts("x".into())),
        2 => Just(Risk::Disruptive("y".into())),
    ]
}

/// A resource that comes after some of those with a lower number and its own scope.
fn resource(index: usize, scopes: &[Scope], nodes: usize) -> impl Strategy<Value = Synthetic> + use<> {
    let scope = scopes[index];
    // The cluster's own stand in the registry's order, behind the nodes' in any case.
    let alike = |before: &usize| scope == Scope::Node && scopes[*before] == Scope::Node;
    let before: Vec<usize> = (0..index).filter(alike).collect();
    let count = before.len();
    let drafts = prop::collection::vec(prop::collection::vec(risk(), 0..3), nodes);
    (subsequence(before, 0..=count), drafts).prop_map(move |(before, drafts)| Synthetic {
        kind: kind(index),
        after: leaked(&before),
        scope,
        drafts,
    })
}

/// A cluster and resources in an order of the registry that has nothing to do with what they come after.
fn worlds() -> impl Strategy<Value = (Config, Vec<Synthetic>)> {
    let scope = prop_oneof![3 => Just(Scope::Node), 1 => Just(Scope::Cluster)];
    let scopes = prop::collection::vec(scope, 1..8);
    (1..5_usize, scopes, any::<Index>()).prop_flat_map(|(nodes, scopes, founder)| {
        let resources: Vec<_> = (0..scopes.len()).map(|index| resource(index, &scopes, nodes)).collect();
        (Just(config(nodes, founder.index(nodes))), resources.prop_shuffle())
    })
}

fn made(config: &Config, resources: &[Synthetic]) -> Result<Plan, PlanError> {
    let registry: Vec<&dyn Declare> = resources.iter().map(|one| one as &dyn Declare).collect();
    make(config, &facts(config), None, &registry)
}

fn place(plan: &Plan, id: &ChangeId) -> usize {
    plan.changes.iter().position(|change| &change.id == id).unwrap()
}

/// Whether `later` comes after `earlier`, directly or through others.
fn follows(resources: &[Synthetic], later: &Kind, earlier: &Kind) -> bool {
    let after = resources.iter().find(|one| &one.kind == later).map_or(&[][..], |one| one.after);
    after.iter().any(|before| before == earlier || follows(resources, before, earlier))
}

proptest! {
    #[test]
    fn every_draft_becomes_one_change((config, resources) in worlds()) {
        let plan = made(&config, &resources).unwrap();
        let mut found: Vec<String> = plan.changes.iter().map(|change| change.id.to_string()).collect();
        let mut wanted = Vec::new();
        for one in &resources {
            for (place, risks) in one.drafts.iter().enumerate() {
                for item in 0..risks.len() {
                    match one.scope {
                        Scope::Node => wanted.push(format!("n{place}/{}/{item}", one.kind)),
                        Scope::Cluster if place == 0 => {
                            wanted.push(format!("n{}/{}/{item}", item % config.nodes.len(), one.kind));
                        }
                        Scope::Cluster => {}
                    }
                }
            }
        }
        found.sort();
        wanted.sort();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn a_change_stands_behind_all_it_comes_after((config, resources) in worlds()) {
        let plan = made(&config, &resources).unwrap();
        for (index, change) in plan.changes.iter().enumerate() {
            for before in change.after.iter().chain(&change.behind) {
                prop_assert!(place(&plan, before) < index, "{} before {}", change.id, before);
            }
        }
    }

    #[test]
    fn on_a_node_the_kinds_order_is_kept((config, resources) in worlds()) {
        let plan = made(&config, &resources).unwrap();
        let is_of_node =
            |kind: &Kind| resources.iter().any(|one| &one.kind == kind && one.scope == Scope::Node);
        for (index, change) in plan.changes.iter().enumerate().filter(|(_, one)| is_of_node(&one.kind)) {
            for later in plan.changes.iter().skip(index).filter(|one| one.node == change.node) {
                prop_assert!(!follows(&resources, &change.kind, &later.kind), "{} {}", change.id, later.id);
                if follows(&resources, &later.kind, &change.kind) && is_of_node(&later.kind) {
                    prop_assert!(later.after.contains(&change.id));
                }
            }
        }
    }

    #[test]
    fn nodes_are_disturbed_one_after_the_other_and_the_founder_last((config, resources) in worlds()) {
        let plan = made(&config, &resources).unwrap();
        let is_of_node =
            |kind: &Kind| resources.iter().any(|one| &one.kind == kind && one.scope == Scope::Node);
        let disruptive: Vec<&Change> = plan
            .changes
            .iter()
            .filter(|one| matches!(one.risk, Risk::Disruptive(_)) && is_of_node(&one.kind))
            .collect();
        for pair in disruptive.windows(2) {
            let before = pair[1].after.iter().chain(&pair[1].behind).any(|id| *id == pair[0].id);
            prop_assert!(before, "{} beside {}", pair[1].id, pair[0].id);
        }
        let mut nodes: Vec<&NodeName> = disruptive.iter().map(|change| &change.node).collect();
        nodes.dedup();
        let founder = &config.founder().unwrap().name;
        let mut wanted: Vec<&NodeName> = config.nodes.iter().map(|node| &node.name).collect();
        wanted.sort_by_key(|name| *name == founder);
        wanted.retain(|name| nodes.contains(name));
        prop_assert_eq!(nodes, wanted);
    }

    #[test]
    fn the_clusters_changes_have_their_turns_one_by_one_and_need_only_the_nodes_they_are_about(
        (config, resources) in worlds(),
    ) {
        let plan = made(&config, &resources).unwrap();
        let of_cluster: Vec<&Kind> =
            resources.iter().filter(|one| one.scope == Scope::Cluster).map(|one| &one.kind).collect();
        let cluster: Vec<&Change> =
            plan.changes.iter().filter(|change| of_cluster.contains(&&change.kind)).collect();
        for pair in cluster.windows(2) {
            let before = pair[1].after.iter().chain(&pair[1].behind).any(|id| *id == pair[0].id);
            prop_assert!(before, "{} beside {}", pair[1].id, pair[0].id);
        }
        for change in &cluster {
            for before in &change.after {
                let before = &plan.changes[place(&plan, before)];
                if of_cluster.contains(&&before.kind) {
                    prop_assert!(follows(&resources, &change.kind, &before.kind));
                } else {
                    prop_assert_eq!(&before.node, &change.node);
                }
            }
            // All of its own node's.
            let of_node = plan.changes.iter().filter(|one| !of_cluster.contains(&&one.kind));
            for one in of_node.filter(|one| one.node == change.node) {
                prop_assert!(change.after.contains(&one.id), "{} without {}", change.id, one.id);
            }
        }
        let mut kinds: Vec<&Kind> = cluster.iter().map(|change| &change.kind).collect();
        kinds.dedup();
        let wanted: Vec<&Kind> = of_cluster.into_iter().filter(|kind| kinds.contains(kind)).collect();
        prop_assert_eq!(kinds, wanted);
    }

    #[test]
    fn planning_twice_gives_the_same_bytes((config, resources) in worlds()) {
        let json = |plan: &Plan| serde_json::to_string(plan).unwrap();
        let plan = made(&config, &resources).unwrap();
        prop_assert_eq!(json(&plan), json(&made(&config, &resources).unwrap()));
        let back: Plan = serde_json::from_str(&json(&plan)).unwrap();
        prop_assert_eq!(back, plan);
    }

    #[test]
    fn an_order_that_goes_round_is_refused(
        (config, mut resources) in worlds(),
        length in 1..4_usize,
        risk in risk(),
        at in any::<Index>(),
    ) {
        // A ring of new kinds, each after the next; one of them has something to do.
        let start = resources.len();
        for step in 0..length {
            let mut drafts = vec![Vec::new(); config.nodes.len()];
            if step == at.index(length) {
                drafts[0].push(risk.clone());
            }
            let after = leaked(&[start + (step + 1) % length]);
            resources.push(Synthetic { kind: kind(start + step), after, scope: Scope::Node, drafts });
        }
        let guilty = ChangeId(format!("n0/{}/0", kind(start + at.index(length))));
        prop_assert!(matches!(made(&config, &resources), Err(PlanError::Cycle(_))), "{guilty}");
    }
}

#[test]
fn two_changes_of_one_name_are_refused() {
    let config = config(1, 0);
    let one = Synthetic { kind: kind(0), after: &[], scope: Scope::Node, drafts: vec![vec![Risk::Safe]] };
    let id = ChangeId("n0/kind0/0".to_owned());
    assert!(matches!(made(&config, &[one.clone(), one]), Err(PlanError::Twice(twice)) if twice == id));
}

#[test]
fn a_node_that_does_not_answer_keeps_no_plan_from_the_others() {
    let config = config(3, 0);
    let mut facts = facts(&config);
    facts.insert_hole(config.nodes[1].name.clone(), "no route to host");
    let resource =
        Synthetic { kind: kind(0), after: &[], scope: Scope::Node, drafts: vec![vec![Risk::Safe]; 3] };
    let plan = make(&config, &facts, None, &[&resource]).unwrap();
    let nodes: Vec<&str> = plan.changes.iter().map(|change| change.node.as_str()).collect();
    assert_eq!(nodes, ["n0", "n2"]);
}

#[test]
fn the_digest_moves_with_the_facts_and_not_with_time() {
    let config = config(2, 0);
    let still = facts(&config);
    let mut later = still.clone();
    for node in later.values_mut() {
        node.volatile.clock_unix_ms += 1;
        node.volatile.round_trip_us.insert(config.nodes[0].address, Some(7));
    }
    let mut moved = still.clone();
    moved.values_mut().last().unwrap().hostname = "other".to_owned();
    let digest = |facts| make(&config, facts, None, &[]).unwrap().facts;
    assert_eq!(digest(&still), digest(&later));
    assert_ne!(digest(&still), digest(&moved));
}

/// What is said of a machine that is otherwise well.
fn said_of(change: impl Fn(&mut NodeFacts)) -> Vec<String> {
    let config = config(3, 0);
    let mut facts = facts(&config);
    facts.values_mut().take(1).for_each(change);
    let found = checks::all(&config, &facts).into_iter();
    found.filter(|finding| finding.severity == Severity::Error).map(|finding| finding.message).collect()
}

#[test]
fn what_was_sold_as_512_mib_is_enough_and_half_of_it_is_not() {
    let with = |mib: u64| said_of(|node| node.hardware.memory_bytes = mib << 20);
    assert_eq!(with(470), with(4096));
    assert!(with(256).iter().any(|message| message == "has 256 MiB of memory"));
    assert_eq!(with(0), with(4096), "what could not be read is not too little");
}

#[test]
fn a_container_that_was_taken_for_a_machine_is_refused() {
    let said = said_of(|node| node.kernel.shared = Some("CAP_SYS_MODULE is kept from its root".to_owned()));
    assert!(said.iter().any(|message| message.starts_with("is a container and no machine: CAP_SYS_MODULE")));
}

#[test]
fn a_kernel_whose_modules_are_gone_is_to_be_booted_anew_and_gets_no_package() {
    let config = config(3, 0);
    let all = facts(&config);
    let node = &config.nodes[0];
    for distribution in ["debian", "ubuntu"] {
        let mut facts = all[&node.name].clone();
        facts.os.id = distribution.to_owned();
        facts.kernel.modules_are_gone = true;
        let declared = KernelModules.declare(&View { config: &config, all: &all, node, facts: &facts });
        let [finding] = &declared.findings[..] else { panic!("{declared:?}") };
        assert!(declared.drafts.is_empty() && finding.hint.contains("reboot the server"), "{finding:?}");
    }
}
