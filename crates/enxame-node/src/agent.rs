//! The agent: one process per SSH channel, one request at a time, until the channel closes.
//!
//! It keeps what lives as long as the operator's session: the apply lock, the probes. When the channel closes it
//! ends what it has begun, writes it down, lets go of both and exits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use enxame_core::areas::Action;
use enxame_core::change::ChangeId;
use enxame_core::facts::{NodeFacts, SshSession};
use enxame_core::journal::Event;
use enxame_core::probe::ProbeRequest;
use enxame_core::protocol::{Failure, Hello, PROTOCOL, Reply, Request, read_frame, write_frame};
use enxame_core::secret::Secret;
use nix::fcntl::{Flock, FlockArg};

use crate::actuate::{ActuateError, Context};
use crate::deadman::{self, When};
use crate::engine::Engine;
use crate::host::RealHost;
use crate::probes::{self, Probes};
use crate::{areas, facts, forget, journal, swarm};

/// The lock of one apply at a time; in `/run`, so that a reboot frees it.
const LOCK: &str = "/run/enxame.lock";

/// What lives as long as the operator's session.
struct Session {
    host: RealHost,
    operator: String,
    ssh: Option<SshSession>,
    package_lists_are_fresh: bool,
    engine: Option<Engine>,
    probes: Probes,
    /// The last to go: what the probes take away when they are dropped is still under it.
    lock: Option<Flock<File>>,
}

/// Serves one operator until the channel closes.
///
/// # Errors
/// When the channel breaks inside a frame, says what is not understood, or `from` runs out of patience.
pub fn serve(
    build: &str,
    ssh: Option<SshSession>,
    mut from: impl Read,
    mut to: impl Write,
) -> io::Result<()> {
    write_frame(&mut to, &Hello { protocol: PROTOCOL, build: build.to_owned() })?;
    let mut session = Session {
        host: RealHost::new(),
        operator: "unknown".to_owned(),
        ssh,
        lock: None,
        package_lists_are_fresh: false,
        engine: None,
        probes: Probes::default(),
    };
    while let Some(request) = read_frame::<Request>(&mut from)? {
        let mut progress = |text: &str| {
            // An operator who is gone does not stop what was begun.
            drop(write_frame(&mut to, &Reply::Progress(text.to_owned())));
        };
        let reply = session.answer(request, &mut progress).unwrap_or_else(Reply::Failed);
        write_frame(&mut to, &reply)?;
    }
    Ok(())
}

impl Session {
    fn answer(&mut self, request: Request, progress: &mut dyn FnMut(&str)) -> Result<Reply, Failure> {
        match request {
            Request::Lock { operator } => {
                self.lock = Some(lock(&operator)?);
                self.operator = operator;
                // Whoever was to confirm it is gone.
                let back = deadman::put_back(&self.host, When::Now).map_err(|error| error.failure())?;
                if let Some(change) = back {
                    progress(&format!("put back `{change}`, which an earlier run did not confirm"));
                }
                Ok(Reply::Done)
            }
            Request::Gather(query) => {
                let facts = facts::gather(&self.host, &query);
                Ok(Reply::Facts(Box::new(NodeFacts { ssh_session: self.ssh, ..facts })))
            }
            Request::Execute { change, action, handed } => {
                self.execute(&change, &action, handed.as_ref(), progress)
            }
            Request::Confirm { change } => {
                deadman::confirm(&self.host, &change).map_err(|error| error.failure())?;
                Ok(Reply::Done)
            }
            Request::PutBack { change } => {
                let was = deadman::put_back(&self.host, When::Now).map_err(|error| error.failure())?;
                // It may have been confirmed by a connection that broke before it heard so.
                if was.is_none() && journal::is_done(&self.host, &change) {
                    return Ok(Reply::Done);
                }
                Ok(Reply::WasPutBack)
            }
            Request::Settle => {
                journal::settle(&self.host, &self.operator).map_err(|error| Failure::of(&error))?;
                Ok(Reply::Done)
            }
            Request::Forget => {
                if self.lock.is_none() {
                    return Err(not_locked());
                }
                forget::forget(&self.host).map_err(|error| error.failure())?;
                Ok(Reply::Done)
            }
            Request::ManagerToken => manager_token().map(Reply::ManagerToken),
            // Needs no engine.
            Request::Probe(ProbeRequest::Scan(order)) => {
                let reply = probes::scan(&order, progress);
                reply.map(Reply::Probe).map_err(|error| Failure::of(&error))
            }
            Request::Probe(request) => {
                let engine = match self.engine.take() {
                    Some(engine) => engine,
                    None => Engine::connect().map_err(|error| Failure::of(&error))?,
                };
                let engine = self.engine.insert(engine);
                let reply = self.probes.handle(&request, engine, progress);
                reply.map(Reply::Probe).map_err(|error| Failure::of(&error))
            }
        }
    }

    fn execute(
        &mut self,
        change: &ChangeId,
        action: &Action,
        handed: Option<&Secret>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Reply, Failure> {
        if self.lock.is_none() {
            return Err(not_locked());
        }
        let record =
            |event| journal::record(&self.operator, change, event).map_err(|error| Failure::of(&error));
        record(Event::Begun)?;
        let armed = areas::way_back(&self.host, action).and_then(|way| {
            let Some(way) = way else { return Ok(None) };
            progress("making sure of the way back");
            deadman::arm(&self.host, change, &self.operator, &way).map(Some)
        });
        let making = armed.map_err(|error| error.failure()).inspect_err(|failure| {
            // Nothing was done; that the line may not be written changes nothing of it.
            drop(record(Event::Failed(failure.causes.first().cloned().unwrap_or_default())));
        })?;
        let mut context = Context {
            host: &self.host,
            handed,
            progress,
            package_lists_are_fresh: &mut self.package_lists_are_fresh,
        };
        let outcome = areas::act(&mut context, action).map_err(|error| error.failure());
        let is_guarded = making.is_some();
        // From here on the dead-man switch may go back.
        drop(making);
        match outcome {
            // Written down by whoever confirms it or puts it back.
            Ok(()) if is_guarded => Ok(Reply::Unconfirmed),
            Ok(()) => record(Event::Done).map(|()| Reply::Done),
            Err(failure) if is_guarded => {
                progress("it did not work: putting back what was there");
                deadman::put_back(&self.host, When::Now).map_err(|error| error.failure())?;
                Err(failure)
            }
            Err(failure) => {
                record(Event::Failed(failure.causes.first().cloned().unwrap_or_default()))?;
                Err(failure)
            }
        }
    }
}

fn not_locked() -> Failure {
    failure("the node was not locked for this operator", "this is a defect of enxame")
}

fn failure(message: &str, hint: &str) -> Failure {
    ActuateError::wrong(message, hint).failure()
}

/// Takes the lock, which the kernel frees when this process ends, however it ends.
fn lock(operator: &str) -> Result<Flock<File>, Failure> {
    let system =
        |source: io::Error| ActuateError::System { attempt: format!("lock {LOCK}"), source }.failure();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        // Whoever can read it can lock it.
        .mode(0o600)
        .open(Path::new(LOCK))
        .map_err(system)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0).and_then(|()| lock.write_all(operator.as_bytes())).map_err(system)?;
            Ok(lock)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut owner = String::new();
            // Who it is, is a courtesy.
            drop(file.read_to_string(&mut owner));
            Err(failure(
                &format!("{owner} is applying to this node already"),
                "wait until that run has ended; when its process is gone, so is the lock",
            ))
        }
        Err((_, errno)) => Err(system(errno.into())),
    }
}

/// The token that makes a manager of whoever shows it.
fn manager_token() -> Result<Secret, Failure> {
    let engine = Engine::connect().map_err(|error| Failure::of(&error))?;
    let swarm = engine
        .call("show the swarm", swarm::LOOK, engine.api().inspect_swarm())
        .map_err(|error| Failure::of(&error))?;
    let token = swarm.join_tokens.and_then(|tokens| tokens.manager).filter(|token| !token.is_empty());
    token
        .map(Secret::new)
        .ok_or_else(|| failure("the engine has no manager token", "is this node a manager?"))
}
