//! All nodes at once: connect, lock, look. One node that does not answer does not hide what the others say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use enxame_core::change::ChangeId;
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::Declare;
use enxame_core::facts::{ClusterFacts, FactsQuery, NodeFacts};
use enxame_core::names::NodeName;
use enxame_core::plan;
use enxame_core::protocol::{Failure, Reply, Request};
use futures::future::join_all;

use crate::render::progress::Progress;
use crate::transport::{Agent, Channel, OwnBinary, Sharing, Stance, Target, TransportError};

/// Facts of a slow node that finds peers not answering.
const GATHER_DEADLINE: Duration = Duration::from_secs(90);
/// Anything that the agent answers at once.
pub(crate) const QUICK_DEADLINE: Duration = Duration::from_secs(30);
/// Whoever locks a node may have to put back first what an earlier run did not confirm.
const LOCK_DEADLINE: Duration = Duration::from_secs(120);

/// The agents of all nodes.
pub(crate) struct Fleet {
    pub(crate) agents: BTreeMap<NodeName, Agent>,
    pub(crate) doors: Doors,
}

/// How to come to each node once more.
#[derive(Clone)]
pub(crate) struct Doors {
    own: OwnBinary,
    targets: BTreeMap<NodeName, Target>,
}

impl Doors {
    /// Connects to a node over a TCP connection of its own: one that stands would hide that no new one comes through.
    pub(crate) async fn open(&self, node: &NodeName) -> Result<Agent, TransportError> {
        let target = self.targets.get(node).ok_or(TransportError::OutOfTurn)?;
        Agent::connect(target, Sharing::Never, &self.own).await
    }

    /// Shows that a new connection to a node comes through.
    ///
    /// # Errors
    /// [`TransportError`].
    pub(crate) async fn knock(&self, node: &NodeName) -> Result<(), TransportError> {
        self.open(node).await?.close().await;
        Ok(())
    }

    /// Has `change` confirmed over a new connection to its node.
    ///
    /// # Errors
    /// [`TransportError`].
    pub(crate) async fn confirm(&self, node: &NodeName, change: &ChangeId) -> Result<(), TransportError> {
        let agent = self.open(node).await?;
        let request = Request::Confirm { change: change.clone() };
        let reply = agent.request(&request, QUICK_DEADLINE, &mut |_| ()).await;
        agent.close().await;
        reply.map(drop)
    }
}

/// What went wrong on a node.
#[derive(Debug, thiserror::Error)]
#[error("{node}: cannot {attempt}")]
pub(crate) struct NodeError {
    pub(crate) node: NodeName,
    pub(crate) attempt: &'static str,
    #[source]
    pub(crate) source: TransportError,
}

/// An error and what caused it, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    Failure::of(error).causes.join(": ")
}

impl NodeError {
    /// Whether the node does not answer. One that answers and refuses is there: its word counts.
    fn is_silence(&self) -> bool {
        self.source.stance() == Stance::Absent
    }

    /// The error with its cause and what to do.
    pub(crate) fn told(&self) -> String {
        let hint = self.source.hint().map(|hint| format!("\n      hint: {hint}")).unwrap_or_default();
        format!("{self}: {}{hint}", causes(&self.source))
    }
}

/// Everything that went wrong on any node, in the configuration's order.
#[derive(Debug, thiserror::Error)]
#[error("{}", told(.0))]
pub(crate) struct FleetError(pub(crate) Vec<NodeError>);

fn told(errors: &[NodeError]) -> String {
    errors.iter().map(NodeError::told).collect::<Vec<_>>().join("\n  ")
}

/// Whether what is seen may move before it is acted on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locking {
    /// Others may apply meanwhile.
    Free,
    /// Nobody else can. An apply holds every node's lock, so a node that is locked and seen does not move while the
    /// others are still being locked.
    Locked,
}

impl Fleet {
    /// Connects to every node and gathers its facts; a node that does not answer is a hole in them, and told with what to
    /// do about it. No node waits for another.
    ///
    /// # Errors
    /// [`FleetError`] with every node that answers and does not do as it is asked: it is in nobody's interest to go on
    /// without it. Also when this program's own file cannot be read.
    pub(crate) async fn reach(
        config: &Config,
        directory: &Path,
        locking: Locking,
        progress: &Progress,
    ) -> anyhow::Result<(Self, ClusterFacts, Vec<NodeError>)> {
        let own = OwnBinary::read()?;
        let declarations = enxame_core::areas::resources();
        let looks = config.nodes.iter().map(|node| {
            let (own, declarations) = (&own, &declarations);
            async move {
                let failed = |attempt| move |source| NodeError { node: node.name.clone(), attempt, source };
                progress.tell(&node.name, "connecting");
                let target = Target::of_node(config, node, directory);
                let agent =
                    Agent::connect(&target, Sharing::Allowed, own).await.map_err(failed("connect"))?;
                if locking == Locking::Locked {
                    let mut told = |text: &str| progress.note(&format!("{:<14} {text}", node.name.as_str()));
                    let locked = agent.request(&lock_request(), LOCK_DEADLINE, &mut told).await;
                    locked.map_err(failed("lock the node"))?;
                }
                let query = plan::query_for(config, node, declarations);
                let facts = gather(&agent, &node.name, query, progress).await?;
                Ok((node.name.clone(), (agent, facts, Instant::now())))
            }
        });
        let (seen, errors) = apart(join_all(looks).await);
        let (lost, refused): (Vec<_>, Vec<_>) = errors.into_iter().partition(NodeError::is_silence);
        if !refused.is_empty() {
            bail!(FleetError(refused));
        }
        let targets =
            config.nodes.iter().map(|node| (node.name.clone(), Target::of_node(config, node, directory)));
        let doors = Doors { targets: targets.collect(), own };
        let mut fleet = Self { agents: BTreeMap::new(), doors };
        let mut facts = ClusterFacts::default();
        for (name, (agent, mut seen, at)) in seen {
            fleet.agents.insert(name.clone(), agent);
            // No node waited for another: their clocks are compared as of now.
            seen.volatile.clock_unix_ms += u64::try_from(at.elapsed().as_millis()).unwrap_or_default();
            facts.insert(name, seen);
        }
        for error in &lost {
            facts.insert_hole(
                error.node.clone(),
                format!("cannot {}: {}", error.attempt, causes(&error.source)),
            );
        }
        Ok((fleet, facts, lost))
    }

    /// Closes what earlier runs left open in the nodes' journals.
    ///
    /// # Errors
    /// [`FleetError`].
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let settling = self.agents.iter().map(|(node, agent)| async move {
            let settled = agent.request(&Request::Settle, QUICK_DEADLINE, &mut |_| ()).await;
            at(node, "close the journal", settled)
        });
        all(join_all(settling).await)?;
        Ok(())
    }

    /// Takes away what is left of enxame on every node; the agents are the last of it.
    ///
    /// # Errors
    /// [`FleetError`].
    pub(crate) async fn forget(&self) -> anyhow::Result<()> {
        let forgetting = self.agents.iter().map(|(node, agent)| async move {
            let forgotten = agent.request(&Request::Forget, QUICK_DEADLINE, &mut |_| ()).await;
            at(node, "take away /var/lib/enxame", forgotten)
        });
        all(join_all(forgetting).await)?;
        Ok(())
    }

    /// Gathers the facts of every node again, one request each. One that does not answer any more is a hole.
    pub(crate) async fn gather(&self, config: &Config, progress: &Progress) -> ClusterFacts {
        self.gather_what(plan::query_for, config, progress).await
    }

    /// The same, for other questions.
    pub(crate) async fn gather_what(
        &self,
        query_for: impl Fn(&Config, &NodeConfig, &[&dyn Declare]) -> FactsQuery,
        config: &Config,
        progress: &Progress,
    ) -> ClusterFacts {
        let declarations = enxame_core::areas::resources();
        let looking = self.agents.iter().filter_map(|(name, agent)| {
            let query = query_for(config, config.node(name)?, declarations);
            Some(async move { (name.clone(), gather(agent, name, query, progress).await) })
        });
        let mut facts = ClusterFacts::default();
        for (node, seen) in join_all(looking).await {
            match seen {
                Ok(seen) => facts.insert(node, seen),
                Err(error) => facts.insert_hole(node, causes(&error.source)),
            }
        }
        for node in config.nodes.iter().filter(|node| !self.agents.contains_key(&node.name)) {
            facts.insert_hole(node.name.clone(), "it did not answer when this began");
        }
        facts
    }

    /// Ends every agent in order.
    pub(crate) async fn close(self) {
        join_all(self.agents.into_values().map(Agent::close)).await;
    }
}

async fn gather(
    agent: &dyn Channel,
    name: &NodeName,
    query: FactsQuery,
    progress: &Progress,
) -> Result<NodeFacts, NodeError> {
    progress.tell(name, "gathering facts");
    let request = Request::Gather(query);
    let mut told = |text: &str| progress.tell(name, text);
    let source = match agent.request(&request, GATHER_DEADLINE, &mut told).await {
        Ok(Reply::Facts(facts)) => return Ok(*facts),
        Ok(_) => TransportError::OutOfTurn,
        Err(error) => error,
    };
    Err(NodeError { node: name.clone(), attempt: "gather facts", source })
}

fn at<T>(
    node: &NodeName,
    attempt: &'static str,
    outcome: Result<T, TransportError>,
) -> Result<(NodeName, T), NodeError> {
    match outcome {
        Ok(value) => Ok((node.clone(), value)),
        Err(source) => Err(NodeError { node: node.clone(), attempt, source }),
    }
}

/// What worked and what did not, each in order.
fn apart<T>(outcomes: Vec<Result<T, NodeError>>) -> (Vec<T>, Vec<NodeError>) {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    (values, errors)
}

fn all<T>(outcomes: Vec<Result<T, NodeError>>) -> anyhow::Result<Vec<T>> {
    let (values, errors) = apart(outcomes);
    if errors.is_empty() { Ok(values) } else { bail!(FleetError(errors)) }
}

/// Asks for a node's lock in the name of whoever runs this.
pub(crate) fn lock_request() -> Request {
    Request::Lock { operator: operator() }
}

/// Account, machine and process of whoever runs this, for locks and journals.
fn operator() -> String {
    let user =
        std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{} (process {})", host.trim(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(source: TransportError) -> NodeError {
        NodeError { node: NodeName::new("kvm8").unwrap(), attempt: "connect", source }
    }

    #[test]
    fn a_node_that_does_not_answer_is_silent_and_one_that_refuses_is_not() {
        let after = Duration::from_secs(9);
        assert!(error(TransportError::TimedOut { attempt: "connect", after }).is_silence());
        let failure = Failure { causes: vec!["another enxame is at work".to_owned()], hint: None };
        assert!(!error(TransportError::Failed(failure)).is_silence());
        assert!(!error(TransportError::OtherBuild("x".to_owned())).is_silence());
    }
}
