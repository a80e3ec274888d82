//! The verbs, each a table of contents of what it does.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::path::Path;

use anyhow::{Context, bail};
use enxame_core::config::Config;
use enxame_core::facts::ClusterFacts;
use enxame_core::plan::{self, Plan};
use enxame_core::proposal::{self, Candidate};
use enxame_core::protocol::{Reply, Request};
use serde::Serialize;
use tokio::sync::watch;

use crate::apply::{self, Outcome, Outcomes};
use crate::cli::{ApplyArgs, CommonArgs, InitArgs, PlanArgs, Verb};
use crate::fleet::{Fleet, QUICK_DEADLINE};
use crate::render::progress::Progress;
use crate::render::{self, status::Status};
use crate::transport::{Agent, OwnBinary, Target};
use crate::{Ending, output};

/// Every verb that talks to nodes.
pub(crate) async fn run(verb: Verb) -> anyhow::Result<Ending> {
    match verb {
        Verb::Init(arguments) => init(&arguments).await,
        Verb::Check(arguments) => check(&arguments).await,
        Verb::Plan(arguments) => plan(&arguments).await,
        Verb::Apply(arguments) => apply(&arguments).await,
        Verb::Status(arguments) => status(&arguments).await,
        Verb::Verify(_) => bail!("not yet"),
        Verb::Schema | Verb::Agent { .. } | Verb::ProbeResponder => Ok(Ending::Done),
    }
}

pub(crate) fn schema() -> anyhow::Result<Ending> {
    output::text(&(Config::json_schema()? + "\n"))?;
    Ok(Ending::Done)
}

/// A cluster that was looked at.
struct Look {
    config: Config,
    fleet: Fleet,
    facts: ClusterFacts,
    plan: Plan,
    progress: Progress,
}

fn load(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read {} (`enxame init` proposes one; --config names another)", path.display())
    })?;
    Ok(Config::parse(&path.display().to_string(), &text)?)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new("."))
}

/// Whether the nodes are kept from others while this run lasts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locking {
    Free,
    Locked,
}

async fn look(arguments: &CommonArgs, locking: Locking) -> anyhow::Result<Look> {
    let config = load(&arguments.config)?;
    let progress = Progress::new(&config, arguments.quiet);
    let mut fleet = Fleet::connect(&config, directory_of(&arguments.config), &progress).await?;
    if locking == Locking::Locked {
        fleet.lock().await?;
    }
    let facts = fleet.gather(&config, &progress).await?;
    let plan = plan::make(&config, &facts, &enxame_node::resources::declarations())?;
    Ok(Look { config, fleet, facts, plan, progress })
}

async fn init(arguments: &InitArgs) -> anyhow::Result<Ending> {
    let own = OwnBinary::read()?;
    let looking = arguments.hosts.iter().map(|word| {
        let own = &own;
        async move {
            let (user, host) =
                word.rsplit_once('@').map_or((None, word.as_str()), |(user, host)| (Some(user), host));
            let target = Target {
                host: host.to_owned(),
                user: user.map(str::to_owned),
                port: None,
                config_file: arguments.ssh_config.clone(),
            };
            let mut agent = Agent::connect(&target, own).await.map_err(|error| told(word, &error))?;
            let request = Request::Gather(enxame_core::facts::FactsQuery::default());
            let reply =
                agent.request(&request, QUICK_DEADLINE, |_| ()).await.map_err(|error| told(word, &error))?;
            agent.close().await;
            match reply {
                Reply::Facts(facts) => {
                    Ok(Candidate { host: host.to_owned(), user: user.map(str::to_owned), facts: *facts })
                }
                _ => bail!("{word}: the agent answered out of turn"),
            }
        }
    });
    let candidates = futures::future::try_join_all(looking).await?;
    output::text(&proposal::propose(&candidates)?)?;
    Ok(Ending::Done)
}

fn told(host: &str, error: &crate::transport::TransportError) -> anyhow::Error {
    let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    anyhow::anyhow!("{host}: {error}{hint}")
}

async fn check(arguments: &CommonArgs) -> anyhow::Result<Ending> {
    let look = look(arguments, Locking::Free).await?;
    look.fleet.close().await;
    look.progress.finish();
    if arguments.json {
        output::json(&look.plan.findings)?;
    } else {
        let mut text = String::new();
        render::plan::findings(&look.plan.findings, &mut text);
        let nodes = look.config.nodes.len();
        let verdict = if look.plan.is_refused() { "apply would refuse." } else { "ready for apply." };
        output::text(&format!("{text}{nodes} nodes answered; {verdict}\n"))?;
    }
    Ok(if look.plan.is_refused() { Ending::Unproven } else { Ending::Done })
}

async fn plan(arguments: &PlanArgs) -> anyhow::Result<Ending> {
    let look = look(&arguments.common, Locking::Free).await?;
    look.fleet.close().await;
    look.progress.finish();
    if let Some(path) = &arguments.out {
        let json = serde_json::to_vec_pretty(&look.plan)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if arguments.common.json {
        output::json(&look.plan)?;
    } else {
        output::text(&render::plan::plan(&look.config, &look.plan))?;
    }
    Ok(match (look.plan.is_refused(), look.plan.is_empty()) {
        (true, _) => Ending::Unproven,
        (false, true) => Ending::Done,
        (false, false) => Ending::Changes,
    })
}

async fn status(arguments: &CommonArgs) -> anyhow::Result<Ending> {
    let look = look(arguments, Locking::Free).await?;
    look.fleet.close().await;
    look.progress.finish();
    let status = Status::of(&look.config, &look.facts, &look.plan);
    if arguments.json {
        output::json(&status)?;
    } else {
        output::text(&status.text())?;
    }
    Ok(Ending::Done)
}

/// What `apply --json` prints.
#[derive(Serialize)]
struct Applied<'a> {
    plan: &'a Plan,
    outcomes: &'a Outcomes,
    converged: bool,
}

async fn apply(arguments: &ApplyArgs) -> anyhow::Result<Ending> {
    // Locked before looking: what the plan was made for cannot move until it is carried out.
    let mut look = look(&arguments.common, Locking::Locked).await?;
    look.progress.finish();
    if let Some(path) = &arguments.plan {
        refuse_if_moved(path, &look.plan)?;
    }
    if look.plan.is_refused() {
        look.fleet.close().await;
        output::text(&render::plan::plan(&look.config, &look.plan))?;
        return Ok(Ending::Unproven);
    }
    if look.plan.is_empty() {
        look.fleet.close().await;
        return finish(arguments, &look.config, &look.plan, &Outcomes::new(), &look.plan);
    }
    if !arguments.common.json {
        output::text(&render::plan::plan(&look.config, &look.plan))?;
    }
    if !arguments.yes && arguments.plan.is_none() && !is_approved()? {
        look.fleet.close().await;
        output::note("Nothing was changed.");
        return Ok(Ending::Failed);
    }
    let progress = Progress::new(&look.config, arguments.common.quiet);
    let outcomes = apply::apply(&mut look.fleet, &look.plan, &progress, interrupts()).await;
    let facts = look.fleet.gather(&look.config, &progress).await;
    progress.finish();
    let after = facts
        .and_then(|facts| Ok(plan::make(&look.config, &facts, &enxame_node::resources::declarations())?));
    look.fleet.close().await;
    finish(arguments, &look.config, &look.plan, &outcomes, &after?)
}

fn refuse_if_moved(path: &Path, now: &Plan) -> anyhow::Result<()> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let then: Plan =
        serde_json::from_slice(&text).with_context(|| format!("{} is not a plan", path.display()))?;
    if then.facts != now.facts || then.changes != now.changes {
        bail!(
            "{} was made for another state of the nodes or of cluster.yaml; plan again and look at what has moved",
            path.display()
        );
    }
    Ok(())
}

fn is_approved() -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("there is no terminal to ask on: give --yes, or --plan with a plan you have looked at");
    }
    output::note("Carry this out? Only `yes` does.");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Turns true at the first Ctrl-C; the second one ends the program.
fn interrupts() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            // Nobody listens any more: the apply has ended.
            let _ = stop.send(true);
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted_twice();
        }
    });
    stopped
}

#[expect(
    clippy::exit,
    reason = "the user asked twice; the kernel ends the ssh processes' pipes and so the agents"
)]
fn interrupted_twice() -> ! {
    std::process::exit(130)
}

fn finish(
    arguments: &ApplyArgs,
    config: &Config,
    plan: &Plan,
    outcomes: &Outcomes,
    after: &Plan,
) -> anyhow::Result<Ending> {
    let converged = after.is_empty() && !after.is_refused();
    if arguments.common.json {
        output::json(&Applied { plan, outcomes, converged })?;
    } else {
        output::text(&told_outcomes(plan, outcomes))?;
        if !converged {
            output::text(&format!("Still to do:\n\n{}", render::plan::plan(config, after)))?;
        }
    }
    Ok(if converged { Ending::Done } else { Ending::Failed })
}

fn told_outcomes(plan: &Plan, outcomes: &Outcomes) -> String {
    if plan.is_empty() {
        return "Nothing to change.\n".to_owned();
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    for change in &plan.changes {
        if let Some(Outcome::Failed { causes, hint }) = outcomes.get(&change.id) {
            let _ =
                writeln!(text, "error: {}: cannot {}: {}", change.node, change.summary, causes.join(": "));
            if let Some(hint) = hint {
                let _ = writeln!(text, "       hint: {hint}");
            }
        }
    }
    let done = outcomes.values().filter(|outcome| **outcome == Outcome::Done).count();
    let untried =
        outcomes.values().filter(|outcome| matches!(outcome, Outcome::Skipped(_) | Outcome::Stopped)).count();
    let failed = outcomes.len() - done - untried;
    let _ = write!(text, "Applied: {done} of {} changes", plan.changes.len());
    if failed + untried > 0 {
        let _ = write!(text, ", {failed} failed, {untried} not tried; `enxame apply` goes on from here");
    }
    text + ".\n"
}
