//! The wire probes: what an agent does and watches for `verify`.
//!
//! Owns everything a proof makes on a node (watches, service, image) and takes it away again: on request, and when
//! [`Probes`] is dropped because the operator's side went away. Judges nothing.

mod error;
mod exchange;
mod image;
mod names;
mod namespace;
mod paths;
pub mod responder;
mod service;
mod traffic;
mod watch;

use std::sync::atomic::AtomicBool;

use enxame_core::probe::{ProbeReply, ProbeRequest, Scan};

pub use error::ProbeError;

use self::watch::Watcher;
use crate::engine::Engine;
use crate::scan::{self, Effort, ScanError};

/// What this agent has running for a proof.
#[derive(Debug, Default)]
pub struct Probes {
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

    /// Does one part of a proof. `progress` gets short texts for people.
    ///
    /// # Errors
    /// [`ProbeError`]: the part could not be done. What a part saw, good or bad, is in its reply.
    pub fn handle(
        &mut self,
        request: &ProbeRequest,
        engine: &Engine,
        progress: &mut dyn FnMut(&str),
    ) -> Result<ProbeReply, ProbeError> {
        match request {
            ProbeRequest::Paths(order) => {
                progress(&format!("sending {} echo requests to {} peers", order.count, order.peers.len()));
                Ok(ProbeReply::Paths(paths::measure(order)))
            }
            ProbeRequest::PrepareImage => {
                progress("loading the probe's image");
                self.has_image = true;
                Ok(ProbeReply::Image { id: service::load_image(engine)? })
            }
            ProbeRequest::WatchStart(watch) => {
                self.watcher = None;
                self.watcher.insert(Watcher::start(watch)?).read().map(ProbeReply::Wire)
            }
            ProbeRequest::Deploy(deployment) => {
                service::remove_leftovers(engine, progress)?;
                self.deployed = Some(deployment.run.clone());
                service::deploy(engine, deployment, progress).map(ProbeReply::Deployed)
            }
            ProbeRequest::Locate { run } => service::locate(engine, run).map(ProbeReply::Located),
            ProbeRequest::WatchRead => self.watcher()?.read().map(ProbeReply::Wire),
            ProbeRequest::Traffic(order) => {
                progress(&format!("talking to {} peers on {}", order.peers.len(), order.network.name));
                let process = service::process_of(engine, &order.container)?;
                namespace::inside_of(process, || traffic::traffic(order)).map(ProbeReply::Traffic)
            }
            ProbeRequest::Mesh(order) => {
                progress(&format!("talking to port {} through the routing mesh", order.port));
                Ok(ProbeReply::Mesh(traffic::mesh(order)))
            }
            ProbeRequest::WatchStop => {
                let view = self.watcher()?.read();
                self.watcher = None;
                view.map(ProbeReply::Wire)
            }
            ProbeRequest::RemoveService { run } => {
                service::remove_service(engine, run)?;
                self.deployed = None;
                Ok(ProbeReply::Cleaned)
            }
            ProbeRequest::Clean => {
                self.watcher = None;
                progress("waiting for the probe's containers to go");
                service::await_no_containers(engine)?;
                service::remove_images(engine, None)?;
                self.has_image = false;
                Ok(ProbeReply::Cleaned)
            }
            ProbeRequest::Scan(order) => Ok(scan(order, progress)?),
        }
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

/// Tries the ports of an address from this node. Nothing is left of it, and no engine is asked.
///
/// # Errors
/// [`ScanError`].
pub fn scan(order: &Scan, progress: &mut dyn FnMut(&str)) -> Result<ProbeReply, ScanError> {
    let effort = Effort { window: scan::window(1), cancelled: &AtomicBool::new(false) };
    let mut tell = |percent| progress(&format!("scanning {}: {percent} %", order.target));
    scan::scan(order, effort, &mut tell).map(ProbeReply::Scanned)
}

impl Drop for Probes {
    fn drop(&mut self) {
        let _ = self.abandon();
    }
}
