//! What deploying would change, deploying, and taking away.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail};
use enxame_core::areas::stacks::{Bundle, Conversion};
use enxame_core::change::{Change, ChangeId};
use enxame_core::config::{Config, StackConfig};
use enxame_core::facts::ClusterFacts;
use enxame_core::gate::Gate;
use enxame_core::names::{NodeName, ObjectName};
use enxame_core::plan::Plan;
use enxame_core::procedures::{self, ProcedureError, Wish};
use enxame_core::protocol::{Reply, Request};

use super::files::bundle;
use super::of_cluster;
use crate::cli::{CommonArgs, StackDeployArgs, StackDiffArgs, StackRmArgs};
use crate::config_file::{directory_of, load};
use crate::fleet::{Fleet, Locking, NodeError, QUICK_DEADLINE};
use crate::render::progress::Progress;
use crate::run::{Materials, Outcome};
use crate::transport::{Channel, TransportError};
use crate::verbs::node::carried_out_with;
use crate::verbs::{LookedAt, look_at_nodes, tell_lost};
use crate::{Ending, output, render};

/// Docker asks a registry for each image, and gives each 10 minutes.
const CONVERT_DEADLINE: Duration = Duration::from_secs(11 * 60);

/// What is to be deployed, and what came of asking about it.
struct Prepared {
    plan: Plan,
    materials: Materials,
}

pub(super) async fn diff(arguments: &StackDiffArgs) -> anyhow::Result<Ending> {
    let common = &arguments.common;
    named(&load(&common.config)?, &common.config, &arguments.stacks)?;
    let look = look_at_nodes(common, Locking::Free).await?;
    let wish = Wish { prunes: false, within: Duration::ZERO };
    let prepared = prepare((common, &arguments.stacks), &look, wish).await;
    let (config, progress, lost) = close(look).await;
    progress.finish();
    tell_lost(&lost);
    let Some(Prepared { plan, .. }) = prepared? else { return Ok(Ending::Unproven) };
    if common.json {
        output::json(&plan)?;
    } else {
        output::text(&render::plan::plan(&config, &plan))?;
    }
    Ok(match () {
        () if plan.is_refused() => Ending::Unproven,
        () if plan.is_empty() => Ending::Done,
        () => Ending::Changes,
    })
}

pub(super) async fn deploy(arguments: &StackDeployArgs) -> anyhow::Result<Ending> {
    let common = &arguments.common;
    named(&load(&common.config)?, &common.config, &arguments.stacks)?;
    let look = look_at_nodes(common, Locking::Locked).await?;
    let wish = Wish { prunes: arguments.prune, within: Duration::from_secs(arguments.timeout) };
    let ending = deployed((common, arguments.yes), &arguments.stacks, &look, wish).await;
    let (_, _, lost) = close(look).await;
    tell_lost(&lost);
    ending
}

async fn deployed(
    (common, yes): (&CommonArgs, bool),
    stacks: &[ObjectName],
    look: &LookedAt,
    wish: Wish,
) -> anyhow::Result<Ending> {
    let prepared = prepare((common, stacks), look, wish).await;
    look.progress.finish();
    let Some(Prepared { plan, materials }) = prepared? else { return Ok(Ending::Unproven) };
    let (ending, outcomes) = carried_out_with((common, yes), look, (&plan, &materials)).await?;
    let unmet = |change: &&Change| matches!(outcomes.get(&change.id), Some(Outcome::Unmet { .. }));
    let unmet: Vec<&Change> = plan.changes.iter().filter(unmet).collect();
    if !unmet.is_empty() {
        tell_logs(look, &unmet).await;
    }
    Ok(ending)
}

pub(super) async fn rm(arguments: &StackRmArgs) -> anyhow::Result<Ending> {
    let common = &arguments.common;
    let look = look_at_nodes(common, Locking::Locked).await?;
    look.progress.finish();
    let ending = match procedures::remove_stack(&look.config, &look.facts, &arguments.stack) {
        Ok(plan) => carried_out_with((common, arguments.yes), &look, (&plan, &Materials::new())).await,
        Err(error) => Err(told(&error)),
    };
    let (_, _, lost) = close(look).await;
    tell_lost(&lost);
    Ok(ending?.0)
}

async fn close(look: LookedAt) -> (Config, Progress, Vec<NodeError>) {
    look.fleet.close().await;
    (look.config, look.progress, look.lost)
}

fn told(error: &ProcedureError) -> anyhow::Error {
    anyhow!("{error}\nhint: {}", error.hint())
}

/// The stacks of these names, or all, in the file's order.
fn named<'a>(config: &'a Config, path: &Path, names: &[ObjectName]) -> anyhow::Result<Vec<&'a StackConfig>> {
    let file = path.display();
    if let Some(unknown) = names.iter().find(|name| config.stacks.iter().all(|stack| stack.name != **name)) {
        let known: Vec<&str> = config.stacks.iter().map(|stack| stack.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        bail!("{file} has no stack {unknown}\nhint: `stacks` there names them; it has {known}");
    }
    if config.stacks.is_empty() {
        bail!("{file} has no stacks\nhint: name the compose files there: `stacks: [web.yaml]`");
    }
    let is_meant = |stack: &&StackConfig| names.is_empty() || names.contains(&stack.name);
    Ok(config.stacks.iter().filter(is_meant).collect())
}

/// Judges the stacks and asks the manager what deploying them would change; `None`: they have errors, which were told.
async fn prepare(
    (common, names): (&CommonArgs, &[ObjectName]),
    look: &LookedAt,
    wish: Wish,
) -> anyhow::Result<Option<Prepared>> {
    let LookedAt { config, facts, .. } = look;
    let stacks = named(config, &common.config, names)?;
    let files: Vec<String> = stacks
        .iter()
        .map(|stack| directory_of(&common.config).join(&stack.file))
        .map(|file| file.display().to_string())
        .collect();
    let mut findings = of_cluster(config, &common.config, facts)?;
    findings.retain(|finding| files.contains(&finding.file));
    if render::lint::is_refused(&findings) {
        look.progress.finish();
        if common.json {
            output::json(&findings)?;
        } else {
            output::text(&render::lint::text(&findings, false))?;
        }
        output::note("error: the stacks have errors, and nothing was asked or changed");
        return Ok(None);
    }
    let (manager, _) = procedures::stack_manager(config, facts).map_err(|error| told(&error))?;
    let (mut conversions, mut materials) = (Vec::new(), Materials::new());
    for stack in stacks {
        let bundle = bundle(config, &common.config, stack)?;
        materials.extend(material(manager, &bundle));
        look.progress.tell(manager, &format!("asking docker about {}", stack.name));
        conversions.push(converted(&look.fleet, manager, bundle).await?);
    }
    let plan = procedures::deploy(config, facts, &conversions, wish).map_err(|error| told(&error))?;
    Ok(Some(Prepared { plan, materials }))
}

fn material(manager: &NodeName, bundle: &Bundle) -> Option<(ChangeId, enxame_core::secret::Secret)> {
    Some((procedures::deployment_of(manager, &bundle.stack), bundle.sealed()?))
}

async fn converted(fleet: &Fleet, manager: &NodeName, bundle: Bundle) -> anyhow::Result<Conversion> {
    let failed = |source| {
        let error = NodeError { node: manager.clone(), attempt: "ask docker about the stack", source };
        anyhow!(error.told())
    };
    let agent = fleet.agents.get(manager).ok_or_else(|| failed(TransportError::OutOfTurn))?;
    let request = Request::Convert(Box::new(bundle));
    match agent.request(&request, CONVERT_DEADLINE, &mut |_| ()).await {
        Ok(Reply::Converted(conversion)) => Ok(*conversion),
        Ok(_) => Err(failed(TransportError::OutOfTurn)),
        Err(error) => Err(failed(error)),
    }
}

/// Tells what the tasks wrote that failed.
async fn tell_logs(look: &LookedAt, changes: &[&Change]) {
    let facts = look.fleet.gather(&look.config, &look.progress).await;
    look.progress.finish();
    for (service, task, node) in failed_tasks(&look.config, &facts, changes) {
        let Ok((manager, _)) = procedures::stack_manager(&look.config, &facts) else { return };
        let Some(agent) = look.fleet.agents.get(manager) else { return };
        match agent.request(&Request::TaskLog { task }, QUICK_DEADLINE, &mut |_| ()).await {
            Ok(Reply::TaskLog(lines)) if !lines.is_empty() => {
                output::note(&format!("the last lines of {service} on {node}:"));
                for line in lines {
                    output::note(&format!("    {line}"));
                }
            }
            // It wrote nothing, or nobody has it any more.
            _ => {}
        }
    }
}

/// The last task that failed of each service that does not run as it is to, and where it ran.
fn failed_tasks(config: &Config, facts: &ClusterFacts, changes: &[&Change]) -> Vec<(String, String, String)> {
    let gates = changes.iter().flat_map(|change| &change.until);
    let services = gates.flat_map(|gate| match gate {
        Gate::Converged { services, .. } => services.as_slice(),
        _ => &[],
    });
    let seen =
        facts.values().find_map(|facts| Some((facts.engine.swarm()?, facts.volatile.workloads.as_ref()?)));
    let Some((swarm, workloads)) = seen else { return Vec::new() };
    let nodes: BTreeMap<&str, String> = swarm
        .nodes
        .iter()
        .map(|node| {
            let known = config.nodes.iter().find(|known| node.address.parse() == Ok(known.address));
            (node.id.as_str(), known.map_or(node.hostname.clone(), |known| known.name.to_string()))
        })
        .collect();
    let last = services.filter_map(|name| {
        let task = workloads.services.get(name)?.failed.iter().max_by_key(|task| task.since_unix_ms)?;
        let node = nodes.get(task.node_id.as_str()).cloned().unwrap_or_default();
        Some((name.clone(), task.id.clone(), node))
    });
    last.collect()
}
