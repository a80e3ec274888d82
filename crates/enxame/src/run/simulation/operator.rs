//! Whoever applies, in the model: connections that break and locks that are held, behind the executor's own trait.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use enxame_core::change::ChangeId;
use enxame_core::facts::{ClusterFacts, NodeFacts};
use enxame_core::names::NodeName;
use enxame_core::protocol::{Reply, Request};
use enxame_core::secret::Secret;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::World;
use super::acts::{Order, execute, failure};
use super::defects::Defect;
use super::faults::{Faults, Mishap};
use super::model::{Looked, Shared};
use super::node::{Concern, Session};
use crate::fleet::QUICK_DEADLINE;
use crate::transport::TransportError;

const LOOK_DEADLINE: Duration = Duration::from_secs(60);
/// When ssh gives up a server that does not answer.
const NO_CONNECTION: Duration = Duration::from_secs(10);
/// When an agent takes an operator for gone of whom it hears nothing.
const PATIENCE: Duration = Duration::from_secs(60);

fn broken() -> TransportError {
    TransportError::Ended(Box::default())
}

fn timed_out(after: Duration) -> TransportError {
    TransportError::TimedOut { attempt: "be heard", after }
}

/// One run of the program.
pub(super) struct Operator {
    model: Shared,
    faults: Rc<RefCell<Faults>>,
    sessions: RefCell<BTreeMap<NodeName, Session>>,
    mute: RefCell<BTreeSet<Session>>,
    pub(super) dies: watch::Sender<bool>,
    pub(super) stops: watch::Sender<bool>,
}

impl Operator {
    pub(super) fn new(model: &Shared, faults: &Rc<RefCell<Faults>>) -> Self {
        Self {
            model: model.clone(),
            faults: faults.clone(),
            sessions: RefCell::default(),
            mute: RefCell::default(),
            dies: watch::Sender::new(false),
            stops: watch::Sender::new(false),
        }
    }

    /// A new connection, and the node's lock.
    pub(super) async fn connect(&self, name: &NodeName) -> Result<(), TransportError> {
        self.passes(200, 1_000).await;
        if !self.model.borrow().nodes[name].lets_in() {
            sleep(NO_CONNECTION).await;
            return Err(broken());
        }
        let mut model = self.model.borrow_mut();
        model.sessions += 1;
        let session = Session(model.sessions);
        let node = model.node(name);
        if node.lock.is_some() {
            return Err(TransportError::Failed(failure("somebody is applying to this node already")));
        }
        node.lock = Some(session);
        node.sessions.insert(session);
        let forgotten = model.has(Defect::WayBackForgetsTheRules).then_some(Concern::Guard);
        if let Some(change) = model.node(name).put_back(forgotten) {
            model.note(format!("{name}: the lock puts back {change}"));
        }
        self.sessions.borrow_mut().insert(name.clone(), session);
        Ok(())
    }

    async fn passes(&self, from_ms: u64, to_ms: u64) {
        let lasts = self.model.borrow_mut().dice.between(from_ms, to_ms);
        sleep(lasts).await;
    }

    /// The session, once its connection carries something.
    async fn line(&self, name: &NodeName, deadline: Duration) -> Result<Session, TransportError> {
        let end = Instant::now() + deadline;
        let session = self.sessions.borrow().get(name).copied().ok_or(TransportError::OutOfTurn)?;
        if self.mute.borrow().contains(&session) {
            sleep_until(end).await;
            return Err(timed_out(deadline));
        }
        loop {
            let (stands, carries) = {
                let node = &self.model.borrow().nodes[name];
                (node.sessions.contains(&session), node.is_reachable())
            };
            if !stands {
                self.passes(100, 2_000).await;
                return Err(broken());
            }
            if carries {
                self.passes(10, 200).await;
                return Ok(session);
            }
            if Instant::now() >= end {
                return Err(timed_out(deadline));
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn breaks(&self, name: &NodeName, session: Session) {
        let mut model = self.model.borrow_mut();
        let keeps_lock = model.has(Defect::LockNotFreed);
        model.node(name).end(session, keeps_lock);
    }

    pub(super) async fn gather(&self, name: &NodeName, what: Looked) -> Result<NodeFacts, TransportError> {
        self.line(name, LOOK_DEADLINE).await?;
        self.passes(200, 1_500).await;
        self.line(name, LOOK_DEADLINE).await?;
        Ok(self.model.borrow_mut().facts(name, what))
    }

    pub(super) async fn settle(&self, name: &NodeName) {
        if self.line(name, QUICK_DEADLINE).await.is_ok() {
            self.model.borrow_mut().node(name).open.clear();
        }
    }

    async fn seen(&self, name: &NodeName) -> Result<NodeFacts, TransportError> {
        match self.gather(name, Looked::ForGates).await {
            Ok(facts) => return Ok(facts),
            Err(error @ TransportError::Failed(_)) => return Err(error),
            Err(_) => {}
        }
        self.connect(name).await?;
        self.gather(name, Looked::ForGates).await
    }

    async fn ask(
        &self,
        name: &NodeName,
        request: &Request,
        deadline: Duration,
    ) -> Result<Reply, TransportError> {
        let number = {
            let mut model = self.model.borrow_mut();
            model.requests += 1;
            model.requests - 1
        };
        let mishap = self.faults.borrow_mut().strike(number);
        if let Some(mishap) = mishap {
            self.model.borrow_mut().note(format!("request {number} to {name}: {mishap:?}"));
        }
        let began = Instant::now();
        let session = self.line(name, deadline).await?;
        match mishap {
            Some(Mishap::NeverArrives) => {
                self.breaks(name, session);
                return Err(broken());
            }
            Some(Mishap::Refused) => return Err(TransportError::Failed(failure("no space left on device"))),
            Some(Mishap::OperatorDies) => {
                self.dies.send_replace(true);
            }
            Some(Mishap::OperatorStops) => {
                self.model.borrow_mut().note("the operator asks to stop");
                self.stops.send_replace(true);
            }
            Some(Mishap::PowerCut) => {
                let (model, name) = (self.model.clone(), name.clone());
                tokio::task::spawn_local(async move {
                    let after = model.borrow_mut().dice.between(0, 4_000);
                    sleep(after).await;
                    let lasts = model.borrow_mut().dice.between(20_000, 200_000);
                    model.borrow_mut().blow(&name, super::faults::Blow::PowerCut(lasts));
                });
            }
            Some(Mishap::AgentDies) => {
                let (model, name) = (self.model.clone(), name.clone());
                tokio::task::spawn_local(async move {
                    let after = model.borrow_mut().dice.between(0, 3_000);
                    sleep(after).await;
                    model.borrow_mut().node(&name).kill();
                });
            }
            Some(Mishap::ReplyIsLost | Mishap::Hangs | Mishap::CutsSsh) | None => {}
        }
        let (answer, answered) = oneshot::channel();
        self.deliver((name, session), request, mishap == Some(Mishap::CutsSsh), answer);
        match mishap {
            Some(Mishap::ReplyIsLost) => {
                self.passes(0, 3_000).await;
                self.breaks(name, session);
                return Err(broken());
            }
            Some(Mishap::Hangs) => {
                self.mute.borrow_mut().insert(session);
                sleep_until(began + deadline).await;
                return Err(timed_out(deadline));
            }
            _ => {}
        }
        let reply = tokio::select! {
            biased;
            reply = answered => reply,
            () = sleep_until(began + deadline) => return Err(timed_out(deadline)),
        };
        match reply {
            Ok(Ok(reply)) => {
                self.line(name, deadline.saturating_sub(began.elapsed())).await?;
                Ok(reply)
            }
            Ok(Err(failure)) => Err(TransportError::Failed(failure)),
            // The node is gone; so much later ssh notices.
            Err(_) => {
                sleep(NO_CONNECTION).await;
                Err(broken())
            }
        }
    }

    /// Gives the node what it is to do, which it does whoever listens.
    fn deliver(
        &self,
        (name, session): (&NodeName, Session),
        request: &Request,
        cuts_ssh: bool,
        answer: oneshot::Sender<Result<Reply, enxame_core::protocol::Failure>>,
    ) {
        let (model, node) = (self.model.clone(), name.clone());
        let order = match request {
            Request::Execute { change, action, .. } => {
                let (change, action) = (change.clone(), (**action).clone());
                Order { node, session, change, action, cuts_ssh }
            }
            request => {
                let _ = answer.send(self.answer(name, request));
                return;
            }
        };
        tokio::task::spawn_local(async move {
            if let Some(outcome) = execute(model, order).await {
                let _ = answer.send(outcome);
            }
        });
    }

    fn answer(&self, name: &NodeName, request: &Request) -> Result<Reply, enxame_core::protocol::Failure> {
        let mut model = self.model.borrow_mut();
        let forgotten = model.has(Defect::WayBackForgetsTheRules).then_some(Concern::Guard);
        let leads = model.leads(name);
        let node = model.node(name);
        match request {
            Request::ManagerToken if leads => Ok(Reply::ManagerToken(Secret::new("token".to_owned()))),
            Request::ManagerToken => Err(failure("the engine has no manager token")),
            Request::Confirm { change } => {
                if node.armed.as_ref().is_some_and(|armed| armed.change == *change) {
                    node.armed = None;
                    node.open.remove(change);
                    node.done.insert(change.clone());
                    model.note(format!("{change} is confirmed"));
                } else if !node.done.contains(change) {
                    return Err(failure("the change was put back before it was confirmed"));
                }
                Ok(Reply::Done)
            }
            Request::PutBack { change } => {
                if node.put_back(forgotten).is_none() && node.done.contains(change) {
                    return Ok(Reply::Done);
                }
                model.note(format!("{change} is put back"));
                Ok(Reply::WasPutBack)
            }
            _ => Err(failure("the model knows nothing of it")),
        }
    }
}

impl World for Operator {
    fn request<'a>(
        &'a self,
        node: &'a NodeName,
        request: &'a Request,
        deadline: Duration,
        _: &'a dyn Fn(&str),
    ) -> LocalBoxFuture<'a, Result<Reply, TransportError>> {
        async move {
            let outcome = self.ask(node, request, deadline).await;
            let is_lost = matches!(outcome, Err(TransportError::Ended(_) | TransportError::TimedOut { .. }));
            if is_lost && self.model.borrow().has(Defect::LostReplyTakenForDone) {
                return Ok(Reply::Done);
            }
            outcome
        }
        .boxed_local()
    }

    fn confirm<'a>(
        &'a self,
        node: &'a NodeName,
        change: &'a ChangeId,
    ) -> LocalBoxFuture<'a, Result<(), TransportError>> {
        async move {
            let request = Request::Confirm { change: change.clone() };
            if self.model.borrow().has(Defect::ConfirmedOverTheOldConnection) {
                return self.ask(node, &request, QUICK_DEADLINE).await.map(drop);
            }
            self.passes(200, 1_000).await;
            if !self.model.borrow().nodes[node].lets_in() {
                sleep(NO_CONNECTION).await;
                return Err(broken());
            }
            let number = {
                let mut model = self.model.borrow_mut();
                model.requests += 1;
                model.requests - 1
            };
            let mishap = self.faults.borrow_mut().strike(number);
            if let Some(mishap) = mishap {
                self.model.borrow_mut().note(format!("request {number}, confirming on {node}: {mishap:?}"));
            }
            match mishap {
                Some(Mishap::NeverArrives | Mishap::Refused | Mishap::AgentDies) => return Err(broken()),
                Some(Mishap::Hangs) => {
                    sleep(QUICK_DEADLINE).await;
                    return Err(timed_out(QUICK_DEADLINE));
                }
                Some(Mishap::OperatorDies) => {
                    self.dies.send_replace(true);
                }
                Some(Mishap::OperatorStops) => {
                    self.stops.send_replace(true);
                }
                Some(Mishap::PowerCut) => {
                    let lasts = self.model.borrow_mut().dice.between(20_000, 200_000);
                    self.model.borrow_mut().blow(node, super::faults::Blow::PowerCut(lasts));
                    sleep(NO_CONNECTION).await;
                    return Err(broken());
                }
                Some(Mishap::ReplyIsLost | Mishap::CutsSsh) | None => {}
            }
            let outcome = self.answer(node, &request);
            self.passes(10, 200).await;
            if mishap == Some(Mishap::ReplyIsLost) {
                return Err(broken());
            }
            outcome.map(drop).map_err(TransportError::Failed)
        }
        .boxed_local()
    }

    fn look(&self) -> LocalBoxFuture<'_, ClusterFacts> {
        async {
            let names: Vec<NodeName> = self.sessions.borrow().keys().cloned().collect();
            let looks = names.into_iter().map(|name| async {
                let seen = self.seen(&name).await;
                (name, seen)
            });
            let mut facts = ClusterFacts::default();
            for (node, seen) in join_all(looks).await {
                match seen {
                    Ok(seen) => facts.insert(node, seen),
                    Err(error) => facts.insert_hole(node, error.to_string()),
                }
            }
            facts
        }
        .boxed_local()
    }
}

/// However the program ends, its connections do.
impl Drop for Operator {
    fn drop(&mut self) {
        for (name, session) in std::mem::take(&mut *self.sessions.borrow_mut()) {
            let is_heard =
                self.model.borrow().nodes[&name].is_reachable() && !self.mute.borrow().contains(&session);
            if is_heard {
                self.breaks(&name, session);
                continue;
            }
            let model = self.model.clone();
            tokio::task::spawn_local(async move {
                sleep(PATIENCE).await;
                let mut model = model.borrow_mut();
                let keeps_lock = model.has(Defect::LockNotFreed);
                model.node(&name).end(session, keeps_lock);
            });
        }
        // Sessions that others took the place of have lost their connection, or nobody hears of them any more.
        let mute = std::mem::take(&mut *self.mute.borrow_mut());
        let model = self.model.clone();
        tokio::task::spawn_local(async move {
            sleep(PATIENCE).await;
            let mut model = model.borrow_mut();
            let keeps_lock = model.has(Defect::LockNotFreed);
            for node in model.nodes.values_mut() {
                for session in &mute {
                    node.end(*session, keeps_lock);
                }
            }
        });
    }
}
