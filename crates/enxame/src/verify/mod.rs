//! `enxame verify`: puts a load on every overlay network while both ends of every pair of nodes watch the wire, and looks
//! at who reaches which ports.
//!
//! What is done is what the chosen proofs need ([`enxame_core::proofs::Need`]). [`observe`] drives the agents through the
//! steps of a run and always takes away what it put there; it decides nothing: [`enxame_core::proofs::judge`] does.
//! [`Probing`] is all it knows of agents.

mod exposure;
mod fleet;
mod load;
mod lookout;
pub(crate) mod render;
mod run;
mod shared;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

use enxame_core::names::NodeName;
use enxame_core::probe::{ProbeReply, ProbeRequest};

pub(crate) use exposure::{Scene, look_around};
pub(crate) use fleet::FleetProbing;
pub(crate) use lookout::FromHere;
pub(crate) use run::{Course, RunIdentity, observe};
pub(crate) use shared::{Look, observe_shared};

/// The agents, as a run needs them. Requests go on at the same time; one that is dropped is ended on its node.
pub(crate) trait Probing {
    /// Asks one node. The error is a sentence for people, with its causes.
    fn probe(
        &self,
        node: &NodeName,
        request: ProbeRequest,
        deadline: Duration,
    ) -> impl Future<Output = Result<ProbeReply, String>>;
}
