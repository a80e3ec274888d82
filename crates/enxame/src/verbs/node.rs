//! `enxame node`: drain, activate, reboot. Says what it does to what runs, asks, and waits until it is so.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use enxame_core::config::Config;
use enxame_core::plan::Plan;
use enxame_core::procedures::{self, ProcedureError};
use serde::Serialize;

use super::{LookedAt, carry, interrupts, look_at_nodes, tell_lost};
use crate::cli::{CommonArgs, NodeVerb};
use crate::fleet::Locking;
use crate::render::progress::Progress;
use crate::run::{Materials, Outcome, Outcomes};
use crate::{Ending, output, render};

/// What `--json` prints.
#[derive(Serialize)]
struct ProcedureOutcome<'a> {
    plan: &'a Plan,
    outcomes: &'a Outcomes,
}

pub(super) async fn node(verb: &NodeVerb) -> anyhow::Result<Ending> {
    let (NodeVerb::Drain(arguments) | NodeVerb::Activate(arguments) | NodeVerb::Reboot(arguments)) = verb;
    let look = look_at_nodes(&arguments.common, Locking::Locked).await?;
    look.progress.finish();
    let plan = match planned(verb, &look) {
        Ok(plan) => plan,
        Err(error) => {
            look.fleet.close().await;
            tell_lost(&look.lost);
            return Err(anyhow!("{error}\nhint: {}", error.hint()));
        }
    };
    tell_lost(&look.lost);
    let ending = carried_out((&arguments.common, arguments.yes), &look, &plan).await;
    look.fleet.close().await;
    ending
}

fn planned(verb: &NodeVerb, look: &LookedAt) -> Result<Plan, ProcedureError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match verb {
        NodeVerb::Drain(arguments) => procedures::drain(&look.config, &look.facts, &arguments.node, now),
        NodeVerb::Activate(arguments) => procedures::activate(&look.config, &look.facts, &arguments.node),
        NodeVerb::Reboot(arguments) => procedures::reboot(&look.config, &look.facts, &arguments.node, now),
    }
}

/// Shows a procedure's plan, asks, carries it out and tells what became of it.
pub(super) async fn carried_out(
    (common, yes): (&CommonArgs, bool),
    look: &LookedAt,
    plan: &Plan,
) -> anyhow::Result<Ending> {
    Ok(carried_out_with((common, yes), look, (plan, &Materials::new())).await?.0)
}

/// The same, with what the operator's side hands over; also tells what became of each change.
pub(super) async fn carried_out_with(
    (common, yes): (&CommonArgs, bool),
    look: &LookedAt,
    (plan, materials): (&Plan, &Materials),
) -> anyhow::Result<(Ending, Outcomes)> {
    if plan.is_refused() || plan.is_empty() {
        told(common, &look.config, plan, &Outcomes::new())?;
        let ending = if plan.is_refused() { Ending::Unproven } else { Ending::Done };
        return Ok((ending, Outcomes::new()));
    }
    if !common.json {
        output::text(&render::plan::plan(&look.config, plan))?;
    }
    if !yes && !carry::is_approved(common.json)? {
        output::note("Nothing was changed.");
        return Ok((Ending::Failed, Outcomes::new()));
    }
    let progress = Progress::new(&look.config, common.quiet);
    let outcomes = carry::out(&look.config, &look.fleet, (plan, materials), &progress, interrupts()?).await;
    progress.finish();
    told(common, &look.config, plan, &outcomes)?;
    let is = |wanted: fn(&Outcome) -> bool| outcomes.values().any(wanted);
    let ending = match () {
        () if is(|outcome| matches!(outcome, Outcome::Failed { .. } | Outcome::Stopped)) => Ending::Failed,
        () if is(|outcome| matches!(outcome, Outcome::Held { .. } | Outcome::Unmet { .. })) => {
            Ending::Unproven
        }
        () => Ending::Done,
    };
    Ok((ending, outcomes))
}

fn told(common: &CommonArgs, config: &Config, plan: &Plan, outcomes: &Outcomes) -> anyhow::Result<()> {
    if common.json {
        return output::json(&ProcedureOutcome { plan, outcomes });
    }
    if outcomes.is_empty() {
        return Ok(output::text(&render::plan::plan(config, plan))?);
    }
    Ok(output::text(&carry::told_outcomes(plan, outcomes))?)
}
