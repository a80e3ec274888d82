//! The wire probes: what an agent does and watches for `verify`.
//!
//! Owns everything a proof makes on a node (watches, service, image) and takes it away again: on request, and when
//! [`Probes`] is dropped because the operator's side went away. Judges nothing.

mod doors;
mod error;
mod exchange;
mod image;
mod names;
mod namespace;
mod paths;
pub mod responder;
mod service;
mod shared;
mod traffic;
mod watch;

use enxame_core::probe::{Doors, Echoes, ProbeReply, ProbeRequest, Scan, Sharing, SharingStep};

pub use error::ProbeError;

use self::watch::Watcher;
use crate::cancel::Cancel;
use crate::engine::{Engine, EngineError};
use crate::scan::{self, Effort, ScanError};

/// What this agent has running for a proof.
#[derive(Debug, Default)]
pub struct Probes {
    /// Connected to when it is first needed.
    engine: Option<Engine>,
    watcher: Option<Watcher>,
    /// The run whose service this agent deployed.
    deployed: Option<String>,
    has_image: bool,
}

impl Probes {
    /// Nothing running.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does one part of a proof. `progress` gets short texts for people. What takes long ends soon after it is cancelled;
    /// what it has put up by then is taken away by the parts that do so.
    ///
    /// # Errors
    /// [`ProbeError`]: the part could not be done, or was cancelled. What a part saw, good or bad, is in its reply.
    pub fn handle(
        &mut self,
        request: &ProbeRequest,
        cancel: &Cancel,
        progress: &mut dyn FnMut(&str),
    ) -> Result<ProbeReply, ProbeError> {
        match request {
            ProbeRequest::Paths(order) => paths(order, cancel, progress),
            ProbeRequest::PrepareImage => {
                progress("loading the probe's image");
                self.has_image = true;
                Ok(ProbeReply::Image { id: service::load_image(self.engine()?, cancel)? })
            }
            ProbeRequest::WatchStart(watch) => {
                self.watcher = None;
                self.watcher.insert(Watcher::start(watch)?).read().map(ProbeReply::Wire)
            }
            ProbeRequest::Deploy(deployment) => {
                service::remove_leftovers(self.engine()?, progress)?;
                self.deployed = Some(deployment.run.clone());
                let engine = self.engine()?;
                service::deploy(engine, deployment, cancel, progress).map(ProbeReply::Deployed)
            }
            ProbeRequest::Locate { run } => service::locate(self.engine()?, run).map(ProbeReply::Located),
            ProbeRequest::WatchRead => self.watcher()?.read().map(ProbeReply::Wire),
            ProbeRequest::Traffic(order) => {
                progress(&format!("talking to {} peers on {}", order.peers.len(), order.network.name));
                let process = service::process_of(self.engine()?, &order.container)?;
                let outcome = namespace::inside_of(process, || traffic::traffic(order, cancel))?;
                unless(cancel, ProbeReply::Traffic(outcome))
            }
            ProbeRequest::Mesh(order) => {
                progress(&format!("talking to port {} through the routing mesh", order.port));
                unless(cancel, ProbeReply::Mesh(traffic::mesh(order, cancel)))
            }
            ProbeRequest::WatchStop => {
                let capture = self.watcher()?.read();
                self.watcher = None;
                capture.map(ProbeReply::Wire)
            }
            ProbeRequest::RemoveService { run } => {
                service::remove_service(self.engine()?, run)?;
                self.deployed = None;
                Ok(ProbeReply::Cleaned)
            }
            ProbeRequest::Clean => {
                self.watcher = None;
                progress("waiting for the probe's containers to go");
                service::await_no_containers(self.engine()?)?;
                service::remove_images(self.engine()?, None)?;
                self.has_image = false;
                Ok(ProbeReply::Cleaned)
            }
            ProbeRequest::Scan(order) => Ok(scan(order, cancel, progress)?),
            ProbeRequest::Share(order) => share(order, cancel, progress),
            ProbeRequest::Doors(order) => doors(order, cancel, progress),
        }
    }

    fn engine(&mut self) -> Result<&Engine, EngineError> {
        let engine = match self.engine.take() {
            Some(engine) => engine,
            None => Engine::connect()?,
        };
        Ok(self.engine.insert(engine))
    }

    fn watcher(&self) -> Result<&Watcher, ProbeError> {
        self.watcher.as_ref().ok_or(ProbeError::NotWatching)
    }

    /// Takes away what is left; nobody is there any more to be told about errors, and the next run's start
    /// removes what could not be removed now.
    fn abandon(&mut self) -> Result<(), ProbeError> {
        if self.deployed.is_none() && !self.has_image {
            return Ok(());
        }
        let engine = Engine::connect()?;
        if let Some(run) = self.deployed.take() {
            service::remove_service(&engine, &run)?;
        }
        service::await_no_containers(&engine)?;
        service::remove_images(&engine, None)
    }
}

/// What a part saw, but not what it saw of half of it.
fn unless(cancel: &Cancel, reply: ProbeReply) -> Result<ProbeReply, ProbeError> {
    if cancel.is_set() { Err(ProbeError::Cancelled) } else { Ok(reply) }
}

/// Sends echo requests to peers. Nothing is left of it, and no engine is asked.
///
/// # Errors
/// [`ProbeError::Cancelled`].
pub fn paths(
    order: &Echoes,
    cancel: &Cancel,
    progress: &mut dyn FnMut(&str),
) -> Result<ProbeReply, ProbeError> {
    progress(&format!("sending {} echo requests to {} peers", order.count, order.peers.len()));
    unless(cancel, ProbeReply::Paths(paths::measure(order, cancel)))
}

/// Writes, reads or erases on shared files. Nothing stays mounted, and no engine is asked.
///
/// # Errors
/// [`ProbeError::Cancelled`].
pub fn share(
    order: &Sharing,
    cancel: &Cancel,
    progress: &mut dyn FnMut(&str),
) -> Result<ProbeReply, ProbeError> {
    progress(match order.step {
        SharingStep::Write => "writing to shared files",
        SharingStep::Read(_) => "reading what others wrote",
        SharingStep::Erase => "removing what was written",
    });
    unless(cancel, ProbeReply::Shared(shared::share(order, cancel)))
}

/// Tries ways to shared files that are to be shut. Nothing is left of it, and no engine is asked.
///
/// # Errors
/// [`ProbeError::Cancelled`].
pub fn doors(
    order: &Doors,
    cancel: &Cancel,
    progress: &mut dyn FnMut(&str),
) -> Result<ProbeReply, ProbeError> {
    progress("trying other ways to the shared files");
    unless(cancel, ProbeReply::Doors(doors::try_all(order)))
}

/// Tries the ports of an address from this node. Nothing is left of it, and no engine is asked.
///
/// # Errors
/// [`ScanError`].
pub fn scan(order: &Scan, cancel: &Cancel, progress: &mut dyn FnMut(&str)) -> Result<ProbeReply, ScanError> {
    let effort = Effort { window: scan::window(1), cancelled: cancel.flag() };
    let mut tell = |percent| progress(&format!("scanning {}: {percent} %", order.target));
    scan::scan(order, effort, &mut tell).map(ProbeReply::Scanned)
}

impl Drop for Probes {
    fn drop(&mut self) {
        let _ = self.abandon();
    }
}
