//! All nodes at once: connect, lock, look. One node that does not answer does not hide what the others say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use enxame_core::config::{Config, NodeConfig};
use enxame_core::facts::{ClusterFacts, NodeFacts};
use enxame_core::names::NodeName;
use enxame_core::plan;
use enxame_core::protocol::{Reply, Request};
use futures::future::join_all;

use crate::render::progress::Progress;
use crate::transport::{Agent, OwnBinary, Target, TransportError};

/// Facts of a slow node that finds peers not answering.
const GATHER_DEADLINE: Duration = Duration::from_secs(90);
/// Anything that the agent answers at once.
pub(crate) const QUICK_DEADLINE: Duration = Duration::from_secs(30);

/// The agents of all nodes.
pub(crate) struct Fleet {
    pub(crate) agents: BTreeMap<NodeName, Agent>,
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

impl NodeError {
    /// The error with its cause and what to do.
    pub(crate) fn told(&self) -> String {
        let hint = self.source.hint().map(|hint| format!("\n      hint: {hint}")).unwrap_or_default();
        format!("{self}: {}{hint}", self.source)
    }
}

/// Everything that went wrong on any node, in the configuration's order.
#[derive(Debug, thiserror::Error)]
#[error("{}", told(.0))]
pub(crate) struct FleetError(pub(crate) Vec<NodeError>);

fn told(errors: &[NodeError]) -> String {
    errors.iter().map(NodeError::told).collect::<Vec<_>>().join("\n  ")
}

impl Fleet {
    /// Connects to every node.
    ///
    /// # Errors
    /// [`FleetError`] with every node that could not be reached.
    pub(crate) async fn connect(
        config: &Config,
        directory: &Path,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let (fleet, lost) = Self::reach(config, directory, progress).await?;
        if lost.is_empty() { Ok(fleet) } else { bail!(FleetError(lost)) }
    }

    /// Connects to every node that can be reached, and tells which cannot.
    ///
    /// # Errors
    /// When this program's own file cannot be read.
    pub(crate) async fn reach(
        config: &Config,
        directory: &Path,
        progress: &Progress,
    ) -> anyhow::Result<(Self, Vec<NodeError>)> {
        let own = OwnBinary::read()?;
        let connecting = config.nodes.iter().map(|node| {
            let own = &own;
            async move {
                progress.tell(&node.name, "connecting");
                let agent = Agent::connect(&Target::of_node(config, node, directory), own).await;
                progress.tell(&node.name, "connected");
                at(&node.name, "connect", agent)
            }
        });
        let (agents, lost) = apart(join_all(connecting).await);
        Ok((Self { agents: agents.into_iter().collect() }, lost))
    }

    /// Takes every node's lock, so that nobody else applies meanwhile.
    ///
    /// # Errors
    /// [`FleetError`] with every node that is locked by someone else.
    pub(crate) async fn lock(&mut self) -> anyhow::Result<()> {
        let operator = operator();
        let locking = self.agents.iter_mut().map(|(node, agent)| {
            let request = Request::Lock { operator: operator.clone() };
            async move { at(node, "lock the node", agent.request(&request, QUICK_DEADLINE, |_| ()).await) }
        });
        all(join_all(locking).await)?;
        Ok(())
    }

    /// Closes what earlier runs left open in the nodes' journals.
    ///
    /// # Errors
    /// [`FleetError`].
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        let settling = self.agents.iter_mut().map(|(node, agent)| async move {
            at(node, "close the journal", agent.request(&Request::Settle, QUICK_DEADLINE, |_| ()).await)
        });
        all(join_all(settling).await)?;
        Ok(())
    }

    /// Gathers the facts of every node, one request each.
    ///
    /// # Errors
    /// [`FleetError`].
    pub(crate) async fn gather(
        &mut self,
        config: &Config,
        progress: &Progress,
    ) -> anyhow::Result<ClusterFacts> {
        let (facts, lost) = self.observe(config, progress).await;
        if lost.is_empty() { Ok(facts) } else { bail!(FleetError(lost)) }
    }

    /// Gathers the facts of every node that answers, and tells which do not.
    pub(crate) async fn observe(
        &mut self,
        config: &Config,
        progress: &Progress,
    ) -> (ClusterFacts, Vec<NodeError>) {
        let declarations = enxame_node::resources::declarations();
        let looking = self.agents.iter_mut().filter_map(|(name, agent)| {
            let node: &NodeConfig = config.node(name)?;
            let request = Request::Gather(plan::query_for(config, node, &declarations));
            Some(async move {
                progress.tell(name, "gathering facts");
                let reply = agent.request(&request, GATHER_DEADLINE, |text| progress.tell(name, text)).await;
                let facts = reply.and_then(facts_of);
                at(name, "gather facts", facts)
            })
        });
        let (facts, lost) = apart(join_all(looking).await);
        (facts.into_iter().collect(), lost)
    }

    /// Ends every agent in order.
    pub(crate) async fn close(self) {
        join_all(self.agents.into_values().map(Agent::close)).await;
    }
}

fn facts_of(reply: Reply) -> Result<NodeFacts, TransportError> {
    if let Reply::Facts(facts) = reply { Ok(*facts) } else { Err(TransportError::OutOfTurn) }
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

/// Account, machine and process of whoever runs this, for locks and journals.
fn operator() -> String {
    let user =
        std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{} (process {})", host.trim(), std::process::id())
}
