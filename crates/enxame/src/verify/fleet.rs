//! The agents of a fleet as a run needs them.

use std::collections::BTreeMap;
use std::time::Duration;

use enxame_core::names::NodeName;
use enxame_core::probe::{ProbeReply, ProbeRequest};
use enxame_core::protocol::{Reply, Request};

use super::Probing;
use crate::fleet::{Fleet, causes};
use crate::render::progress::Progress;
use crate::transport::{Agent, Channel, TransportError};

/// A fleet's agents.
pub(crate) struct FleetProbing<'a> {
    agents: &'a BTreeMap<NodeName, Agent>,
    progress: &'a Progress,
}

impl<'a> FleetProbing<'a> {
    pub(crate) fn new(fleet: &'a Fleet, progress: &'a Progress) -> Self {
        Self { agents: &fleet.agents, progress }
    }
}

impl Probing for FleetProbing<'_> {
    async fn probe(
        &self,
        node: &NodeName,
        request: ProbeRequest,
        deadline: Duration,
    ) -> Result<ProbeReply, String> {
        let agent = self.agents.get(node).ok_or("there is no connection")?;
        let mut tell = |text: &str| self.progress.tell(node, text);
        match agent.request(&Request::Probe(request), deadline, &mut tell).await {
            Ok(Reply::Probe(reply)) => Ok(reply),
            Err(TransportError::Failed(failure)) => Err(failure.causes.join(": ")),
            outcome => Err(causes(&outcome.err().unwrap_or(TransportError::OutOfTurn))),
        }
    }
}
