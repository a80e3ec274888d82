//! What is there in the beginning, and what is asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use enxame_core::areas::firewall::{self};
use enxame_core::config::Config;
use enxame_core::facts::{
    ClusterFacts, EngineState, FilterFacts, GuardState, NodeFacts, Observed, SwarmFacts,
};
use enxame_core::names::NodeName;
use tokio::time::Instant;

use super::defects::Defect;
use super::faults::Dice;
use super::model::Model;
use super::node::{CONCERNS, Concern, Node};
use super::swarm::{Member, Swarm, Task};

/// What is asked for first; whatever it leaves is then converged on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Apply,
    Drain(NodeName),
    Activate(NodeName),
    Reboot(NodeName),
}

/// How the nodes are in the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The engine runs, and nothing of enxame's is there.
    Prepared,
    /// All three are members; this and that has drifted.
    Drifted,
    /// Everything is as planned.
    Converged,
}

const FOLDER: &str = "../enxame-core/tests/scenarios";

fn base(name: &str) -> ClusterFacts {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join("bases").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The configuration, what converged nodes look like, and what prepared ones do.
pub(in crate::run) fn bases() -> &'static (Config, ClusterFacts, ClusterFacts) {
    static BASES: OnceLock<(Config, ClusterFacts, ClusterFacts)> = OnceLock::new();
    BASES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
        let yaml =
            std::fs::read_to_string(folder.join("a_converged_cluster_needs_nothing/cluster.yaml")).unwrap();
        (Config::parse("cluster.yaml", &yaml).unwrap(), base("converged.json"), base("prepared.json"))
    })
}

/// Something on the way from one to the other: the guard is there, and it is another.
fn drifted(concern: Concern, raw: &NodeFacts, facts: &mut NodeFacts) {
    match concern {
        Concern::Guard => {
            facts.filter.guard = Observed::Known(GuardState::Changed);
        }
        Concern::Ufw => {
            let file = facts.files[firewall::ufw::CONF].clone();
            concern.copy(raw, facts);
            facts.files.insert(firewall::ufw::CONF.to_owned(), file);
        }
        _ => concern.copy(raw, facts),
    }
}

/// What gates look at; they know that a node is a member by its engine or by the file that the model shows.
fn slim(facts: &NodeFacts) -> NodeFacts {
    let mut slim = facts.clone();
    slim.files.clear();
    slim.modules.clear();
    slim.sysctl.clear();
    slim.packages.clear();
    slim.units.clear();
    slim.routes.clear();
    slim.filter = FilterFacts::default();
    if let EngineState::Running { swarm, .. } = &mut slim.engine.state {
        **swarm = SwarmFacts::inactive();
    }
    slim
}

/// The cluster, and what is asked for.
pub(super) fn build(dice: &mut Dice, defect: Option<Defect>) -> (Model, Vec<Verb>) {
    let (config, converged, prepared) = bases();
    let beginning = match dice.below(8) {
        0..=2 => Beginning::Prepared,
        3..=6 => Beginning::Drifted,
        _ => Beginning::Converged,
    };
    let names: Vec<NodeName> = config.nodes.iter().map(|node| node.name.clone()).collect();
    let now = Instant::now();
    let wanted: BTreeMap<NodeName, NodeFacts> =
        converged.iter().map(|(name, facts)| (name.clone(), facts.clone())).collect();
    let mut nodes = BTreeMap::new();
    for name in &names {
        let mut facts = converged[name].clone();
        match beginning {
            Beginning::Prepared => {
                for concern in CONCERNS {
                    concern.copy(&prepared[name], &mut facts);
                }
            }
            Beginning::Drifted => {
                for concern in CONCERNS {
                    if dice.once_in(3) {
                        drifted(concern, &prepared[name], &mut facts);
                    }
                }
            }
            Beginning::Converged => {}
        }
        nodes.insert(name.clone(), Node::new(name, facts));
    }
    let verb = if beginning == Beginning::Prepared { 0 } else { dice.below(4) };
    let node = names[usize::try_from(dice.below(3)).unwrap()].clone();
    let verbs = match verb {
        2 => vec![Verb::Reboot(node), Verb::Apply],
        3 => vec![Verb::Drain(node.clone()), Verb::Activate(node), Verb::Apply],
        _ => vec![Verb::Apply],
    };
    if let [Verb::Reboot(node), ..] = verbs.as_slice() {
        // A node that cannot encrypt is given no tasks after it has booted: that is for `apply` to mend first.
        Concern::Modules.copy(&converged[node], &mut nodes.get_mut(node).unwrap().facts);
    }
    let swarm = (beginning != Beginning::Prepared).then(|| {
        let mut swarm = founded(&names, converged, now);
        if beginning == Beginning::Drifted && dice.once_in(3) {
            swarm.networks.retain(|network| network.is_ingress);
        }
        if beginning == Beginning::Drifted && dice.once_in(3) {
            let member = swarm.members.get_mut(&names[0]).unwrap();
            member.facts.labels.clear();
        }
        // A newcomer; a procedure is about a member.
        if verbs == [Verb::Apply] && dice.once_in(4) {
            swarm.members.remove(&names[1]);
            for task in swarm.tasks.iter_mut().filter(|task| task.node.as_ref() == Some(&names[1])) {
                task.node = Some(names[0].clone());
            }
        }
        swarm
    });
    let slim = wanted.iter().map(|(name, facts)| (name.clone(), slim(facts))).collect();
    let model = Model {
        slim,
        config: config.clone(),
        nodes,
        wanted,
        swarm,
        promised: BTreeMap::new(),
        disturbed: None,
        dice: dice.clone(),
        defect,
        found: Vec::new(),
        trace: vec![format!("{beginning:?}, {verbs:?}")],
        begun: now,
        requests: 0,
        sessions: 0,
        boots_slowly: dice.once_in(4),
    };
    (model, verbs)
}

fn founded(names: &[NodeName], converged: &ClusterFacts, now: Instant) -> Swarm {
    let seen = converged[&names[0]].engine.swarm().unwrap();
    let members = names.iter().map(|name| {
        let id = &converged[name].engine.swarm().unwrap().node_id;
        let facts = seen.nodes.iter().find(|node| node.id == *id).unwrap().clone();
        (name.clone(), Member { facts, since: now })
    });
    let task = |service: &str, node: &NodeName, is_pinned| Task {
        service: service.to_owned(),
        pinned_to: Some(node.clone()).filter(|_| is_pinned),
        node: Some(node.clone()),
        runs_from: now,
    };
    let mut tasks: Vec<Task> = names.iter().map(|name| task("web", name, false)).collect();
    tasks.push(task("db", &names[2], true));
    Swarm { members: members.collect(), networks: seen.networks.clone(), tasks }
}
