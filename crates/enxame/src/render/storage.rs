//! The shared files: what there is, for people and, as [`StorageStatus`], for programs.

use std::fmt::Write;

use comfy_table::{Table, presets};
use enxame_core::areas::storage::volumes::{self, Entry};
use enxame_core::areas::{Action, storage, tunnel};
use enxame_core::config::{Config, ExportConfig, Squash};
use enxame_core::declare::Finding;
use enxame_core::facts::{ClusterFacts, NodeFacts};
use enxame_core::names::NodeName;
use enxame_core::plan::Plan;
use serde::Serialize;

use super::status::length;

/// What `storage status --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct StorageStatus {
    /// The node that holds the files.
    server: NodeName,
    /// What the server does; `None`: it does not answer.
    state: Option<ServerState>,
    exports: Vec<ExportStatus>,
    nodes: Vec<NodeStatus>,
    /// What is not as cluster.yaml says.
    drift: Vec<String>,
    findings: Vec<Finding>,
    /// What stacks mount them by.
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct ServerState {
    runs: bool,
    versions: Vec<String>,
    total_bytes: Option<u64>,
    available_bytes: Option<u64>,
    is_in_grace: bool,
}

#[derive(Debug, Serialize)]
struct ExportStatus {
    name: NodeName,
    owner: String,
    mode: String,
    squash: &'static str,
    /// The nodes that may mount it; `None`: all.
    clients: Option<Vec<NodeName>>,
    /// Whether the server exports it to all of them; `None`: it does not answer.
    is_exported: Option<bool>,
}

#[derive(Debug, Serialize)]
struct NodeStatus {
    name: NodeName,
    /// Whether the server knows it as a client now; `None`: the server does not answer.
    is_connected: Option<bool>,
    /// How long ago it and the server last agreed on a key in the tunnel; `None` for the server itself, and where never.
    handshake_s_ago: Option<u64>,
    /// Its volumes over NFS.
    volumes: Vec<String>,
}

impl StorageStatus {
    /// The state out of the facts, and the drift out of the plan.
    pub(crate) fn of(config: &Config, server: &NodeName, facts: &ClusterFacts, plan: &Plan) -> Self {
        let seen = facts.get(server);
        let pairs = tunnel::pairs(config, facts);
        let nodes = config.nodes.iter().map(|node| {
            let shared = seen.and_then(|seen| seen.volatile.shared.as_ref());
            let address = node.tunnel.map(std::net::IpAddr::V4);
            let volumes = facts.get(&node.name).into_iter().flat_map(|facts| facts.storage.volumes.keys());
            let pair =
                pairs.iter().find(|pair| pair.nodes.contains(&node.name) && pair.nodes.contains(server));
            NodeStatus {
                name: node.name.clone(),
                is_connected: shared
                    .map(|shared| address.is_some_and(|address| shared.clients.contains(&address))),
                handshake_s_ago: pair.filter(|_| node.name != *server).and_then(|pair| pair.handshake_s_ago),
                volumes: volumes.cloned().collect(),
            }
        });
        let of_storage = plan.changes.iter().filter(|change| matches!(change.action, Action::Storage(_)));
        let exports = config.storage.iter().flat_map(|storage| &storage.exports);
        Self {
            state: seen.map(server_state),
            exports: exports.map(|export| export_status(config, export, seen)).collect(),
            nodes: nodes.collect(),
            drift: of_storage.map(|change| format!("{}: {}", change.node, change.summary)).collect(),
            findings: plan.findings.iter().filter(|one| one.section.starts_with('4')).cloned().collect(),
            entries: volumes::entries(config),
            server: server.clone(),
        }
    }

    /// The same for people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = match &self.state {
            None => writeln!(out, "server    {}: unknown, it does not answer", self.server),
            Some(state) => {
                let is = if state.runs { "serves" } else { "does NOT serve" };
                let minor = state.versions.iter().filter(|version| version.contains('.'));
                let versions: Vec<String> = minor.map(|version| format!("v{version}")).collect();
                let grace = if state.is_in_grace {
                    "; in grace: clients claim what they had open, and wait with all else"
                } else {
                    ""
                };
                writeln!(out, "server    {} {is} NFS {}{grace}", self.server, versions.join(", "))
            }
        };
        if let Some((total, available)) =
            self.state.as_ref().and_then(|state| state.total_bytes.zip(state.available_bytes))
        {
            let _ = writeln!(out, "space     {} of {} free", size(available), size(total));
        }
        let mut table = table(["EXPORT", "OWNER", "MODE", "SQUASH", "CLIENTS", "STATE"]);
        for export in &self.exports {
            let clients = export.clients.as_ref().map_or_else(
                || "all nodes".to_owned(),
                |clients| clients.iter().map(NodeName::as_str).collect::<Vec<_>>().join(","),
            );
            let state = match export.is_exported {
                Some(true) => "exported",
                Some(false) => "NOT exported",
                None => "unknown",
            };
            table.add_row([
                export.name.as_str(),
                &export.owner,
                &export.mode,
                export.squash,
                &clients,
                state,
            ]);
        }
        let _ = write!(out, "\n{table}\n\n");
        let mut nodes = self::table(["NODE", "MOUNTS", "TUNNEL", "VOLUMES"]);
        for node in &self.nodes {
            let mounts = match node.is_connected {
                Some(true) => "yes",
                Some(false) => "no",
                None => "unknown",
            };
            let tunnel = match node.handshake_s_ago {
                Some(seconds) => format!("handshake {} ago", length(seconds)),
                None if node.name == self.server => "its own address".to_owned(),
                None => "no handshake yet".to_owned(),
            };
            nodes.add_row([node.name.as_str(), mounts, &tunnel, &node.volumes.join(",")]);
        }
        let _ = write!(out, "{nodes}\n\n");
        for line in &self.drift {
            let _ = writeln!(out, "drift     {line}: `enxame apply`");
        }
        super::plan::findings(&self.findings, &mut out);
        if !self.entries.is_empty() {
            let _ = writeln!(
                out,
                "In a stack's file (`nocopy`, so that the engine copies nothing of the image into it):\n"
            );
            let _ = write!(out, "{}", volumes::yaml(&self.entries));
        }
        out
    }
}

pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    table
}

fn server_state(facts: &NodeFacts) -> ServerState {
    let shared = facts.volatile.shared.as_ref();
    let room = shared.and_then(|shared| shared.within);
    ServerState {
        runs: facts.storage.server.is_some(),
        versions: facts.storage.server.iter().flat_map(|server| &server.versions).cloned().collect(),
        total_bytes: room.map(|room| room.total_bytes),
        available_bytes: room.map(|room| room.available_bytes),
        is_in_grace: shared.is_some_and(|shared| shared.is_in_grace),
    }
}

fn export_status(config: &Config, export: &ExportConfig, seen: Option<&NodeFacts>) -> ExportStatus {
    let path = storage::directory(&export.name);
    let may = |name: &NodeName| export.clients.as_ref().is_none_or(|some| some.contains(name));
    let is_exported = |facts: &NodeFacts| {
        facts.storage.server.as_ref().is_some_and(|server| {
            config.nodes.iter().filter(|node| may(&node.name)).filter_map(|node| node.tunnel).all(|address| {
                server.exports.iter().any(|one| one.path == path && one.client == address.to_string())
            })
        })
    };
    ExportStatus {
        name: export.name.clone(),
        owner: format!("{}:{}", export.uid, export.gid),
        mode: format!("{:04o}", export.mode),
        squash: match export.squash {
            Squash::All => "all",
            Squash::Root => "root",
            Squash::None => "none",
        },
        clients: export.clients.as_ref().map(|clients| clients.iter().cloned().collect()),
        is_exported: seen.map(is_exported),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x28_0000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}
