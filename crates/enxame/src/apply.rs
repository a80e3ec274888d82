//! Carries a plan out: what it says, in its order, as parallel as it allows, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use enxame_core::change::{Change, ChangeId, Handover};
use enxame_core::names::NodeName;
use enxame_core::plan::Plan;
use enxame_core::protocol::{Reply, Request};
use enxame_core::secret::Secret;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use tokio::sync::watch;

use crate::fleet::{Fleet, QUICK_DEADLINE};
use crate::render::progress::Progress;
use crate::transport::{Agent, TransportError};

/// More than the node's own deadlines for one change together, so that the node is the one to give up.
const CHANGE_DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It was made.
    Done,
    /// It could not be made.
    Failed {
        /// The chain of causes, outermost first.
        causes: Vec<String>,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It was not tried, because this one was not made.
    Skipped(ChangeId),
    /// It was not tried, because the user asked to stop.
    Stopped,
}

/// What became of each change.
pub(crate) type Outcomes = BTreeMap<ChangeId, Outcome>;

struct Running {
    agents: BTreeMap<NodeName, Agent>,
    waiting: Vec<Change>,
    outcomes: Outcomes,
}

/// Applies the plan until everything that can be done is done. `stop` turning true lets what runs end and starts
/// nothing more.
pub(crate) async fn apply(
    fleet: &mut Fleet,
    plan: &Plan,
    progress: &Progress,
    mut stop: watch::Receiver<bool>,
) -> Outcomes {
    let mut state = Running {
        agents: std::mem::take(&mut fleet.agents),
        waiting: plan.changes.clone(),
        outcomes: Outcomes::new(),
    };
    let mut running = FuturesUnordered::new();
    let mut is_stopping = *stop.borrow();
    loop {
        while let Some((change, agents)) = state.next(is_stopping) {
            progress.begin(&change);
            running.push(make(change, agents, progress));
        }
        tokio::select! {
            finished = running.next() => match finished {
                Some((change, agents, outcome)) => {
                    progress.end(&change, &outcome);
                    state.agents.extend(agents);
                    state.outcomes.insert(change.id, outcome);
                }
                None => break,
            },
            changed = stop.changed(), if !is_stopping => {
                is_stopping = changed.is_err() || *stop.borrow();
                progress.note("stopping: what runs is ended, nothing more is begun (once more Ctrl-C cuts it off)");
            }
        }
    }
    fleet.agents = state.agents;
    state.outcomes
}

impl Running {
    /// Takes the next change that may begin and the agents it needs. Changes that can no longer be made are settled
    /// on the way.
    fn next(&mut self, is_stopping: bool) -> Option<(Change, BTreeMap<NodeName, Agent>)> {
        if is_stopping {
            let rest = self.waiting.drain(..).map(|change| (change.id, Outcome::Stopped));
            self.outcomes.extend(rest);
        }
        self.skip_what_cannot_follow();
        let done: BTreeSet<&ChangeId> = self
            .outcomes
            .iter()
            .filter(|(_, outcome)| **outcome == Outcome::Done)
            .map(|(id, _)| id)
            .collect();
        let is_free = |change: &Change| needs(change).all(|node| self.agents.contains_key(node));
        let is_ready = |change: &Change| change.after.iter().all(|id| done.contains(id));
        let index = self.waiting.iter().position(|change| is_ready(change) && is_free(change))?;
        let change = self.waiting.remove(index);
        let agents = needs(&change).filter_map(|node| self.agents.remove_entry(node)).collect();
        Some((change, agents))
    }

    fn skip_what_cannot_follow(&mut self) {
        let unmade = |outcomes: &Outcomes, change: &Change| {
            change
                .after
                .iter()
                .find(|id| outcomes.get(*id).is_some_and(|outcome| *outcome != Outcome::Done))
                .cloned()
        };
        // The plan is in order: one pass settles chains too.
        for change in std::mem::take(&mut self.waiting) {
            match unmade(&self.outcomes, &change) {
                Some(cause) => {
                    self.outcomes.insert(change.id, Outcome::Skipped(cause));
                }
                None => self.waiting.push(change),
            }
        }
    }
}

fn needs(change: &Change) -> impl Iterator<Item = &NodeName> {
    let from = change.handover.as_ref().map(|Handover::ManagerToken { from }| from);
    std::iter::once(&change.node).chain(from)
}

async fn make(
    change: Change,
    mut agents: BTreeMap<NodeName, Agent>,
    progress: &Progress,
) -> (Change, BTreeMap<NodeName, Agent>, Outcome) {
    let outcome = match execute(&change, &mut agents, progress).await {
        Ok(()) => Outcome::Done,
        Err(error) => {
            let hint = error.hint();
            let causes = match error {
                TransportError::Failed(failure) => failure.causes,
                other => chain(&other),
            };
            Outcome::Failed { causes, hint }
        }
    };
    (change, agents, outcome)
}

async fn execute(
    change: &Change,
    agents: &mut BTreeMap<NodeName, Agent>,
    progress: &Progress,
) -> Result<(), TransportError> {
    let handed = match &change.handover {
        Some(Handover::ManagerToken { from }) => Some(manager_token(agents.get_mut(from)).await?),
        None => None,
    };
    let agent = agents.get_mut(&change.node).ok_or(TransportError::OutOfTurn)?;
    let request = Request::Execute {
        change: change.id.clone(),
        kind: change.kind.clone(),
        action: change.action.clone(),
        handed,
    };
    match agent.request(&request, CHANGE_DEADLINE, |text| progress.tell(&change.node, text)).await? {
        Reply::Done => Ok(()),
        _ => Err(TransportError::OutOfTurn),
    }
}

async fn manager_token(agent: Option<&mut Agent>) -> Result<Secret, TransportError> {
    let agent = agent.ok_or(TransportError::OutOfTurn)?;
    match agent.request(&Request::ManagerToken, QUICK_DEADLINE, |_| ()).await? {
        Reply::ManagerToken(token) => Ok(token),
        _ => Err(TransportError::OutOfTurn),
    }
}

fn chain(error: &dyn std::error::Error) -> Vec<String> {
    enxame_core::protocol::Failure::of(error).causes
}
