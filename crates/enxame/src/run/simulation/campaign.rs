//! One case after the other: ask, carry out, be killed, ask again, until it is settled.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use enxame_core::change::{Change, ChangeId, Risk};
use enxame_core::facts::ClusterFacts;
use enxame_core::gate;
use enxame_core::limits::DEAD_MAN;
use enxame_core::names::NodeName;
use enxame_core::plan::{self, Plan, Unfinished, check_absence};
use enxame_core::procedures::{self, ProcedureError};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::super::{Event, Materials, Outcome, Outcomes, Run};
use super::defects::Defect;
use super::faults::{Dice, Faults};
use super::invariants::Violation;
use super::model::{Looked, Model, Shared};
use super::node::Concern;
use super::operator::Operator;
use super::scenario::{Verb, build};
use crate::transport::TransportError;

/// How often somebody asks before it is taken for endless. A round in which somebody waits changes nothing.
const ROUNDS: usize = 100;
/// What the way back may take after the dead-man switch's time.
const WAY_BACK: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_secs(30);

/// What is tried.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) faults: Faults,
    pub(super) defect: Option<Defect>,
}

impl Case {
    /// Everything from the seed.
    pub(super) fn of(seed: u64) -> Self {
        let faults =
            if seed.is_multiple_of(16) { Faults::default() } else { Faults::thrown(&mut Dice::of(!seed)) };
        Self { seed, faults, defect: None }
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) found: Vec<Violation>,
    pub(super) trace: Vec<String>,
    pub(super) requests: u64,
    pub(super) rounds: usize,
}

/// Runs a case, on a clock of its own that stands while anybody works.
pub(super) fn run(case: &Case) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (model, verbs) = build(&mut Dice::of(case.seed), case.defect);
        let model = Rc::new(RefCell::new(model));
        for (after, place, blow) in case.faults.blows.clone() {
            let model = model.clone();
            tokio::task::spawn_local(async move {
                sleep(after).await;
                let name = model.borrow().config.nodes[place].name.clone();
                model.borrow_mut().blow(&name, blow);
            });
        }
        tokio::task::spawn_local(watch(model.clone()));
        let faults = Rc::new(RefCell::new(case.faults.clone()));
        let mut campaign = Campaign {
            model: model.clone(),
            faults,
            verbs: verbs.into(),
            is_calm: case.faults.none_at_all(),
            reboots: None,
        };
        let mut rounds = 0;
        let settled = loop {
            match campaign.round().await {
                Step::Settled => break true,
                Step::Again => {}
                Step::After(pause) => sleep(pause).await,
            }
            rounds += 1;
            if rounds > ROUNDS || !model.borrow().found.is_empty() {
                break false;
            }
        };
        if settled {
            let amiss = model.borrow().amiss();
            if let Some(amiss) = amiss {
                model.borrow_mut().violate(Violation::SaidSettled(amiss));
            }
            sleep(DEAD_MAN + WAY_BACK).await;
            model.borrow_mut().watch_nodes();
            let locked =
                model.borrow().nodes.values().find(|node| node.lock.is_some()).map(|node| node.name.clone());
            if let Some(node) = locked {
                model.borrow_mut().violate(Violation::LockTaken(node));
            }
        } else if model.borrow().found.is_empty() {
            let amiss = model.borrow().amiss().unwrap_or_else(|| "nothing is amiss".to_owned());
            model.borrow_mut().violate(Violation::NeverSettles(amiss));
        }
        let mut model = model.borrow_mut();
        let (found, trace) = (std::mem::take(&mut model.found), std::mem::take(&mut model.trace));
        Report { found, trace, requests: model.requests, rounds }
    })
}

async fn watch(model: Shared) {
    loop {
        sleep(Duration::from_secs(10)).await;
        model.borrow_mut().watch_nodes();
    }
}

impl Model {
    /// Nobody is locked out for longer than the node waits, and no guard is lost.
    fn watch_nodes(&mut self) {
        let is_locked = |node: &&super::node::Node| {
            node.is_up() && node.cut_since.is_some_and(|since| since.elapsed() > DEAD_MAN + WAY_BACK)
        };
        let locked = self.nodes.values().find(is_locked).map(|node| Violation::Locked(node.name.clone()));
        let open = self.nodes.values().find(|node| node.was_guarded && !node.is_guarded());
        let open = open.map(|node| Violation::Open(node.name.clone()));
        for violation in locked.into_iter().chain(open) {
            if !self.found.contains(&violation) {
                self.violate(violation);
            }
        }
    }
}

enum Step {
    Settled,
    Again,
    After(Duration),
}

struct Campaign {
    model: Shared,
    faults: Rc<RefCell<Faults>>,
    verbs: std::collections::VecDeque<Verb>,
    is_calm: bool,
    /// How often the node that is to boot had booted before.
    reboots: Option<u64>,
}

impl Campaign {
    fn note(&self, text: impl Into<String>) {
        self.model.borrow_mut().note(text);
    }

    async fn round(&mut self) -> Step {
        let operator = Operator::new(&self.model, &self.faults);
        let Ok(mut facts) = self.look(&operator).await else { return Step::After(PAUSE) };
        if self.model.borrow().has(Defect::WithheldIgnored) {
            facts = facts.iter().map(|(name, facts)| (name.clone(), facts.clone())).collect();
        }
        let config = self.model.borrow().config.clone();
        if check_absence(&config, &facts, &[]).is_err() && !self.model.borrow_mut().dice.once_in(2) {
            self.note("somebody does not answer: waiting");
            return Step::After(PAUSE);
        }
        let plan = match self.planned(&facts) {
            Ok(plan) => plan,
            Err(step) => return step,
        };
        self.model.borrow_mut().promised = gate::running_now(&facts);
        for node in self.model.borrow_mut().nodes.values_mut() {
            node.done.clear();
        }
        self.note(format!("{} changes, {} withheld", plan.changes.len(), plan.withheld.len()));
        let Some(outcomes) = self.carried_out(&operator, &plan).await else {
            self.note("the operator is killed");
            drop(operator);
            let pause = self.model.borrow_mut().dice.between(0, 60_000);
            return Step::After(pause);
        };
        self.judge(&plan, &outcomes);
        let is_verb_done = outcomes.values().all(|outcome| *outcome == Outcome::Done);
        if self.verbs.len() > 1 && is_verb_done {
            self.verbs.pop_front();
            self.reboots = None;
        }
        self.settle(&operator).await;
        if is_verb_done { Step::Again } else { Step::After(PAUSE) }
    }

    /// Connects, locks and looks. An error is somebody who refuses.
    async fn look(&self, operator: &Operator) -> Result<ClusterFacts, ()> {
        let names: Vec<NodeName> = self.model.borrow().nodes.keys().cloned().collect();
        let looks = names.into_iter().map(|name| async {
            let seen = match operator.connect(&name).await {
                Ok(()) => operator.gather(&name, Looked::AtAll).await,
                Err(error) => Err(error),
            };
            (name, seen)
        });
        let mut facts = ClusterFacts::default();
        for (name, seen) in futures::future::join_all(looks).await {
            match seen {
                Ok(seen) => facts.insert(name, seen),
                Err(TransportError::Failed(failure)) => {
                    self.note(format!("{name} refuses: {}", failure.causes.join(": ")));
                    return Err(());
                }
                Err(error) => facts.insert_hole(name, error.to_string()),
            }
        }
        Ok(facts)
    }

    /// The plan to carry out; or how it goes on without one.
    fn planned(&mut self, facts: &ClusterFacts) -> Result<Plan, Step> {
        let verb = self.verbs.front().cloned().unwrap_or(Verb::Apply);
        let model = self.model.clone();
        let config = &model.borrow().config.clone();
        let made = plan::make(config, facts, None, enxame_core::areas::resources());
        let made = made.map_err(|error| {
            self.model.borrow_mut().violate(Violation::NoPlan(error.to_string()));
            Step::After(PAUSE)
        })?;
        let now = 1_760_000_000;
        let planned = match &verb {
            Verb::Apply => Ok(made),
            Verb::Drain(node) => procedures::drain(config, facts, node, now),
            Verb::Activate(node) => procedures::activate(config, facts, node),
            Verb::Reboot(node) if self.has_rebooted(node, &made) => Ok(Plan { changes: Vec::new(), ..made }),
            Verb::Reboot(node) => procedures::reboot(config, facts, node, now),
        };
        let mut plan = match planned {
            Ok(plan) => plan,
            Err(ProcedureError::NoManager | ProcedureError::Unreachable(..)) => {
                return Err(Step::After(PAUSE));
            }
            Err(error) => {
                self.model.borrow_mut().violate(Violation::NoPlan(error.to_string()));
                return Err(Step::After(PAUSE));
            }
        };
        self.spoil(&mut plan);
        if plan.is_refused() {
            let why: Vec<&str> = plan.findings.iter().map(|finding| finding.message.as_str()).collect();
            self.note(format!("refused: {}", why.join("; ")));
            return Err(Step::After(PAUSE));
        }
        if !plan.is_empty() {
            return Ok(plan);
        }
        if verb != Verb::Apply {
            self.verbs.pop_front();
            self.reboots = None;
            return Err(Step::Again);
        }
        if plan.is_settled() {
            return Err(Step::Settled);
        }
        for Unfinished { node, verb, .. } in &plan.unfinished {
            let verb =
                if verb == "reboot" { Verb::Reboot(node.clone()) } else { Verb::Activate(node.clone()) };
            self.note(format!("unfinished: {verb:?}"));
            self.verbs.push_front(verb);
        }
        Err(Step::After(PAUSE))
    }

    /// Whether nothing is left to ask of a reboot: it has booted since it was asked for first, and is no longer drained.
    fn has_rebooted(&mut self, node: &NodeName, plan: &Plan) -> bool {
        let boots = self.model.borrow().nodes[node].boots;
        let before = *self.reboots.get_or_insert(boots);
        boots > before && plan.unfinished.is_empty()
    }

    fn spoil(&self, plan: &mut Plan) {
        let Some(defect) = self.model.borrow().defect else { return };
        for change in &mut plan.changes {
            match defect {
                Defect::GatesIgnored => change.gates.clear(),
                Defect::BehindIgnored => change.behind.clear(),
                Defect::OthersNotWaitedFor => {
                    change.gates.retain(|gate| matches!(gate, gate::Gate::QuorumSurvives { .. }));
                }
                _ => {}
            }
        }
        if defect == Defect::ActivationForgotten {
            plan.changes.retain(|change| change.summary.split(' ').next() != Some("activate"));
        }
    }

    /// Carries it out; `None` where the operator was killed on the way.
    async fn carried_out(&self, operator: &Operator, plan: &Plan) -> Option<Outcomes> {
        let config = self.model.borrow().config.clone();
        let turns: RefCell<Vec<&Change>> = RefCell::default();
        let has_stopped = RefCell::new(false);
        let tell = |event: &Event<'_>| self.hear(event, &has_stopped);
        let tell = |event: &Event<'_>| {
            tell(event);
            match event {
                Event::Began(change) if has_a_turn(change) => {
                    let change = plan.changes.iter().find(|one| one.id == change.id).unwrap();
                    let other = turns.borrow().iter().find(|other| other.node != change.node).copied();
                    if let Some(other) = other {
                        let violation = Violation::TwoTurns(other.id.clone(), change.id.clone());
                        self.model.borrow_mut().violate(violation);
                    }
                    turns.borrow_mut().push(change);
                }
                Event::Ended { change, .. } => turns.borrow_mut().retain(|one| one.id != change.id),
                _ => {}
            }
        };
        let stop = if self.model.borrow().has(Defect::StopIgnored) {
            let own = tokio::sync::watch::Sender::new(false);
            let stop = own.subscribe();
            // As long as the run.
            std::mem::forget(own);
            stop
        } else {
            operator.stops.subscribe()
        };
        let mut dies = operator.dies.subscribe();
        let materials = Materials::new();
        let run = Run { config: &config, world: operator, materials: &materials, tell: &tell };
        let watched = async {
            let mut stops = operator.stops.subscribe();
            // The run hears of it first.
            if stops.changed().await.is_ok() {
                sleep(Duration::from_millis(1)).await;
                has_stopped.replace(true);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            _ = dies.changed() => None,
            outcomes = run.carry_out(plan, stop) => Some(outcomes),
            () = watched => None,
        }
    }

    fn hear(&self, event: &Event<'_>, has_stopped: &RefCell<bool>) {
        let mut model = self.model.borrow_mut();
        match event {
            Event::Began(change) => {
                model.note(format!("began {}", change.id));
                if *has_stopped.borrow() {
                    model.violate(Violation::BegunAfterStop(change.id.clone()));
                }
            }
            Event::Waiting { change, why, .. } => model.note(format!("{} waits: {why}", change.id)),
            Event::Ended { change, outcome } => {
                model.note(format!("ended {}: {outcome:?}", change.id));
                let is_done = model.nodes[&change.node].done.contains(&change.id);
                if **outcome == Outcome::Done && !is_done {
                    model.violate(Violation::SaidDone(change.id.clone()));
                }
            }
            Event::Said { .. } | Event::Stopping => {}
        }
    }

    fn judge(&self, plan: &Plan, outcomes: &Outcomes) {
        let ids: BTreeSet<&ChangeId> = plan.changes.iter().map(|change| &change.id).collect();
        assert_eq!(ids, outcomes.keys().collect(), "every change has an outcome");
        if !self.is_calm {
            return;
        }
        let unmade = outcomes.iter().find(|(_, outcome)| **outcome != Outcome::Done);
        if let Some((change, _)) = unmade {
            self.model.borrow_mut().violate(Violation::NotAtOnce(change.clone()));
        }
    }

    /// Closes what was interrupted, where the plan finds nothing of it left to do.
    async fn settle(&self, operator: &Operator) {
        let names: Vec<NodeName> = self.model.borrow().nodes.keys().cloned().collect();
        let mut facts = ClusterFacts::default();
        for name in &names {
            match operator.gather(name, Looked::AtAll).await {
                Ok(seen) => facts.insert(name.clone(), seen),
                Err(error) => facts.insert_hole(name.clone(), error.to_string()),
            }
        }
        let config = self.model.borrow().config.clone();
        if facts.values().all(|facts| facts.interrupted.is_empty()) {
            return;
        }
        let after = plan::make(&config, &facts, None, enxame_core::areas::resources());
        if after.is_ok_and(|plan| plan.leaves_nothing_open(&facts)) {
            for name in &names {
                operator.settle(name).await;
            }
        }
    }
}

/// Whether it has its turn behind those of other nodes.
fn has_a_turn(change: &Change) -> bool {
    Concern::of(&change.action).is_some() && matches!(change.risk, Risk::Disruptive(_) | Risk::MayCutSsh)
}
