//! Stacks and tasks, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::anyhow;
use enxame_core::areas::stacks::convergence::{Look, Verdict, judge};
use enxame_core::areas::swarm::{ServiceFacts, TaskFacts, Workloads};
use enxame_core::config::Config;
use enxame_core::facts::{ClusterFacts, SwarmFacts};
use enxame_core::names::ObjectName;
use enxame_core::procedures::{self, ProcedureError};
use serde::Serialize;

use super::status::length;
use super::storage::table;

/// What `stack ls --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Stacks {
    stacks: Vec<StackStatus>,
}

#[derive(Debug, Serialize)]
struct StackStatus {
    name: String,
    /// Its compose file, where cluster.yaml names it.
    file: Option<String>,
    services: Vec<ServiceStatus>,
}

#[derive(Debug, Serialize)]
struct ServiceStatus {
    name: String,
    image: String,
    running: usize,
    /// `None`: one on every node that fits.
    wanted: Option<u64>,
    /// Why it does not run as its entry says; `None`: it does.
    trouble: Option<String>,
}

/// What `stack ps --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Tasks {
    tasks: Vec<TaskStatus>,
}

#[derive(Debug, Serialize)]
struct TaskStatus {
    name: String,
    id: String,
    image: String,
    node: String,
    state: String,
    since_s: u64,
    error: String,
}

/// What a manager tells.
struct Seen<'a> {
    swarm: &'a SwarmFacts,
    workloads: &'a Workloads,
    now_unix_ms: u64,
}

fn seen<'a>(config: &'a Config, facts: &'a ClusterFacts) -> anyhow::Result<Seen<'a>> {
    let told = |error: ProcedureError| anyhow!("{error}\nhint: {}", error.hint());
    let (_, manager) = procedures::stack_manager(config, facts).map_err(told)?;
    let parts = manager.engine.swarm().zip(manager.volatile.workloads.as_ref());
    let (swarm, workloads) = parts.ok_or_else(|| told(ProcedureError::NoManager))?;
    Ok(Seen { swarm, workloads, now_unix_ms: manager.volatile.clock_unix_ms })
}

fn node_name(config: &Config, swarm: &SwarmFacts, id: &str) -> String {
    let Some(node) = swarm.nodes.iter().find(|node| node.id == id) else { return id.to_owned() };
    let known = config.nodes.iter().find(|known| node.address.parse() == Ok(known.address));
    known.map_or_else(|| node.hostname.clone(), |known| known.name.to_string())
}

impl Stacks {
    /// The stacks of cluster.yaml, and those that run besides.
    ///
    /// # Errors
    /// When no manager with quorum answers.
    pub(crate) fn of(config: &Config, facts: &ClusterFacts) -> anyhow::Result<Self> {
        let Seen { swarm, workloads, now_unix_ms } = seen(config, facts)?;
        let look = Look { swarm, workloads, now_unix_ms };
        let mut stacks: BTreeMap<String, StackStatus> = BTreeMap::new();
        for stack in &config.stacks {
            let (name, file) = (stack.name.to_string(), Some(stack.file.display().to_string()));
            stacks.insert(name.clone(), StackStatus { name, file, services: Vec::new() });
        }
        for (name, service) in &workloads.services {
            let Some(of) = &service.stack else { continue };
            let empty = || StackStatus { name: of.clone(), file: None, services: Vec::new() };
            stacks.entry(of.clone()).or_insert_with(empty).services.push(status(name, service, look));
        }
        Ok(Self { stacks: stacks.into_values().collect() })
    }

    /// The same for people.
    pub(crate) fn text(&self) -> String {
        let mut table = table(["NAME", "SERVICES", "TASKS", "STATE", "FILE"]);
        for stack in &self.stacks {
            let (running, wanted) = stack.services.iter().fold((0, 0), |(running, wanted), service| {
                let own = service.wanted.and_then(|wanted| usize::try_from(wanted).ok());
                (running + service.running, wanted + own.unwrap_or(service.running))
            });
            let troubles = stack.services.iter().filter(|service| service.trouble.is_some()).count();
            let state = match (stack.services.len(), troubles) {
                (0, _) => "not deployed".to_owned(),
                (_, 0) => "runs".to_owned(),
                (_, troubles) => format!("{troubles} not as wanted"),
            };
            let file = stack.file.as_deref().unwrap_or("not in cluster.yaml");
            let (services, tasks) = (stack.services.len().to_string(), format!("{running}/{wanted}"));
            table.add_row([stack.name.as_str(), &services, &tasks, &state, file]);
        }
        let mut out = format!("{table}\n");
        for trouble in
            self.stacks.iter().flat_map(|stack| &stack.services).filter_map(|one| one.trouble.as_ref())
        {
            // Writing to a string does not fail.
            let _ = writeln!(out, "  {trouble}");
        }
        if self.stacks.is_empty() { "There are no stacks.\n".to_owned() } else { out }
    }
}

fn status(name: &str, service: &ServiceFacts, look: Look<'_>) -> ServiceStatus {
    ServiceStatus {
        name: name.to_owned(),
        image: service.image.clone(),
        running: service.running(),
        wanted: service.wanted,
        trouble: match judge(name, service, look) {
            Verdict::Converged => None,
            Verdict::Waits(why) | Verdict::Failed(why) => Some(why),
        },
    }
}

impl Tasks {
    /// A stack's tasks: those that are to run, and those that failed.
    ///
    /// # Errors
    /// When no manager with quorum answers, or nothing of the stack runs.
    pub(crate) fn of(config: &Config, facts: &ClusterFacts, stack: &ObjectName) -> anyhow::Result<Self> {
        let Seen { swarm, workloads, now_unix_ms } = seen(config, facts)?;
        let is_its = |service: &ServiceFacts| service.stack.as_deref() == Some(stack.as_str());
        let services: Vec<_> = workloads.services.iter().filter(|(_, service)| is_its(service)).collect();
        if services.is_empty() {
            let error = ProcedureError::NoStack(stack.clone());
            return Err(anyhow!("{error}\nhint: {}", error.hint()));
        }
        let told = |name: &str, task: &TaskFacts| {
            let node = node_name(config, swarm, &task.node_id);
            let slot = if task.slot == task.node_id { node.clone() } else { task.slot.clone() };
            TaskStatus {
                name: format!("{name}.{slot}"),
                id: task.id.clone(),
                image: task.image.clone(),
                node,
                state: task.state.clone(),
                since_s: now_unix_ms.saturating_sub(task.since_unix_ms) / 1000,
                error: task.error.clone(),
            }
        };
        let mut tasks = Vec::new();
        for (name, service) in services {
            let mut failed: Vec<&TaskFacts> = service.failed.iter().collect();
            failed.sort_by_key(|task| std::cmp::Reverse(task.since_unix_ms));
            tasks.extend(service.tasks.iter().chain(failed).map(|task| told(name, task)));
        }
        Ok(Self { tasks })
    }

    /// The same for people.
    pub(crate) fn text(&self) -> String {
        let mut table = table(["NAME", "IMAGE", "NODE", "STATE", "ERROR"]);
        for task in &self.tasks {
            let state = format!("{} for {}", task.state, length(task.since_s));
            table.add_row([task.name.as_str(), &task.image, &task.node, &state, &task.error]);
        }
        format!("{table}\n")
    }
}
