//! The agent: one process per SSH channel, until the channel closes.
//!
//! One thread reads what the operator's side says. Every look has a thread of its own; what acts is done one thing after
//! the other, and so is a proof's part that builds on the one before (`Lane`). When the channel closes, everything is
//! cancelled; a change that is being made ends by itself and is written down; then the agent lets go of what lives as long
//! as the operator's session (the probes, the apply lock) and ends, whether a look has ended or not.

mod acting;
mod lock;
mod session;
mod task;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use enxame_core::facts::SshSession;
use enxame_core::probe::ProbeRequest;
use enxame_core::protocol::{
    Failure, Hello, PROTOCOL, Reply, Request, RequestId, ToAgent, read_frame, write_frame,
};

use self::session::Session;
use self::task::{Office, Task, cancelled};
use crate::host::RealHost;

/// What waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// For nothing.
    Look,
    /// For what acted before it.
    Act,
    /// For the proof's part before it.
    Probe,
}

impl Lane {
    fn of(request: &Request) -> Self {
        match request {
            Request::Gather(_)
            | Request::ManagerToken
            | Request::TunnelKey
            | Request::Convert(_)
            | Request::TaskLog { .. }
            | Request::Probe(ProbeRequest::Scan(_) | ProbeRequest::Paths(_)) => Self::Look,
            Request::Lock { .. }
            | Request::Execute { .. }
            | Request::Confirm { .. }
            | Request::PutBack { .. }
            | Request::Settle
            | Request::Forget => Self::Act,
            Request::Probe(_) => Self::Probe,
        }
    }
}

/// What an agent does for its operator.
trait Work: Send + Sync + 'static {
    /// Does what is asked. Looks at the task's cancel where it can end early.
    fn answer(&self, request: Request, task: &Task) -> Result<Reply, Failure>;

    /// Lets go of what lives as long as the session. Nothing acts or probes any more; a look may still be at it.
    fn end(&self);
}

/// Serves one operator until the channel closes.
///
/// # Errors
/// When the channel breaks inside a frame, says what is not understood, or `from` runs out of patience.
pub fn serve(
    build: &str,
    ssh: Option<SshSession>,
    from: impl Read,
    mut to: impl Write + Send + 'static,
) -> io::Result<()> {
    write_frame(&mut to, &Hello { protocol: PROTOCOL, build: build.to_owned() })?;
    dispatch(&Arc::new(Session::new(Box::new(RealHost::new()), ssh)), from, to)
}

fn dispatch(work: &Arc<impl Work>, mut from: impl Read, to: impl Write + Send + 'static) -> io::Result<()> {
    let office = Arc::new(Office::new(to)?);
    let acting = Queue::start("act", work)?;
    let probing = Queue::start("probe", work)?;
    let outcome = loop {
        let frame = match read_frame::<ToAgent>(&mut from) {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let (id, request) = match frame {
            ToAgent::Cancel { id } => {
                office.cancel(id);
                continue;
            }
            ToAgent::Ask { id, ask } => (id, ask),
        };
        let Some(task) = office.open(id) else { break Err(twice(id)) };
        match Lane::of(&request) {
            Lane::Act => acting.put(request, task),
            Lane::Probe => probing.put(request, task),
            Lane::Look => {
                let work = Arc::clone(work);
                let look = move || answer(&*work, request, task);
                // A look that finds no thread is dropped, and so is answered.
                drop(thread::Builder::new().name("look".to_owned()).spawn(look));
            }
        }
    };
    office.cancel_all();
    probing.end();
    acting.end();
    work.end();
    office.close();
    outcome
}

fn twice(id: RequestId) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("request {} was asked twice", id.0))
}

fn answer(work: &impl Work, request: Request, task: Task) {
    let outcome = if task.cancel().is_set() { Err(cancelled()) } else { work.answer(request, &task) };
    task.answer(outcome);
}

/// A thread that does one thing after the other.
struct Queue {
    requests: Sender<(Request, Task)>,
    thread: JoinHandle<()>,
}

impl Queue {
    fn start(name: &str, work: &Arc<impl Work>) -> io::Result<Self> {
        let (requests, asked) = channel::<(Request, Task)>();
        let work = Arc::clone(work);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            for (request, task) in asked {
                answer(&*work, request, task);
            }
        })?;
        Ok(Self { requests, thread })
    }

    fn put(&self, request: Request, task: Task) {
        // What a thread that is gone cannot take is dropped, and so is answered.
        drop(self.requests.send((request, task)));
    }

    /// Waits for what is being done.
    fn end(self) {
        drop(self.requests);
        // A thread that panicked has nothing left to end.
        drop(self.thread.join());
    }
}
