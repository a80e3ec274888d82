//! The agents of a fleet as a run needs them.

use std::collections::BTreeMap;
use std::time::Duration;

use enxame_core::names::NodeName;
use enxame_core::probe::{ProbeReply, ProbeRequest};
use enxame_core::protocol::{Reply, Request};
use tokio::sync::Mutex;

use super::Probing;
use crate::fleet::{Fleet, FleetError, NodeError, causes};
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

/// Why nobody can ask the nodes that were lost.
///
/// # Errors
/// A node that answered and refused (it is locked, say) is not away, and where this host has no ssh, nobody is: these are
/// errors.
pub(crate) fn unreachable(lost: Vec<NodeError>) -> Result<BTreeMap<NodeName, String>, FleetError> {
    let is_away =
        |error: &NodeError| !matches!(error.source, TransportError::Failed(_) | TransportError::NoSsh(_));
    let (away, refused): (Vec<_>, Vec<_>) = lost.into_iter().partition(is_away);
    if !refused.is_empty() {
        return Err(FleetError(refused));
    }
    let why = |error: NodeError| {
        let text = format!("cannot {}: {}", error.attempt, causes(&error.source));
        (error.node, text)
    };
    Ok(away.into_iter().map(why).collect())
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

#[cfg(test)]
mod tests {
    use enxame_core::protocol::Failure;

    use super::*;

    fn lost(node: &str, source: TransportError) -> NodeError {
        NodeError { node: NodeName::new(node).unwrap(), attempt: "connect", source }
    }

    fn timed_out() -> TransportError {
        TransportError::TimedOut { attempt: "connect", after: Duration::from_secs(9) }
    }

    #[test]
    fn a_node_that_does_not_answer_is_away_and_says_why() {
        let away = unreachable(vec![lost("kvm8", timed_out())]).unwrap();
        let why = "cannot connect: no answer within 9 s while trying to connect".to_owned();
        assert_eq!(away, BTreeMap::from([(NodeName::new("kvm8").unwrap(), why)]));
        assert_eq!(unreachable(Vec::new()).unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_node_that_answers_and_refuses_is_an_error_whoever_else_is_away() {
        let failure = Failure { causes: vec!["another enxame is at work".to_owned()], hint: None };
        let refused = lost("kvm2", TransportError::Failed(failure));
        let FleetError(errors) = unreachable(vec![lost("kvm8", timed_out()), refused]).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.node.as_str()).collect::<Vec<_>>(), ["kvm2"]);
    }
}
