//! The verbs, each a table of contents of what it does.

mod apply;
mod carry;
mod edge;
mod init;
mod node;
mod rotate;
mod scan;
mod service;
mod stack;
mod storage;
mod tunnel;
mod uninstall;
mod verify;

use enxame_core::areas::stacks::lint::Finding as LintFinding;
use enxame_core::config::Config;
use enxame_core::declare::Finding;
use enxame_core::facts::ClusterFacts;
use enxame_core::plan::{self, Plan};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::{CommonArgs, PlanArgs, Verb};
use crate::config_file::{directory_of, load};
use crate::edge::{Edge, EdgeError};
use crate::fleet::{Fleet, Locking, NodeError};
use crate::new_file::NewFile;
use crate::render::progress::Progress;
use crate::render::{self, status::Status};
use crate::{Ending, output};

/// Every verb that talks to nodes.
pub(crate) async fn run(verb: Verb) -> anyhow::Result<Ending> {
    match verb {
        Verb::Init(arguments) => init::init(&arguments).await,
        Verb::Check(arguments) => check(&arguments).await,
        Verb::Plan(arguments) => plan(&arguments).await,
        Verb::Apply(arguments) => apply::apply(&arguments).await,
        Verb::Node(verb) => node::node(&verb).await,
        Verb::Rotate(verb) => rotate::rotate(&verb).await,
        Verb::Uninstall(arguments) => uninstall::uninstall(&arguments).await,
        Verb::Status(arguments) => status(&arguments).await,
        Verb::Storage(verb) => storage::storage(&verb).await,
        Verb::Stack(verb) => stack::stack(&verb).await,
        Verb::Logs(arguments) => service::logs(&arguments).await,
        Verb::Exec(arguments) => service::exec(&arguments).await,
        Verb::Tunnel(verb) => tunnel::tunnel(&verb).await,
        Verb::Verify(arguments) => verify::verify(&arguments).await,
        Verb::Edge(_)
        | Verb::Scan(_)
        | Verb::Schema
        | Verb::Explain(_)
        | Verb::Agent { .. }
        | Verb::PutBack { .. }
        | Verb::ProbeResponder => Ok(Ending::Done),
    }
}

pub(crate) use edge::edge;
pub(crate) use scan::scan;
pub(crate) use stack::explain;

pub(crate) fn schema() -> anyhow::Result<Ending> {
    output::text(&(Config::json_schema()? + "\n"))?;
    Ok(Ending::Done)
}

/// A cluster that was looked at.
struct LookedAt {
    config: Config,
    fleet: Fleet,
    /// The provider's edge, where it has an API.
    edge: Option<Box<dyn Edge>>,
    facts: ClusterFacts,
    plan: Plan,
    /// The nodes that do not answer, with what to do about it.
    lost: Vec<NodeError>,
    progress: Progress,
}

/// Tells of the nodes that do not answer.
fn tell_lost(lost: &[NodeError]) {
    for error in lost {
        output::note(&format!("error: {}", error.told()));
    }
}

/// Looks at the nodes and at the provider's edge, where that has an API.
async fn look(arguments: &CommonArgs, locking: Locking) -> anyhow::Result<LookedAt> {
    let config = load(&arguments.config)?;
    let edge = crate::edge::of(&config, directory_of(&arguments.config)).map_err(|error| told(&error))?;
    look_at(config, edge, arguments, locking).await
}

/// Looks at the nodes alone.
async fn look_at_nodes(arguments: &CommonArgs, locking: Locking) -> anyhow::Result<LookedAt> {
    look_at(load(&arguments.config)?, None, arguments, locking).await
}

async fn look_at(
    config: Config,
    edge: Option<Box<dyn Edge>>,
    arguments: &CommonArgs,
    locking: Locking,
) -> anyhow::Result<LookedAt> {
    let progress = Progress::new(&config, arguments.quiet);
    let directory = directory_of(&arguments.config);
    let (fleet, facts, lost) = Fleet::reach(&config, directory, locking, &progress).await?;
    let plan = make_plan(&config, &facts, edge.as_deref()).await?;
    Ok(LookedAt { config, fleet, edge, facts, plan, lost, progress })
}

/// Looks at the provider's edge, where there is one to look at, and makes the plan.
async fn make_plan(config: &Config, facts: &ClusterFacts, edge: Option<&dyn Edge>) -> anyhow::Result<Plan> {
    let seen = match edge {
        Some(edge) => Some(edge.look(config).await.map_err(|error| told(&error))?),
        None => None,
    };
    Ok(plan::make(config, facts, seen.as_ref(), enxame_core::areas::resources())?)
}

fn told(error: &EdgeError) -> anyhow::Error {
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    anyhow::anyhow!("{}{hint}", error.causes().join(": "))
}

/// What `check --json` prints.
#[derive(Serialize)]
struct Checked<'a> {
    /// What stands in apply's way, or is worth knowing.
    servers: &'a [Finding],
    /// The same of the stacks.
    stacks: &'a [LintFinding],
}

async fn check(arguments: &CommonArgs) -> anyhow::Result<Ending> {
    let look = look(arguments, Locking::Free).await?;
    look.fleet.close().await;
    look.progress.finish();
    let stacks = stack::of_cluster(&look.config, &arguments.config, &look.facts)?;
    if arguments.json {
        output::json(&Checked { servers: &look.plan.findings, stacks: &stacks })?;
    } else {
        let mut text = String::new();
        render::plan::findings(&look.plan.findings, &mut text);
        if !stacks.is_empty() {
            text.push_str(&render::lint::text(&stacks, false));
        }
        let nodes = look.config.nodes.len();
        let answered = nodes - look.lost.len();
        let verdict = match (look.plan.is_refused(), look.lost.is_empty()) {
            (true, _) => "apply would refuse.",
            (false, true) => "ready for apply.",
            (false, false) => "apply would refuse, but for `--without` those that do not.",
        };
        output::text(&format!("{text}{answered} of {nodes} nodes answered; {verdict}\n"))?;
    }
    tell_lost(&look.lost);
    let is_ready = !look.plan.is_refused() && look.lost.is_empty() && !render::lint::is_refused(&stacks);
    Ok(if is_ready { Ending::Done } else { Ending::Unproven })
}

async fn plan(arguments: &PlanArgs) -> anyhow::Result<Ending> {
    let out = arguments.out.as_deref().map(NewFile::make).transpose()?;
    let look = look(&arguments.common, Locking::Free).await?;
    look.fleet.close().await;
    look.progress.finish();
    let kept = out.map_or(Ok(()), |file| file.keep_json(&look.plan));
    if arguments.common.json {
        output::json(&look.plan)?;
    } else {
        output::text(&render::plan::plan(&look.config, &look.plan))?;
    }
    let stacks = stack::of_cluster(&look.config, &arguments.common.config, &look.facts)?;
    if render::lint::is_refused(&stacks) {
        output::note("note: the stacks have errors, which are nothing to apply: `enxame check` says which");
    }
    kept?;
    tell_lost(&look.lost);
    Ok(match &look.plan {
        plan if plan.is_refused() => Ending::Unproven,
        plan if plan.is_settled() => Ending::Done,
        // Of a node that does not answer nobody knows that nothing is to be changed.
        plan if plan.is_empty() && plan.unfinished.is_empty() => Ending::Unproven,
        _ => Ending::Changes,
    })
}

/// Tells what can be told: a node that is down is when it is needed most.
async fn status(arguments: &CommonArgs) -> anyhow::Result<Ending> {
    let config = load(&arguments.config)?;
    let progress = Progress::new(&config, arguments.quiet);
    let directory = directory_of(&arguments.config);
    let (fleet, facts, lost) = Fleet::reach(&config, directory, Locking::Free, &progress).await?;
    fleet.close().await;
    progress.finish();
    let plan = plan::make(&config, &facts, None, enxame_core::areas::resources())?;
    let status = Status::of(&config, &facts, &plan);
    if arguments.json {
        output::json(&status)?;
    } else {
        output::text(&status.text())?;
    }
    tell_lost(&lost);
    Ok(if lost.is_empty() { Ending::Done } else { Ending::Unproven })
}

/// Turns true at the first Ctrl-C, or when somebody else asks to end (`kill`, a terminal that went away); the second Ctrl-C
/// or `kill` ends the program.
fn interrupts() -> anyhow::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let mut asked = signal(SignalKind::terminate())?;
    let mut left_alone = signal(SignalKind::hangup())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut interruptions = 0;
        while interruptions < 2 {
            tokio::select! {
                _ = interrupted.recv() => interruptions += 1,
                _ = asked.recv() => interruptions += 1,
                _ = left_alone.recv() => {}
            }
            // Nobody listens any more: the apply has ended.
            let _ = stop.send(true);
        }
        interrupted_twice();
    });
    Ok(stopped)
}

#[expect(
    clippy::exit,
    reason = "the user asked twice; the kernel ends the ssh processes' pipes and so the agents"
)]
fn interrupted_twice() -> ! {
    std::process::exit(130)
}
