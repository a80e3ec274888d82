//! The agents of a fleet as a run needs them.

use std::collections::BTreeMap;
use std::time::Duration;

use enxame_core::names::NodeName;
use enxame_core::probe::{ProbeReply, ProbeRequest};
use enxame_core::protocol::{Reply, Request};
use tokio::sync::Mutex;

use super::Probing;
use crate::fleet::{Fleet, causes};
use crate::render::progress::Progress;
use crate::transport::{Agent, TransportError};

/// A fleet's agents.
pub(crate) struct FleetProbing<'a> {
    agents: BTreeMap<NodeName, Mutex<Line<'a>>>,
    progress: &'a Progress,
}

struct Line<'a> {
    agent: &'a mut Agent,
    /// Why the agent is of no more use: after a lost reply nobody knows what the next one answers.
    broken: Option<String>,
}

impl<'a> FleetProbing<'a> {
    pub(crate) fn new(fleet: &'a mut Fleet, progress: &'a Progress) -> Self {
        let line = |(node, agent): (&NodeName, &'a mut Agent)| {
            (node.clone(), Mutex::new(Line { agent, broken: None }))
        };
        Self { agents: fleet.agents.iter_mut().map(line).collect(), progress }
    }
}

impl Probing for FleetProbing<'_> {
    async fn probe(
        &self,
        node: &NodeName,
        request: ProbeRequest,
        deadline: Duration,
    ) -> Result<ProbeReply, String> {
        let line = self.agents.get(node).ok_or("there is no connection")?;
        let mut line = line.lock().await;
        if let Some(why) = &line.broken {
            return Err(why.clone());
        }
        let tell = |text: &str| self.progress.tell(node, text);
        let reply = line.agent.request(&Request::Probe(request), deadline, tell).await;
        match reply {
            Ok(Reply::Probe(reply)) => Ok(reply),
            Err(TransportError::Failed(failure)) => Err(failure.causes.join(": ")),
            outcome => {
                let error = outcome.err().unwrap_or(TransportError::OutOfTurn);
                let why = causes(&error);
                line.broken = Some(why.clone());
                Err(why)
            }
        }
    }
}
