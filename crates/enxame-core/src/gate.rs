//! Gates: what must hold right before a step, and what must come true after it.
//!
//! A step carries them as data. Whoever carries it out looks again, gives the looks to [`Gate::check`], and waits until it
//! holds or [`Gate::deadline`] is over: what was true when the plan was printed is not assumed to be true when it is
//! carried out. Invariant: what could not be seen does not hold.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::areas::stacks::convergence::{Look, Verdict, judge};
use crate::areas::swarm::Workloads;
use crate::config::Config;
use crate::facts::{ClusterFacts, EngineState, LocalSwarmState, SwarmFacts, SwarmNodeFacts};
use crate::names::NodeName;

/// A condition of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The managers keep their majority while this node is away.
    QuorumSurvives {
        /// The node that will be away.
        without: NodeName,
    },
    /// Every other member of the swarm answers and is ready.
    OthersReady {
        /// The node whose turn it is.
        but: NodeName,
    },
    /// At least as many tasks of each service run.
    TasksRun {
        /// How many, by service.
        services: BTreeMap<String, usize>,
    },
    /// The node is a ready member of the swarm, and its engine answers.
    NodeReady {
        /// The node.
        node: NodeName,
    },
    /// Nothing is scheduled on the node, and nothing runs there any more.
    NodeDrained {
        /// The node.
        node: NodeName,
    },
    /// The node has booted since.
    NodeRebooted {
        /// The node.
        node: NodeName,
        /// What `/proc/sys/kernel/random/boot_id` said before.
        boot_id: String,
    },
    /// The node can add ESP associations, so that encrypted networks carry its traffic.
    EncryptsTraffic {
        /// The node.
        node: NodeName,
    },
    /// Every task of these services runs as their entries say, and has for its monitor time.
    Converged {
        /// The services, by name.
        services: Vec<String>,
        /// How long that may take, in seconds.
        within_s: u64,
    },
}

/// Why a gate does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shut {
    /// For people.
    pub why: String,
    /// Whether waiting cannot help.
    pub is_final: bool,
}

impl Shut {
    /// It may come true.
    #[must_use]
    pub fn yet(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_final: false }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QuorumSurvives { without } => {
                write!(f, "the managers keep their majority without {without}")
            }
            Self::OthersReady { but } => write!(f, "every node but {but} is ready"),
            Self::TasksRun { .. } => write!(f, "as many tasks run as before"),
            Self::NodeReady { node } => write!(f, "{node} is ready"),
            Self::NodeDrained { node } => write!(f, "nothing runs on {node}"),
            Self::NodeRebooted { node, .. } => write!(f, "{node} has booted"),
            Self::EncryptsTraffic { node } => write!(f, "{node} encrypts"),
            Self::Converged { services, .. } => write!(f, "{} runs", services.join(", ")),
        }
    }
}

impl Gate {
    /// How long it may take to come true.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let seconds = match self {
            // A manager that has just come back is heard of again within an election (10 to 20 s) and a heartbeat.
            Self::QuorumSurvives { .. } | Self::OthersReady { .. } => 90,
            // An image may have to be fetched, and a health check has its start period. A container that does not end is
            // killed after its grace period: 10 s where nobody said otherwise.
            Self::TasksRun { .. }
            | Self::NodeReady { .. }
            | Self::NodeDrained { .. }
            | Self::EncryptsTraffic { .. } => 300,
            // A server with much memory counts it first.
            Self::NodeRebooted { .. } => 900,
            Self::Converged { within_s, .. } => *within_s,
        };
        Duration::from_secs(seconds)
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// [`Shut`], with the reason.
    pub fn check(&self, config: &Config, facts: &ClusterFacts) -> Result<(), Shut> {
        match self {
            Self::QuorumSurvives { without } => quorum_survives(config, facts, without),
            Self::OthersReady { but } => others_ready(config, facts, but),
            Self::TasksRun { services } => tasks_run(facts, services),
            Self::NodeReady { node } => node_ready(config, facts, node),
            Self::NodeDrained { node } => node_drained(config, facts, node),
            Self::NodeRebooted { node, boot_id } => {
                match facts.get(node).map(|facts| &facts.volatile.boot_id) {
                    Some(now) if !now.is_empty() && now != boot_id => Ok(()),
                    Some(_) => Err(Shut::yet(format!("{node} has not gone down yet"))),
                    None => Err(Shut::yet(format!("{node} does not answer"))),
                }
            }
            Self::EncryptsTraffic { node } => match facts.get(node).map(|facts| facts.esp.known()) {
                Some(Some(true)) => Ok(()),
                Some(Some(false)) => {
                    Err(Shut::yet(format!("the kernel of {node} refuses an ESP association")))
                }
                Some(None) => Err(Shut::yet(format!("whether {node} can encrypt could not be tried"))),
                None => Err(Shut::yet(format!("{node} does not answer"))),
            },
            Self::Converged { services, .. } => converged(facts, services),
        }
    }
}

fn converged(facts: &ClusterFacts, services: &[String]) -> Result<(), Shut> {
    let swarm = leading(facts)?;
    let seen = facts.values().find_map(|facts| Some((facts, facts.volatile.workloads.as_ref()?)));
    let Some((manager, workloads)) = seen else {
        return Err(Shut::yet("no manager tells what runs"));
    };
    let look = Look { swarm, workloads, now_unix_ms: manager.volatile.clock_unix_ms };
    let mut waits = None;
    for name in services {
        match workloads.services.get(name).map(|service| judge(name, service, look)) {
            None => return Err(Shut { why: format!("{name} was removed"), is_final: true }),
            Some(Verdict::Failed(why)) => return Err(Shut { why, is_final: true }),
            Some(Verdict::Waits(why)) => waits = waits.or(Some(why)),
            Some(Verdict::Converged) => {}
        }
    }
    waits.map_or(Ok(()), |why| Err(Shut::yet(why)))
}

/// The swarm as a manager with quorum sees it.
fn leading(facts: &ClusterFacts) -> Result<&SwarmFacts, Shut> {
    let mut swarms = facts.values().filter_map(|facts| facts.engine.swarm());
    swarms
        .find(|swarm| swarm.is_manager_with_quorum)
        .ok_or_else(|| Shut::yet("no manager that answers reaches a majority of the managers".to_owned()))
}

fn member<'a>(config: &Config, swarm: &'a SwarmFacts, node: &NodeName) -> Option<&'a SwarmNodeFacts> {
    swarm.member_at(config.node(node)?.address)
}

fn is_voting(node: &SwarmNodeFacts) -> bool {
    node.is_manager && node.state == "ready" && node.reachability == "reachable"
}

fn quorum_survives(config: &Config, facts: &ClusterFacts, without: &NodeName) -> Result<(), Shut> {
    let swarm = leading(facts)?;
    let own = member(config, swarm, without);
    if own.is_none_or(|own| !own.is_manager) {
        return Ok(());
    }
    let managers: Vec<&SwarmNodeFacts> = swarm.nodes.iter().filter(|node| node.is_manager).collect();
    let own_id = own.map(|own| own.id.as_str()).unwrap_or_default();
    let left = managers.iter().filter(|node| is_voting(node) && node.id != own_id).count();
    let needed = managers.len() / 2 + 1;
    // One or two managers never survive the loss of one: that was said when the plan was shown.
    if left >= needed || (managers.len() < 3 && managers.iter().all(|node| is_voting(node))) {
        return Ok(());
    }
    let missing: Vec<&str> =
        managers.iter().filter(|node| !is_voting(node)).map(|node| name_of(config, node)).collect();
    let missing =
        if missing.is_empty() { String::new() } else { format!(" ({} missing)", missing.join(", ")) };
    Err(Shut::yet(format!(
        "{left} of {} managers would be left, {needed} are needed{missing}",
        managers.len()
    )))
}

fn name_of<'a>(config: &'a Config, node: &'a SwarmNodeFacts) -> &'a str {
    let known = config.nodes.iter().find(|known| node.address.parse() == Ok(known.address));
    known.map_or(&node.hostname, |known| known.name.as_str())
}

fn others_ready(config: &Config, facts: &ClusterFacts, but: &NodeName) -> Result<(), Shut> {
    let swarm = leading(facts)?;
    for node in config.nodes.iter().filter(|node| node.name != *but) {
        let Some(member) = member(config, swarm, &node.name) else { continue };
        // The swarm may not have noticed yet what is under way there.
        if facts.get(&node.name).is_none() {
            return Err(Shut::yet(format!("{} does not answer", node.name)));
        }
        if member.state != "ready" {
            return Err(Shut::yet(format!("{} is {}", node.name, member.state)));
        }
        if member.is_manager && member.reachability != "reachable" {
            return Err(Shut::yet(format!("{} is {} to the other managers", node.name, member.reachability)));
        }
    }
    Ok(())
}

fn workloads(facts: &ClusterFacts) -> Option<&Workloads> {
    facts.values().find_map(|facts| facts.volatile.workloads.as_ref())
}

fn tasks_run(facts: &ClusterFacts, services: &BTreeMap<String, usize>) -> Result<(), Shut> {
    if services.is_empty() {
        return Ok(());
    }
    let Some(now) = workloads(facts) else {
        return Err(Shut::yet("no manager tells what runs".to_owned()));
    };
    for (name, wanted) in services {
        // A service that somebody has removed meanwhile is not waited for.
        let Some(service) = now.services.get(name) else { continue };
        let wanted =
            service.wanted.and_then(|count| usize::try_from(count).ok()).unwrap_or(*wanted).min(*wanted);
        let running = service.running();
        if running < wanted {
            return Err(Shut::yet(format!("{running} of {wanted} tasks of {name} run")));
        }
    }
    Ok(())
}

fn node_ready(config: &Config, facts: &ClusterFacts, node: &NodeName) -> Result<(), Shut> {
    let Some(own) = facts.get(node) else { return Err(Shut::yet(format!("{node} does not answer"))) };
    match &own.engine.state {
        EngineState::Running { swarm, .. } if swarm.local == LocalSwarmState::Active => {}
        EngineState::Running { .. } => return Err(Shut::yet(format!("{node} is not back in the swarm"))),
        EngineState::NotAnswering(why) => return Err(Shut::yet(format!("the engine of {node}: {why}"))),
        EngineState::Absent => return Err(Shut::yet(format!("{node} has no engine"))),
    }
    match member(config, leading(facts)?, node) {
        None => Err(Shut::yet(format!("{node} is not a member of the swarm"))),
        Some(seen) if seen.state != "ready" => Err(Shut::yet(format!("{node} is {}", seen.state))),
        Some(seen) if seen.is_manager && seen.reachability != "reachable" => {
            Err(Shut::yet(format!("{node} is {} to the other managers", seen.reachability)))
        }
        Some(_) => Ok(()),
    }
}

fn node_drained(config: &Config, facts: &ClusterFacts, node: &NodeName) -> Result<(), Shut> {
    let Some(seen) = member(config, leading(facts)?, node) else {
        return Err(Shut::yet(format!("{node} is not a member of the swarm")));
    };
    if seen.availability != "drain" {
        return Err(Shut::yet(format!("{node} is {}", seen.availability)));
    }
    let Some(now) = workloads(facts) else {
        return Err(Shut::yet("no manager tells what runs".to_owned()));
    };
    let left: Vec<&str> = now
        .services
        .iter()
        .filter(|(_, service)| service.tasks.iter().any(|task| task.node_id == seen.id && task.is_running))
        .map(|(name, _)| name.as_str())
        .collect();
    if left.is_empty() { Ok(()) } else { Err(Shut::yet(format!("{} still run there", left.join(", ")))) }
}

/// What must hold before a member of the swarm is disturbed.
#[must_use]
pub fn before_disturbing(node: &NodeName, services: &BTreeMap<String, usize>) -> Vec<Gate> {
    vec![
        Gate::QuorumSurvives { without: node.clone() },
        Gate::OthersReady { but: node.clone() },
        Gate::TasksRun { services: services.clone() },
    ]
}

/// How many tasks of each service run now: what a disturbed node must have got back before the next one's turn.
#[must_use]
pub fn running_now(facts: &ClusterFacts) -> BTreeMap<String, usize> {
    let Some(now) = workloads(facts) else { return BTreeMap::new() };
    let counts = now.services.iter().map(|(name, service)| {
        let wanted = service.wanted.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        (name.clone(), service.running().min(wanted))
    });
    counts.filter(|(_, count)| *count > 0).collect()
}
