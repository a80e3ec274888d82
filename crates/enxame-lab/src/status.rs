//! `status`: what runs, on which disks, with which faults, and which states are saved.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use crate::{home::Home, record::Record, states, topology::NODES};

#[derive(Serialize)]
struct Status {
    directory: String,
    up: bool,
    disks: Option<String>,
    nodes: Vec<NodeStatus>,
    faults: Vec<String>,
    states: Vec<StateStatus>,
}

#[derive(Serialize)]
struct StateStatus {
    name: String,
    image: String,
}

#[derive(Serialize)]
struct NodeStatus {
    name: &'static str,
    address: String,
    address6: String,
    pid: Option<i32>,
}

/// Writes it to standard output.
pub(crate) fn show(home: &Home, json: bool) -> Result<()> {
    let record = Record::owned_by(home)?.filter(Record::is_alive);
    let record = record.as_ref();
    let status = Status {
        directory: home.directory().display().to_string(),
        up: record.is_some_and(|it| NODES.iter().all(|node| it.runs(node))),
        disks: record.and_then(|it| it.disks.clone()),
        nodes: NODES
            .iter()
            .map(|node| NodeStatus {
                name: node.name,
                address: node.address(),
                address6: node.address6(),
                pid: record
                    .and_then(|it| it.nodes.get(node.name))
                    .filter(|it| it.is_alive())
                    .map(|it| it.pid()),
            })
            .collect(),
        faults: record.map(|it| it.faults.describe()).unwrap_or_default(),
        states: states::all(home)?
            .into_iter()
            .map(|(name, disks)| StateStatus { name, image: disks.flavour().to_string() })
            .collect(),
    };
    let mut output = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut output, &status)?;
        return Ok(writeln!(output)?);
    }
    writeln!(output, "laboratory  {}", status.directory)?;
    writeln!(output, "disks       {}", status.disks.as_deref().unwrap_or("-"))?;
    for node in &status.nodes {
        let running = node.pid.map_or("off".to_owned(), |pid| format!("runs as process {pid}"));
        writeln!(
            output,
            "node        {:<13} {:<13} {:<18} {running}",
            node.name, node.address, node.address6
        )?;
    }
    for fault in &status.faults {
        writeln!(output, "fault       {fault}")?;
    }
    for StateStatus { name, image } in &status.states {
        writeln!(output, "saved       {name} ({image})")?;
    }
    Ok(())
}
