//! What lives as long as the operator's session, and the looks.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use enxame_core::facts::{KeyFacts, NodeFacts, PublicKey, SshSession};
use enxame_core::probe::ProbeRequest;
use enxame_core::protocol::{Failure, Reply, Request};
use enxame_core::secret::Secret;

use super::acting::Acting;
use super::{Task, Work, lock};
use crate::actuate::ActuateError;
use crate::areas::{stacks, tunnel};
use crate::engine::Engine;
use crate::host::Host;
use crate::probes::{self, Probes};
use crate::{facts, swarm};

/// The session of one operator on one node.
pub(super) struct Session {
    host: Box<dyn Host + Send + Sync>,
    ssh: Option<SshSession>,
    acting: Mutex<Acting>,
    probes: Mutex<Probes>,
}

impl Session {
    pub(super) fn new(host: Box<dyn Host + Send + Sync>, ssh: Option<SshSession>) -> Self {
        let acting = Acting::locking(PathBuf::from(lock::PATH));
        Self { host, ssh, acting: Mutex::new(acting), probes: Mutex::default() }
    }
}

/// Each has one user at a time, and is dropped whatever became of that.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work for Session {
    fn answer(&self, request: Request, task: &Task) -> Result<Reply, Failure> {
        let mut progress = |text: &str| task.progress(text);
        match request {
            Request::Gather(query) => {
                let facts = facts::gather(&*self.host, &query);
                let ssh_answers_by = self.ssh.and_then(|session| facts::interface_to(session.from));
                Ok(Reply::Facts(Box::new(NodeFacts { ssh_session: self.ssh, ssh_answers_by, ..facts })))
            }
            Request::ManagerToken => manager_token().map(Reply::ManagerToken),
            Request::TunnelKey => tunnel_key(&*self.host).map(Reply::TunnelKey),
            Request::Convert(bundle) => {
                let converted = stacks::convert(&*self.host, &bundle).map_err(|error| error.failure())?;
                Ok(Reply::Converted(Box::new(converted)))
            }
            Request::TaskLog { task } => {
                stacks::task_log(&*self.host, &task).map(Reply::TaskLog).map_err(|error| error.failure())
            }
            Request::Probe(ProbeRequest::Scan(order)) => {
                let reply = probes::scan(&order, task.cancel(), &mut progress);
                reply.map(Reply::Probe).map_err(|error| Failure::of(&error))
            }
            Request::Probe(ProbeRequest::Paths(order)) => {
                let reply = probes::paths(&order, task.cancel(), &mut progress);
                reply.map(Reply::Probe).map_err(|error| Failure::of(&error))
            }
            Request::Probe(ProbeRequest::Share(order)) => {
                let reply = probes::share(&order, task.cancel(), &mut progress);
                reply.map(Reply::Probe).map_err(|error| Failure::of(&error))
            }
            Request::Probe(ProbeRequest::Doors(order)) => {
                let reply = probes::doors(&order, task.cancel(), &mut progress);
                reply.map(Reply::Probe).map_err(|error| Failure::of(&error))
            }
            Request::Probe(request) => {
                let reply = held(&self.probes).handle(&request, task.cancel(), &mut progress);
                reply.map(Reply::Probe).map_err(|error| Failure::of(&error))
            }
            request => held(&self.acting).act(request, &*self.host, &mut progress),
        }
    }

    fn end(&self) {
        // What the probes take away is still taken away under the lock.
        drop(std::mem::take(&mut *held(&self.probes)));
        held(&self.acting).unlock();
    }
}

/// The public half of the node's key for the tunnels.
fn tunnel_key(host: &dyn Host) -> Result<PublicKey, Failure> {
    let why = match tunnel::look::key(host) {
        KeyFacts::Usable { public, .. } => return Ok(public),
        KeyFacts::Absent => "it has none".to_owned(),
        KeyFacts::Unread(why) | KeyFacts::Unusable(why) => why,
    };
    let message = format!("the node has no key for the tunnels that can be handed over: {why}");
    Err(ActuateError::wrong(message, "apply again: it makes one").failure())
}

/// The token that makes a manager of whoever shows it.
fn manager_token() -> Result<Secret, Failure> {
    let engine = Engine::connect().map_err(|error| Failure::of(&error))?;
    let swarm = engine
        .call("show the swarm", swarm::LOOK, engine.api().inspect_swarm())
        .map_err(|error| Failure::of(&error))?;
    let token = swarm.join_tokens.and_then(|tokens| tokens.manager).filter(|token| !token.is_empty());
    let none = || ActuateError::wrong("the engine has no manager token", "is this node a manager?").failure();
    token.map(Secret::new).ok_or_else(none)
}
