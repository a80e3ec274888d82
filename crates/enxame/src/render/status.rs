//! The state of the cluster: what there is, for people and, as [`Status`], for programs.

use std::fmt::Write;

use comfy_table::{Table, presets};
use enxame_core::config::{Config, EdgeProvider};
use enxame_core::declare::{Finding, Severity};
use enxame_core::facts::{ClusterFacts, EngineState, NodeFacts, SwarmFacts};
use enxame_core::names::NodeName;
use enxame_core::plan::Plan;
use serde::Serialize;

/// What `status --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    cluster: String,
    nodes: Vec<NodeStatus>,
    quorum: Option<Quorum>,
    networks: Vec<NetworkStatus>,
    /// `null` when not every node could be seen.
    drift: Option<Vec<String>>,
    /// What is known of the provider's edge, where enxame sets it: this verb does not ask the provider.
    edge: Option<&'static str>,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct NodeStatus {
    name: NodeName,
    address: String,
    roles: Vec<&'static str>,
    engine: String,
    swarm: String,
    availability: String,
    is_leader: bool,
}

#[derive(Debug, Serialize)]
struct Quorum {
    managers: usize,
    ready: usize,
    needed: usize,
    survives_failures: usize,
}

#[derive(Debug, Serialize)]
struct NetworkStatus {
    name: String,
    encrypted: bool,
    underlay_mtu_bytes: u32,
}

impl Status {
    /// The status out of the facts, and the drift out of the plan.
    pub(crate) fn of(config: &Config, facts: &ClusterFacts, plan: Option<&Plan>) -> Self {
        let leading = facts
            .values()
            .filter_map(|facts| facts.engine.swarm())
            .find(|swarm| swarm.is_manager_with_quorum);
        let nodes = config.nodes.iter().map(|node| {
            let facts = facts.get(&node.name);
            let seen = facts.and_then(|facts| facts.engine.swarm()).and_then(|own| {
                leading.and_then(|leading| leading.nodes.iter().find(|seen| seen.id == own.node_id))
            });
            let at = || {
                leading.and_then(|swarm| {
                    swarm.nodes.iter().find(|seen| seen.address == node.address.to_string())
                })
            };
            // A node that does not answer is still seen by its peers.
            let seen = seen.or_else(|| at().filter(|_| facts.is_none()));
            NodeStatus {
                name: node.name.clone(),
                address: node.address.to_string(),
                roles: node.roles.iter().map(|role| role.label_key()).collect(),
                engine: facts.map_or_else(|| "unreachable".to_owned(), engine),
                swarm: seen.map_or_else(
                    || facts.map_or_else(|| "unknown".to_owned(), local),
                    |seen| seen.state.clone(),
                ),
                availability: seen.map(|seen| seen.availability.clone()).unwrap_or_default(),
                is_leader: seen.is_some_and(|seen| seen.is_leader),
            }
        });
        Self {
            cluster: config.cluster.to_string(),
            nodes: nodes.collect(),
            quorum: leading.map(quorum),
            networks: leading.map(networks).unwrap_or_default(),
            drift: plan.map(|plan| {
                plan.changes.iter().map(|change| format!("{}: {}", change.node, change.summary)).collect()
            }),
            edge: (config.firewall.edge.provider != EdgeProvider::Manual).then_some("not looked at"),
            findings: plan.map(|plan| plan.findings.clone()).unwrap_or_default(),
        }
    }

    /// The status for people.
    pub(crate) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["NODE", "ADDRESS", "STATE", "AVAILABILITY", "MANAGER", "ENGINE", "ROLES"]);
        for node in &self.nodes {
            let manager = if node.is_leader { "leader" } else { "" };
            table.add_row([
                node.name.as_str(),
                &node.address,
                &node.swarm,
                &node.availability,
                manager,
                &node.engine,
                &node.roles.join(","),
            ]);
        }
        let mut out = format!("{table}\n\n");
        // Writing to a string does not fail.
        let _ = match &self.quorum {
            Some(quorum) => writeln!(
                out,
                "quorum    {} of {} managers ready, {} needed: survives {} more failure{}",
                quorum.ready,
                quorum.managers,
                quorum.needed,
                quorum.survives_failures,
                if quorum.survives_failures == 1 { "" } else { "s" }
            ),
            None => {
                writeln!(out, "quorum    none: no node is a manager that reaches a majority of the managers")
            }
        };
        for network in &self.networks {
            let kind = if network.encrypted { "encrypted" } else { "NOT encrypted" };
            let _ = writeln!(
                out,
                "network   {}: {kind}, underlay MTU {}",
                network.name, network.underlay_mtu_bytes
            );
        }
        let drift = match &self.drift {
            None => vec!["unknown: not every node answers".to_owned()],
            Some(drift) if drift.is_empty() => vec!["none".to_owned()],
            Some(drift) => drift.clone(),
        };
        for line in drift {
            let _ = writeln!(out, "drift     {line}");
        }
        if let Some(edge) = self.edge {
            let _ = writeln!(out, "edge      {edge}: `enxame plan` asks the provider");
        }
        for finding in &self.findings {
            let word = if finding.severity == Severity::Error { "error" } else { "warning" };
            let node = finding.node.as_ref().map(|node| format!("{node} ")).unwrap_or_default();
            let _ = writeln!(out, "{word:<9} {node}{}", finding.message);
        }
        out
    }
}

fn engine(facts: &NodeFacts) -> String {
    match &facts.engine.state {
        EngineState::Absent => "absent".to_owned(),
        EngineState::NotAnswering(_) => "not answering".to_owned(),
        EngineState::Running { version_text, .. } => version_text.clone(),
    }
}

fn local(facts: &NodeFacts) -> String {
    facts
        .engine
        .swarm()
        .map_or_else(|| "no engine".to_owned(), |swarm| format!("{:?}", swarm.local).to_lowercase())
}

fn quorum(swarm: &SwarmFacts) -> Quorum {
    let managers = swarm.nodes.iter().filter(|node| node.is_manager);
    let ready =
        managers.clone().filter(|node| node.state == "ready" && node.reachability == "reachable").count();
    let managers = managers.count();
    let needed = managers / 2 + 1;
    Quorum { managers, ready, needed, survives_failures: ready.saturating_sub(needed) }
}

fn networks(swarm: &SwarmFacts) -> Vec<NetworkStatus> {
    let networks = swarm.networks.iter().map(|network| NetworkStatus {
        name: network.name.clone(),
        encrypted: network.is_encrypted,
        underlay_mtu_bytes: network.underlay_mtu_bytes.unwrap_or(1500),
    });
    networks.collect()
}
