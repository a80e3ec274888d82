//! One step: its gates, the act and its confirmation, and what must come true after it.

use std::collections::BTreeMap;
use std::time::Duration;

use enxame_core::change::{Change, Handover, Risk};
use enxame_core::facts::PublicKey;
use enxame_core::gate::{Gate, Shut};
use enxame_core::limits::DEAD_MAN;
use enxame_core::names::NodeName;
use enxame_core::protocol::{Failure, Reply, Request};
use enxame_core::secret::Secret;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Event, Outcome, Run};
use crate::fleet::{QUICK_DEADLINE, causes};
use crate::transport::TransportError;

/// More than the node's own deadlines for one change together, so that the node is the one to give up.
const CHANGE_DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);
/// Longer than a change under the dead-man switch can take and be confirmed ([`DEAD_MAN`]): a node that hangs longer goes
/// back by itself.
const CUTTING_DEADLINE: Duration = Duration::from_secs(3 * 60);
/// How long new connections are tried: the change itself and the way back fit into the rest of [`DEAD_MAN`].
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);
const CONFIRM_PAUSE: Duration = Duration::from_secs(1);
const CUT_HINT: &str = "look at `ssh.allow_from`, and at firewalls between here and the node";
/// Between two looks for a gate.
const GATE_PAUSE: Duration = Duration::from_secs(2);

/// A look that takes longer than this shows of some nodes what may be so no more: one of them waited for another that
/// hardly answers.
const LONGEST_LOOK: Duration = Duration::from_secs(10);

/// Why a gate was not passed.
enum NotPassed {
    /// It did not hold in time.
    Shut { gate: String, why: String },
    /// The user asked to stop.
    Stopped,
}

/// What became of a change that the node carried out.
enum Made {
    AsPlanned,
    /// No new connection came through, and the node went back.
    CutSsh {
        causes: Vec<String>,
    },
}

impl Run<'_> {
    pub(super) async fn step(&self, change: &Change, stop: watch::Receiver<bool>) -> Outcome {
        let disturbs = matches!(change.risk, Risk::Disruptive(_));
        let longest_look = if disturbs { LONGEST_LOOK } else { Duration::MAX };
        match self.pass((change, &change.gates), longest_look, stop.clone()).await {
            Ok(()) => {}
            Err(NotPassed::Shut { gate, why }) => return Outcome::Held { gate, why },
            Err(NotPassed::Stopped) => return Outcome::Stopped,
        }
        match self.execute(change).await {
            Ok(Made::AsPlanned) => {}
            Ok(Made::CutSsh { causes }) => {
                return Outcome::Failed { causes, hint: Some(CUT_HINT.to_owned()) };
            }
            Err(error) => {
                let hint = error.hint();
                let causes = match error {
                    TransportError::Failed(failure) => failure.causes,
                    other => Failure::of(&other).causes,
                };
                return Outcome::Failed { causes, hint };
            }
        }
        match self.pass((change, &change.until), Duration::MAX, stop).await {
            Ok(()) => Outcome::Done,
            Err(NotPassed::Shut { gate, why }) => Outcome::Unmet { gate, why },
            Err(NotPassed::Stopped) => {
                let causes = vec!["it was done, and what comes of it was not waited for".to_owned()];
                Outcome::Failed { causes, hint: Some("asking again goes on".to_owned()) }
            }
        }
    }

    /// Looks until every gate holds. A gate has its whole deadline from when those before it held first: a server that takes
    /// long to boot has no less time to become ready.
    async fn pass(
        &self,
        (change, gates): (&Change, &[Gate]),
        longest_look: Duration,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), NotPassed> {
        if gates.is_empty() {
            return Ok(());
        }
        let mut turns: Vec<Option<Instant>> = vec![None; gates.len()];
        let mut told = String::new();
        loop {
            let asked = Instant::now();
            let facts = self.world.look().await;
            let took = asked.elapsed();
            let is_old = took > longest_look;
            let shut = gates.iter().zip(&mut turns).find_map(|(gate, turn)| {
                let old =
                    || is_old.then(|| Shut::yet(format!("looking at all nodes took {} s", took.as_secs())));
                let Some(Shut { why, is_final }) = gate.check(self.config, &facts).err().or_else(old) else {
                    // It has its whole time again.
                    *turn = None;
                    return None;
                };
                Some((gate, turn, why, is_final))
            });
            let Some((gate, turn, why, is_final)) = shut else { return Ok(()) };
            if is_final || turn.get_or_insert_with(Instant::now).elapsed() >= gate.deadline() {
                return Err(NotPassed::Shut { gate: gate.to_string(), why });
            }
            if why != told {
                (self.tell)(&Event::Waiting { change, gate, why: &why });
                told = why;
            }
            if *stop.borrow() {
                return Err(NotPassed::Stopped);
            }
            tokio::select! {
                biased;
                Ok(()) = stop.changed() => {}
                () = sleep(GATE_PAUSE) => {}
            }
        }
    }

    fn said(&self, change: &Change, text: &str) {
        (self.tell)(&Event::Said { node: &change.node, text });
    }

    /// What others hand over, for the node that is about to act.
    async fn handed(&self, change: &Change) -> Result<Option<Secret>, TransportError> {
        match &change.handover {
            Some(Handover::ManagerToken { from }) => {
                match self.world.request(from, &Request::ManagerToken, QUICK_DEADLINE, &|_| ()).await? {
                    Reply::ManagerToken(token) => Ok(Some(token)),
                    _ => Err(TransportError::OutOfTurn),
                }
            }
            Some(Handover::Material) => Ok(self.materials.get(&change.id).cloned()),
            Some(Handover::TunnelKeys { from }) => {
                let mut keys: BTreeMap<&NodeName, PublicKey> = BTreeMap::new();
                for node in from {
                    let reply = self.world.request(node, &Request::TunnelKey, QUICK_DEADLINE, &|_| ()).await;
                    match reply.map_err(|error| of_node(node, error))? {
                        Reply::TunnelKey(key) => keys.insert(node, key),
                        _ => return Err(TransportError::OutOfTurn),
                    };
                }
                // A map with keys of text: it serialises.
                Ok(serde_json::to_string(&keys).ok().map(Secret::new))
            }
            None => Ok(None),
        }
    }

    async fn execute(&self, change: &Change) -> Result<Made, TransportError> {
        let handed = self.handed(change).await?;
        let request =
            Request::Execute { change: change.id.clone(), action: Box::new(change.action.clone()), handed };
        let deadline = if change.risk == Risk::MayCutSsh { CUTTING_DEADLINE } else { CHANGE_DEADLINE };
        let tell = |text: &str| self.said(change, text);
        match self.world.request(&change.node, &request, deadline, &tell).await? {
            Reply::Done => Ok(Made::AsPlanned),
            Reply::Unconfirmed => self.confirm(change).await,
            _ => Err(TransportError::OutOfTurn),
        }
    }

    /// Shows that SSH still works, over a connection that knows nothing of the old one; if it does not, the node goes back.
    async fn confirm(&self, change: &Change) -> Result<Made, TransportError> {
        let end = Instant::now() + CONFIRM_WITHIN;
        let refused = loop {
            self.said(change, "confirming over a new connection");
            match self.world.confirm(&change.node, &change.id).await {
                Ok(()) => return Ok(Made::AsPlanned),
                // The node has gone back already: there is nothing left to confirm.
                Err(TransportError::Failed(failure)) => return Err(TransportError::Failed(failure)),
                Err(error) if Instant::now() >= end => break error,
                Err(_) => sleep(CONFIRM_PAUSE).await,
            }
        };
        let mut told = vec!["no new SSH connection came through".to_owned(), causes(&refused)];
        self.said(change, "no new connection comes through: putting back what was there");
        let request = Request::PutBack { change: change.id.clone() };
        let tell = |text: &str| self.said(change, text);
        match self.world.request(&change.node, &request, QUICK_DEADLINE, &tell).await {
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
}

/// Says whose failure it is, where that is not the node that acts.
fn of_node(node: &NodeName, error: TransportError) -> TransportError {
    match error {
        TransportError::Failed(mut failure) => {
            failure.causes.insert(0, format!("{node} hands over no key"));
            TransportError::Failed(failure)
        }
        other => other,
    }
}
