//! The wire probes: what an agent does and watches for `verify`.
//!
//! Owns everything a proof makes on a node (watches, service, image) and takes it away again: on request, and when
//! [`Probes`] is dropped because the operator's side went away. Judges nothing.

mod error;
pub mod responder;

use enxame_core::probe::{ProbeReply, ProbeRequest};

pub use error::ProbeError;

use crate::engine::Engine;

/// What this agent has running for a proof.
#[derive(Debug, Default)]
pub struct Probes {}

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
        let _ = (request, engine);
        progress("nothing");
        Err(ProbeError::NotWatching)
    }
}
