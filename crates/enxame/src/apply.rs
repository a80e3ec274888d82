//! Carries a plan out: what it says, in its order, as parallel as it allows, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use enxame_core::change::{Change, ChangeId, Handover, Risk};
use enxame_core::limits::DEAD_MAN;
use enxame_core::names::NodeName;
use enxame_core::plan::Plan;
use enxame_core::protocol::{Reply, Request};
use enxame_core::secret::Secret;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use tokio::sync::watch;

use crate::fleet::{Doors, Fleet, QUICK_DEADLINE, causes};
use crate::render::progress::Progress;
use crate::transport::{Channel, TransportError};

/// More than the node's own deadlines for one change together, so that the node is the one to give up.
const CHANGE_DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);
/// Longer than a change under the dead-man switch can take and be confirmed ([`DEAD_MAN`]): a node that hangs longer goes
/// back by itself.
const CUTTING_DEADLINE: Duration = Duration::from_secs(3 * 60);

/// How long new connections are tried: the change itself and the way back fit into the rest of [`DEAD_MAN`].
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);
const CONFIRM_PAUSE: Duration = Duration::from_secs(1);
const CUT_HINT: &str = "look at `ssh.allow_from`, and at firewalls between here and the node";

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

/// The agents that a change needs.
type Channels<'a> = BTreeMap<&'a NodeName, &'a dyn Channel>;

struct Running<'a> {
    /// Of the nodes on which nothing is being done.
    agents: Channels<'a>,
    waiting: Vec<Change>,
    outcomes: Outcomes,
}

/// Applies the plan until everything that can be done is done. `stop` turning true lets what runs end and starts
/// nothing more.
pub(crate) async fn apply(
    fleet: &Fleet,
    plan: &Plan,
    progress: &Progress,
    mut stop: watch::Receiver<bool>,
) -> Outcomes {
    let mut state = Running {
        agents: fleet.agents.iter().map(|(node, agent)| (node, agent as &dyn Channel)).collect(),
        waiting: plan.changes.clone(),
        outcomes: Outcomes::new(),
    };
    let mut running = FuturesUnordered::new();
    let mut is_stopping = *stop.borrow();
    loop {
        while let Some((change, agents)) = state.next(is_stopping) {
            progress.begin(&change);
            running.push(make(change, agents, &fleet.doors, progress));
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
    state.outcomes
}

impl<'a> Running<'a> {
    /// Takes the next change that may begin and the agents it needs. Changes that can no longer be made are settled
    /// on the way.
    fn next(&mut self, is_stopping: bool) -> Option<(Change, Channels<'a>)> {
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

async fn make<'a>(
    change: Change,
    agents: Channels<'a>,
    doors: &Doors,
    progress: &Progress,
) -> (Change, Channels<'a>, Outcome) {
    let outcome = match execute(&change, &agents, doors, progress).await {
        Ok(Made::AsPlanned) => Outcome::Done,
        Ok(Made::CutSsh { causes }) => Outcome::Failed { causes, hint: Some(CUT_HINT.to_owned()) },
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

/// What became of a change that the node carried out.
enum Made {
    AsPlanned,
    /// No new connection came through, and the node went back.
    CutSsh {
        causes: Vec<String>,
    },
}

async fn execute(
    change: &Change,
    agents: &Channels<'_>,
    doors: &Doors,
    progress: &Progress,
) -> Result<Made, TransportError> {
    let handed = match &change.handover {
        Some(Handover::ManagerToken { from }) => {
            Some(manager_token(*agents.get(from).ok_or(TransportError::OutOfTurn)?).await?)
        }
        None => None,
    };
    let agent = *agents.get(&change.node).ok_or(TransportError::OutOfTurn)?;
    let request =
        Request::Execute { change: change.id.clone(), action: Box::new(change.action.clone()), handed };
    let deadline = if change.risk == Risk::MayCutSsh { CUTTING_DEADLINE } else { CHANGE_DEADLINE };
    let mut told = |text: &str| progress.tell(&change.node, text);
    match agent.request(&request, deadline, &mut told).await? {
        Reply::Done => Ok(Made::AsPlanned),
        Reply::Unconfirmed => confirm(change, agent, doors, progress).await,
        _ => Err(TransportError::OutOfTurn),
    }
}

/// Shows that SSH still works, over a connection that knows nothing of the old one; if it does not, the node goes back.
async fn confirm(
    change: &Change,
    agent: &dyn Channel,
    doors: &Doors,
    progress: &Progress,
) -> Result<Made, TransportError> {
    let end = Instant::now() + CONFIRM_WITHIN;
    let refused = loop {
        progress.tell(&change.node, "confirming over a new connection");
        match doors.confirm(&change.node, &change.id).await {
            Ok(()) => return Ok(Made::AsPlanned),
            // The node has gone back already: there is nothing left to confirm.
            Err(TransportError::Failed(failure)) => return Err(TransportError::Failed(failure)),
            Err(error) if Instant::now() >= end => break error,
            Err(_) => tokio::time::sleep(CONFIRM_PAUSE).await,
        }
    };
    let mut told = vec!["no new SSH connection came through".to_owned(), causes(&refused)];
    progress.tell(&change.node, "no new connection comes through: putting back what was there");
    let request = Request::PutBack { change: change.id.clone() };
    let mut tell = |text: &str| progress.tell(&change.node, text);
    match agent.request(&request, QUICK_DEADLINE, &mut tell).await {
        Ok(Reply::Done) => return Ok(Made::AsPlanned),
        Ok(Reply::WasPutBack) => {
            told.extend(change.action.why_cut());
            told.push("the node put back what was there before".to_owned());
        }
        Err(TransportError::Failed(failure)) => {
            told.push(format!("going back failed, and is tried again: {}", failure.causes.join(": ")));
        }
        _ => told.push(format!(
            "the old connection is gone as well: the node puts back what was there within {} s by itself",
            DEAD_MAN.as_secs()
        )),
    }
    Ok(Made::CutSsh { causes: told })
}

async fn manager_token(agent: &dyn Channel) -> Result<Secret, TransportError> {
    match agent.request(&Request::ManagerToken, QUICK_DEADLINE, &mut |_| ()).await? {
        Reply::ManagerToken(token) => Ok(token),
        _ => Err(TransportError::OutOfTurn),
    }
}

fn chain(error: &dyn std::error::Error) -> Vec<String> {
    enxame_core::protocol::Failure::of(error).causes
}
