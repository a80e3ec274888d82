//! The state of the cluster: what there is, for people and, as [`Status`], for programs.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{Table, presets};
use enxame_core::areas::tunnel::{self, Pair};
use enxame_core::config::{Config, EdgeProvider};
use enxame_core::declare::{Finding, Severity};
use enxame_core::facts::{ClusterFacts, EngineState, NodeFacts, SwarmFacts};
use enxame_core::names::NodeName;
use enxame_core::plan::{Plan, Unfinished};
use serde::Serialize;

/// What `status --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    cluster: String,
    nodes: Vec<NodeStatus>,
    quorum: Option<Quorum>,
    networks: Vec<NetworkStatus>,
    /// The pairs of nodes in the tunnels.
    tunnels: Vec<Pair>,
    /// What differs on the nodes that were seen.
    drift: Vec<String>,
    /// The nodes that do not answer: what differs there is not known.
    unseen: Vec<NodeName>,
    /// Nodes that a procedure drained and did not bring back.
    unfinished: Vec<Unfinished>,
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
    pub(crate) fn of(config: &Config, facts: &ClusterFacts, plan: &Plan) -> Self {
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
            tunnels: tunnel::pairs(config, facts),
            drift: plan.changes.iter().map(|change| format!("{}: {}", change.node, change.summary)).collect(),
            unseen: facts.holes().map(|(node, _)| node.clone()).collect(),
            unfinished: plan.unfinished.clone(),
            edge: (config.firewall.edge.provider != EdgeProvider::Manual).then_some("not looked at"),
            findings: plan.findings.clone(),
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
        for Pair { nodes: [one, other], handshake_s_ago } in &self.tunnels {
            let told = match handshake_s_ago {
                Some(seconds) => format!("last handshake {} ago", length(*seconds)),
                None => "no handshake yet".to_owned(),
            };
            let _ = writeln!(out, "tunnel    {one} - {other}: {told}");
        }
        for line in &self.drift {
            let _ = writeln!(out, "drift     {line}");
        }
        for node in &self.unseen {
            let _ = writeln!(out, "drift     {node}: unknown, it does not answer");
        }
        if self.drift.is_empty() && self.unseen.is_empty() {
            let _ = writeln!(out, "drift     none");
        }
        for one in &self.unfinished {
            let since = one.since_unix_s.and_then(ago).map(|ago| format!(", {ago} ago")).unwrap_or_default();
            let still = if one.is_drained { "" } else { ", and activated by hand" };
            let _ = writeln!(
                out,
                "drained   {} by `enxame node {}`{since}{still}: `enxame node activate {}` ends it",
                one.node, one.verb, one.node
            );
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

/// How long ago, in the largest unit that is not nothing.
fn ago(unix_s: u64) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    now.checked_sub(unix_s).map(length)
}

pub(super) fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
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
