//! What the agents saw, as the operator's side collected it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::exposure::Sighting;
use super::{SharedObservations, Subject};
use crate::facts::Observed;
use crate::names::NodeName;
use crate::probe::{Capture, MeshOutcome, PathQuality, ProbeTask, TrafficOutcome};

/// Something observed on each node.
pub type PerNode<T> = BTreeMap<NodeName, Observed<T>>;

/// All that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observations {
    /// The nodes that nobody could ask anything, and why.
    pub unreachable: BTreeMap<NodeName, String>,
    /// What a run of probes saw; `None` where there was none.
    pub wire: Option<WireObservations>,
    /// Who reached which ports of whom.
    pub sightings: Vec<Sighting>,
    /// What was seen of the tunnels and the shared files; `None` where nobody looked.
    pub shared: Option<SharedObservations>,
}

/// All that was seen in a run of probes. What is absent was not observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireObservations {
    /// What was to be proven about whom.
    pub subject: Subject,
    /// How echo requests from each node fared, by the peer's address.
    pub paths: PerNode<BTreeMap<IpAddr, Result<PathQuality, String>>>,
    /// The probe's task on each node.
    pub tasks: PerNode<ProbeTask>,
    /// The loads, in order; one for each network that was loaded.
    pub phases: Vec<Phase>,
    /// What each node saw from before the probe was deployed until the last load was over.
    pub whole: PerNode<Capture>,
    /// Why loads are missing, when the run came to an early end.
    pub trouble: Option<String>,
}

/// A load on one network, put on it by all nodes at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// The network's id.
    pub network: String,
    /// What each node had seen before.
    pub before: PerNode<Capture>,
    /// What came of the load.
    pub load: PerNode<LoadOutcome>,
    /// What each node had seen after.
    pub after: PerNode<Capture>,
}

/// What came of a load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadOutcome {
    /// Exchanges with every task on an ordinary network.
    Traffic(TrafficOutcome),
    /// Requests through the routing mesh.
    Mesh(MeshOutcome),
}

impl WireObservations {
    /// The load on a network, or why there was none.
    pub(crate) fn phase(&self, network: &str) -> Result<&Phase, String> {
        self.phases.iter().find(|phase| phase.network == network).ok_or_else(|| {
            let why = self.trouble.as_deref().unwrap_or("the run did not get that far");
            format!("no load was put on it: {why}")
        })
    }
}

/// Why nothing is known of a node.
#[must_use]
pub fn unanswered(node: &NodeName, why: &str) -> String {
    format!("{node} does not answer: {why}")
}

/// What was observed on a node, or why it was not.
pub(crate) fn on<'a, T>(observed: &'a PerNode<T>, node: &NodeName) -> Result<&'a T, String> {
    match observed.get(node) {
        Some(Observed::Known(value)) => Ok(value),
        Some(Observed::Unknown(why)) => Err(format!("{node}: {why}")),
        None => Err(format!("{node}: not observed")),
    }
}
