//! `enxame logs` and `enxame exec`: Docker's own commands on the server where they are to run, over the user's ssh.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use enxame_core::areas::swarm::TaskFacts;
use enxame_core::config::{Config, NodeConfig};
use enxame_core::facts::ClusterFacts;
use enxame_core::procedures;

use crate::cli::{CommonArgs, ExecArgs, LogsArgs};
use crate::config_file::{directory_of, load};
use crate::fleet::Locking;
use crate::transport::Target;
use crate::verbs::{look_at_nodes, tell_lost};
use crate::{Ending, output};

/// What ssh itself ends with when it does not get in.
const NO_CONNECTION: i32 = 255;

/// Any manager tells any service's logs: the first that lets us in.
pub(super) async fn logs(arguments: &LogsArgs) -> anyhow::Result<Ending> {
    let config = load(&arguments.config)?;
    let mut command = vec!["docker", "service", "logs"];
    if arguments.follow {
        command.push("--follow");
    }
    if arguments.timestamps {
        command.push("--timestamps");
    }
    let tail = arguments.tail.map(|lines| lines.to_string());
    for (option, value) in [("--since", arguments.since.as_ref()), ("--tail", tail.as_ref())] {
        if let Some(value) = value {
            command.extend([option, value]);
        }
    }
    command.extend(["--", arguments.service.as_str()]);
    let directory = directory_of(&arguments.config);
    let founder = config.founder().into_iter();
    let others = config.nodes.iter().filter(|node| !node.is_preferred_leader);
    for node in founder.chain(others) {
        let ended = run(&Target::of_node(&config, node, directory), false, &command).await?;
        if ended != NO_CONNECTION {
            return Ok(code(ended));
        }
        output::note(&format!("warning: {} does not let us in; asking another", node.name));
    }
    bail!("no server lets us in\nhint: `enxame status` says why")
}

pub(super) async fn exec(arguments: &ExecArgs) -> anyhow::Result<Ending> {
    let common = CommonArgs { config: arguments.config.clone(), json: false, quiet: arguments.quiet };
    let look = look_at_nodes(&common, Locking::Free).await?;
    look.fleet.close().await;
    look.progress.finish();
    let found = place(&look.config, &look.facts, &arguments.service);
    if found.is_err() {
        tell_lost(&look.lost);
    }
    let (node, task) = found?;
    let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut command = vec!["docker", "exec", "--interactive"];
    if has_terminal {
        command.push("--tty");
    }
    if let Some(user) = &arguments.user {
        command.extend(["--user", user]);
    }
    command.extend(["--", task.container_id.as_str()]);
    command.extend(arguments.command.iter().map(String::as_str));
    let target = Target::of_node(&look.config, node, directory_of(&arguments.config));
    Ok(code(run(&target, has_terminal, &command).await?))
}

/// Runs a command on a server as root, with our own standard streams.
async fn run(target: &Target, has_terminal: bool, command: &[&str]) -> anyhow::Result<i32> {
    let mut ssh = Command::new("ssh");
    ssh.args(target.interactive(has_terminal, command)?)
        .env_remove(crate::edge::TOKEN_VARIABLE)
        .stdin(Stdio::inherit());
    let mut child = tokio::process::Command::from(ssh).spawn().context("cannot start ssh")?;
    // Ctrl-C at the terminal reaches ssh as well, and ends it: what it ends with is what counts.
    let _interrupts = super::interrupts()?;
    Ok(child.wait().await.context("cannot wait for ssh")?.code().unwrap_or(130))
}

fn code(ended: i32) -> Ending {
    u8::try_from(ended).map_or(Ending::Failed, Ending::Command)
}

/// The running task that is meant, and its server.
fn place<'a>(
    config: &'a Config,
    facts: &'a ClusterFacts,
    wanted: &str,
) -> anyhow::Result<(&'a NodeConfig, &'a TaskFacts)> {
    let (_, manager) = procedures::stack_manager(config, facts)
        .map_err(|error| anyhow::anyhow!("{error}\nhint: {}", error.hint()))?;
    let (Some(swarm), Some(workloads)) = (manager.engine.swarm(), manager.volatile.workloads.as_ref()) else {
        bail!("no manager tells what runs\nhint: `enxame status`");
    };
    let split = || wanted.rsplit_once('.').map(|(service, slot)| (service, Some(slot)));
    let known = |(name, slot)| workloads.services.get(name).map(|service| (name, slot, service));
    let Some((name, slot, service)) = known((wanted, None)).or_else(|| split().and_then(known)) else {
        let names: Vec<&str> = workloads.services.keys().map(String::as_str).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        bail!("there is no service {wanted}\nhint: there are: {names}");
    };
    let node_of = |task: &TaskFacts| {
        let member = swarm.nodes.iter().find(|node| node.id == task.node_id)?;
        config.nodes.iter().find(|node| member.address.parse() == Ok(node.address))
    };
    let running = service.tasks.iter().filter(|task| task.is_running && !task.container_id.is_empty());
    let mut placed: Vec<_> = running.filter_map(|task| Some((node_of(task)?, task))).collect();
    if let Some(slot) = slot {
        placed.retain(|(node, task)| task.slot == slot || node.name.as_str() == slot);
    }
    placed.sort_by(|(_, a), (_, b)| (a.slot.len(), &a.slot).cmp(&(b.slot.len(), &b.slot)));
    let which = slot.map(|slot| format!(" {slot}")).unwrap_or_default();
    let Some((node, task)) = placed.first().copied() else {
        bail!(
            "no task{which} of {name} runs on a server of {}\nhint: `enxame stack ls` says why",
            config.cluster
        );
    };
    if placed.len() > 1 {
        output::note(&format!(
            "note: {} tasks of {name} run; this is {}, on {}",
            placed.len(),
            task.slot,
            node.name
        ));
    }
    Ok((node, task))
}
