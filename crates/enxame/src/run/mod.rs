//! Carries a plan out: gate, step, gate, step, in its order, as parallel as it allows, and nothing else.
//!
//! It decides nothing: what must hold before a step and what must come true after it are data of the plan, judged by the
//! core. It knows no terminal: it tells [`Event`]s. Invariant: a step is begun only after its gates were seen to hold.

mod event;
mod nodes;
mod step;
mod world;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use enxame_core::change::{Change, ChangeId, Handover};
use enxame_core::config::Config;
use enxame_core::names::NodeName;
use enxame_core::plan::Plan;
use enxame_core::secret::Secret;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;

pub(crate) use event::{Event, Outcome};
pub(crate) use nodes::FleetNodes;
pub(crate) use world::World;

/// What became of each change.
pub(crate) type Outcomes = BTreeMap<ChangeId, Outcome>;

/// What the operator's side hands over, by change.
pub(crate) type Materials = BTreeMap<ChangeId, Secret>;

/// What a run goes by.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// The nodes.
    pub(crate) world: &'a dyn World,
    /// What the operator's side hands over for changes that ask for it.
    pub(crate) materials: &'a Materials,
    /// Who listens.
    pub(crate) tell: &'a dyn Fn(&Event<'_>),
}

struct State<'a> {
    waiting: Vec<&'a Change>,
    busy: BTreeSet<&'a NodeName>,
    outcomes: Outcomes,
}

impl Run<'_> {
    /// Carries the plan out until everything that can be done is done. `stop` turning true lets what runs end and starts
    /// nothing more.
    pub(crate) async fn carry_out(&self, plan: &Plan, mut stop: watch::Receiver<bool>) -> Outcomes {
        let mut state = State {
            waiting: plan.changes.iter().collect(),
            busy: BTreeSet::new(),
            outcomes: Outcomes::new(),
        };
        let mut running = FuturesUnordered::new();
        let mut is_stopping = *stop.borrow();
        loop {
            while let Some(change) = state.next(is_stopping) {
                (self.tell)(&Event::Began(change));
                let stop = stop.clone();
                running.push(async move { (change, self.step(change, stop).await) });
            }
            // In this order, so that nothing is begun once the user has asked to stop, and a run can be repeated.
            tokio::select! {
                biased;
                changed = stop.changed(), if !is_stopping => {
                    is_stopping = changed.is_err() || *stop.borrow();
                    if is_stopping {
                        (self.tell)(&Event::Stopping);
                    }
                }
                finished = running.next() => match finished {
                    Some((change, outcome)) => {
                        (self.tell)(&Event::Ended { change, outcome: &outcome });
                        state.free(change);
                        state.outcomes.insert(change.id.clone(), outcome);
                    }
                    None => break,
                },
            }
        }
        state.outcomes
    }
}

/// The nodes that a change keeps busy.
fn needs(change: &Change) -> impl Iterator<Item = &NodeName> {
    let from = match &change.handover {
        Some(Handover::ManagerToken { from }) => Some(from),
        // Whatever else they do, their keys are what they are.
        Some(Handover::TunnelKeys { .. } | Handover::Material) | None => None,
    };
    std::iter::once(&change.node).chain(from)
}

impl<'a> State<'a> {
    /// Takes the next change that may begin. Changes that can no longer be made are settled on the way.
    fn next(&mut self, is_stopping: bool) -> Option<&'a Change> {
        if is_stopping {
            let rest = self.waiting.drain(..).map(|change| (change.id.clone(), Outcome::Stopped));
            self.outcomes.extend(rest);
        }
        self.skip_what_cannot_follow();
        let is_done = |id: &ChangeId| self.outcomes.get(id) == Some(&Outcome::Done);
        let has_ended = |id: &ChangeId| self.outcomes.contains_key(id);
        let index = self.waiting.iter().position(|change| {
            change.after.iter().all(is_done)
                && change.behind.iter().all(has_ended)
                && needs(change).all(|node| !self.busy.contains(node))
        })?;
        let change = self.waiting.remove(index);
        self.busy.extend(needs(change));
        Some(change)
    }

    fn free(&mut self, change: &Change) {
        for node in needs(change) {
            self.busy.remove(node);
        }
    }

    fn skip_what_cannot_follow(&mut self) {
        // What is behind it waits for all that it waits for, whether it is tried or not.
        let waits_for_nothing = |outcomes: &Outcomes, change: &Change| {
            change.after.iter().chain(&change.behind).all(|id| outcomes.contains_key(id))
        };
        let unmade = |outcomes: &Outcomes, change: &Change| {
            if !waits_for_nothing(outcomes, change) {
                return None;
            }
            change
                .after
                .iter()
                .find(|id| outcomes.get(*id).is_some_and(|outcome| *outcome != Outcome::Done))
                .cloned()
        };
        // The plan is in order: one pass settles chains too.
        for change in std::mem::take(&mut self.waiting) {
            match unmade(&self.outcomes, change) {
                Some(cause) => {
                    self.outcomes.insert(change.id.clone(), Outcome::Skipped(cause));
                }
                None => self.waiting.push(change),
            }
        }
    }
}
