//! The cluster of the model: what requests do to it, and what looks show.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use enxame_core::config::Config;
use enxame_core::facts::{
    EngineState, FileFacts, LocalSwarmState, MEMBERSHIP_FILE, NodeFacts, SwarmFacts, SwarmNodeFacts,
};
use enxame_core::names::NodeName;
use tokio::time::Instant;

use super::defects::Defect;
use super::faults::{Blow, Dice};
use super::invariants::Violation;
use super::node::{CONCERNS, Node};
use super::swarm::{Health, Swarm};

/// What the gates cannot have seen yet: a look, and the way of the request.
const SINCE_THE_LOOK: Duration = Duration::from_secs(8);

/// What a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// A plan.
    AtAll,
    /// What must hold before a step or come true after it.
    ForGates,
}

/// The model, and all who move it.
pub(super) type Shared = Rc<RefCell<Model>>;

/// The cluster.
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) nodes: BTreeMap<NodeName, Node>,
    /// What each node's facts are to be in the end.
    pub(super) wanted: BTreeMap<NodeName, NodeFacts>,
    /// The same with nothing that gates do not look at: looks are most of what is done here.
    pub(super) slim: BTreeMap<NodeName, NodeFacts>,
    pub(super) swarm: Option<Swarm>,
    /// How many tasks of each service ran when the plan was made.
    pub(super) promised: BTreeMap<String, usize>,
    /// Whom we disturb.
    pub(super) disturbed: Option<NodeName>,
    pub(super) dice: Dice,
    pub(super) defect: Option<Defect>,
    pub(super) found: Vec<Violation>,
    pub(super) trace: Vec<String>,
    pub(super) begun: Instant,
    /// What acts is counted, over all rounds.
    pub(super) requests: u64,
    pub(super) sessions: u64,
    /// Boots take as long as they may.
    pub(super) boots_slowly: bool,
}

impl Model {
    pub(super) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        let seconds = self.begun.elapsed().as_secs_f32();
        self.trace.push(format!("{seconds:9.2} s  {}", text.into()));
    }

    pub(super) fn violate(&mut self, violation: Violation) {
        self.note(format!("VIOLATION {violation}"));
        self.found.push(violation);
    }

    pub(super) fn node(&mut self, name: &NodeName) -> &mut Node {
        self.nodes.get_mut(name).unwrap()
    }

    fn health(&self) -> BTreeMap<NodeName, Health> {
        let health = |node: &Node| Health {
            is_ready: node.is_ready(),
            down_since: node.down_since,
            engine_up_at: node.engine_up_at,
        };
        self.nodes.iter().map(|(name, node)| (name.clone(), health(node))).collect()
    }

    fn move_tasks(&mut self) -> BTreeMap<NodeName, Health> {
        let health = self.health();
        if let Some(swarm) = &mut self.swarm {
            swarm.move_tasks(&health, &mut self.dice);
        }
        health
    }

    fn voters(&self) -> (usize, usize) {
        let Some(swarm) = &self.swarm else { return (0, 0) };
        let managers = swarm.members.iter().filter(|(_, member)| member.facts.is_manager);
        let voting = managers.clone().filter(|(name, _)| self.nodes[*name].is_heard()).count();
        (voting, managers.count())
    }

    /// Whether a node is a manager that reaches the others.
    pub(super) fn leads(&self, name: &NodeName) -> bool {
        let is_manager = self
            .swarm
            .as_ref()
            .and_then(|swarm| swarm.members.get(name))
            .is_some_and(|one| one.facts.is_manager);
        let (voting, managers) = self.voters();
        is_manager && self.nodes[name].is_heard() && voting > managers / 2
    }

    /// Looks whether a node may be disturbed now, as whoever sees everything would.
    pub(super) fn watch_disturbance(&mut self, name: &NodeName) {
        self.note(format!("disturbing {name}"));
        let health = self.move_tasks();
        let now = Instant::now();
        let Some(swarm) = self.swarm.clone() else { return };
        let Some(own) = swarm.members.get(name) else { return };
        let is_fresh = |node: &Node| now < node.down_since + SINCE_THE_LOOK;
        let managers = swarm.members.iter().filter(|(_, member)| member.facts.is_manager).count();
        if own.facts.is_manager && managers >= 3 {
            let left = swarm.members.iter().filter(|(other, member)| {
                let node = &self.nodes[*other];
                *other != name && member.facts.is_manager && (node.is_heard() || is_fresh(node))
            });
            if left.count() <= managers / 2 {
                self.violate(Violation::BelowQuorum(name.clone()));
            }
        }
        let other = self.disturbed.replace(name.clone()).filter(|other| other != name);
        if let Some(other) =
            other.filter(|other| !self.nodes[other].is_ready() && !is_fresh(&self.nodes[other]))
        {
            self.violate(Violation::TwoDisturbed(other, name.clone()));
        }
        let mut running: BTreeMap<&str, usize> = BTreeMap::new();
        for task in swarm.tasks.iter().filter(|task| Swarm::runs(task, &health)) {
            *running.entry(&task.service).or_default() += 1;
        }
        let lost_just_now = self.nodes.values().any(is_fresh);
        let missing = self
            .promised
            .iter()
            .find(|(service, count)| running.get(service.as_str()).copied().unwrap_or_default() < **count);
        if let Some((service, _)) = missing.filter(|_| !lost_just_now && !own.is_drained()) {
            self.violate(Violation::TasksMissing(name.clone(), service.clone()));
        }
    }

    pub(super) fn blow(&mut self, name: &NodeName, blow: Blow) {
        self.note(format!("{name}: {blow:?}"));
        let heard = self.dice.between(1_000, 8_000);
        let node = self.node(name);
        match blow {
            Blow::EngineDies(lasts) => {
                node.engine_away(lasts, heard);
                node.has_read_config = true;
            }
            Blow::PowerCut(lasts) => node.power_off(lasts, heard),
            Blow::Unreachable(lasts) => {
                node.unreachable_until = node.unreachable_until.max(Instant::now() + lasts);
            }
        }
    }

    /// What a look at a node shows.
    pub(super) fn facts(&mut self, name: &NodeName, what: Looked) -> NodeFacts {
        let health = self.move_tasks();
        let leads = self.leads(name);
        let node = &self.nodes[name];
        let mut facts = match what {
            Looked::AtAll => node.facts.clone(),
            Looked::ForGates => NodeFacts { esp: node.facts.esp.clone(), ..self.slim[name].clone() },
        };
        facts.volatile.boot_id = node.boot_id();
        facts.filter.unconfirmed = node.armed.as_ref().map(|armed| armed.change.to_string());
        facts.interrupted = node
            .open
            .iter()
            .map(|change| enxame_core::facts::InterruptedChange {
                change: change.to_string(),
                operator: String::new(),
            })
            .collect();
        if self.has(Defect::InterruptionForgotten) {
            facts.interrupted.clear();
        }
        let member = self.swarm.as_ref().and_then(|swarm| swarm.members.get(name));
        let state = if member.is_some() {
            self.wanted[name].files[MEMBERSHIP_FILE].clone()
        } else {
            FileFacts::Absent
        };
        facts.files.insert(MEMBERSHIP_FILE.to_owned(), state);
        if !node.has_engine() {
            facts.engine.state = EngineState::NotAnswering("connection refused".to_owned());
            return facts;
        }
        let EngineState::Running { swarm: seen, .. } = &mut facts.engine.state else { return facts };
        let (Some(swarm), Some(_)) = (&self.swarm, member) else {
            **seen = SwarmFacts::inactive();
            return facts;
        };
        let whole = self.wanted[name].engine.swarm().unwrap().clone();
        **seen = SwarmFacts { nodes: Vec::new(), networks: Vec::new(), ..whole };
        seen.local = LocalSwarmState::Active;
        seen.is_manager_with_quorum = leads;
        if !leads {
            seen.settings = None;
            return facts;
        }
        seen.nodes = swarm.members.iter().map(|(other, member)| self.seen(other, &member.facts)).collect();
        seen.networks.clone_from(&swarm.networks);
        facts.volatile.workloads = Some(swarm.workloads(&health));
        facts
    }

    /// Every manager tells what the leader sees.
    fn seen(&self, name: &NodeName, facts: &SwarmNodeFacts) -> SwarmNodeFacts {
        let node = &self.nodes[name];
        let is_missed = !self.has(Defect::QuorumCountedWrongly);
        let state = if node.is_ready() || !is_missed { "ready" } else { "down" };
        let reachability = if node.is_heard() || !is_missed { "reachable" } else { "unreachable" };
        let reachability = if facts.is_manager { reachability } else { "" };
        SwarmNodeFacts { state: state.to_owned(), reachability: reachability.to_owned(), ..facts.clone() }
    }

    /// What is not as it is to be, in truth.
    pub(super) fn amiss(&self) -> Option<String> {
        for (name, node) in &self.nodes {
            for concern in CONCERNS {
                let mut there = node.facts.clone();
                concern.copy(&self.wanted[name], &mut there);
                if there != node.facts {
                    return Some(format!("{name}: {concern:?}"));
                }
            }
            if !node.has_read_config {
                return Some(format!("{name}: its engine has not read its file"));
            }
            let Some(swarm) = &self.swarm else { return Some("no swarm".to_owned()) };
            match swarm.members.get(name) {
                None => return Some(format!("{name}: no member")),
                Some(member) if member.is_drained() => return Some(format!("{name}: drained")),
                Some(member) if !member.facts.is_manager => return Some(format!("{name}: no manager")),
                Some(_) => {}
            }
        }
        None
    }
}
