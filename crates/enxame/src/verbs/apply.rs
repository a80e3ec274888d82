//! `enxame apply`: look under lock, show, ask, act, look again.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::path::Path;

use anyhow::{Context, bail};
use enxame_core::config::Config;
use enxame_core::declare::Waiver;
use enxame_core::plan::{self, Plan};
use serde::Serialize;

use super::{interrupts, look};
use crate::apply::{self, Outcome, Outcomes};
use crate::cli::ApplyArgs;
use crate::fleet::Locking;
use crate::render;
use crate::render::progress::Progress;
use crate::{Ending, output};

/// What `apply --json` prints.
#[derive(Serialize)]
struct Applied<'a> {
    plan: &'a Plan,
    outcomes: &'a Outcomes,
    converged: bool,
}

pub(super) async fn apply(arguments: &ApplyArgs) -> anyhow::Result<Ending> {
    // Locked before looking: what the plan was made for cannot move until it is carried out.
    let mut look = look(&arguments.common, Locking::Locked).await?;
    look.progress.finish();
    if arguments.allow_ssh_cut {
        look.plan = look.plan.waiving(Waiver::AllowSshCut);
    }
    if let Some(path) = &arguments.plan {
        refuse_if_moved(path, &look.plan)?;
    }
    if look.plan.is_refused() {
        look.fleet.close().await;
        show(arguments, &look.config, &look.plan)?;
        return Ok(Ending::Unproven);
    }
    if look.plan.is_empty() {
        if look.facts.values().any(|facts| !facts.interrupted.is_empty()) {
            look.fleet.settle().await?;
        }
        look.fleet.close().await;
        return finish(arguments, &look.config, &look.plan, &Outcomes::new(), &look.plan);
    }
    if !arguments.common.json {
        output::text(&render::plan::plan(&look.config, &look.plan))?;
    }
    if !arguments.yes && arguments.plan.is_none() && !is_approved(arguments)? {
        look.fleet.close().await;
        output::note("Nothing was changed.");
        return Ok(Ending::Failed);
    }
    let progress = Progress::new(&look.config, arguments.common.quiet);
    let outcomes = apply::apply(&mut look.fleet, &look.plan, &progress, interrupts()).await;
    let facts = look.fleet.gather(&look.config, &progress).await;
    progress.finish();
    let after = facts.and_then(|facts| {
        let plan = plan::make(&look.config, &facts, &enxame_node::resources::declarations())?;
        let plan = if arguments.allow_ssh_cut { plan.waiving(Waiver::AllowSshCut) } else { plan };
        Ok((facts.values().any(|facts| !facts.interrupted.is_empty()), plan))
    });
    if after.as_ref().is_ok_and(|(is_interrupted, plan)| *is_interrupted && plan.is_empty()) {
        look.fleet.settle().await?;
    }
    look.fleet.close().await;
    match after {
        Ok((_, after)) => finish(arguments, &look.config, &look.plan, &outcomes, &after),
        Err(error) => {
            output::note(told_outcomes(&look.plan, &outcomes).trim_end());
            Err(error.context("cannot tell whether the nodes are as planned"))
        }
    }
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

/// A plan that is not carried out.
fn show(arguments: &ApplyArgs, config: &Config, plan: &Plan) -> anyhow::Result<()> {
    if arguments.common.json {
        return output::json(&Applied { plan, outcomes: &Outcomes::new(), converged: false });
    }
    Ok(output::text(&render::plan::plan(config, plan))?)
}

fn is_approved(arguments: &ApplyArgs) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if arguments.common.json || !stdin.is_terminal() {
        bail!("there is no terminal to ask on: give --yes, or --plan with a plan you have looked at");
    }
    output::note("Carry this out? Only `yes` does.");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
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
