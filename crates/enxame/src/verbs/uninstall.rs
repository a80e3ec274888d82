//! `enxame uninstall`: look under lock, show, ask, take off, look again, and take away the last of enxame itself.

use anyhow::{Context, anyhow};
use enxame_core::areas;
use enxame_core::config::Config;
use enxame_core::declare::SwarmFate;
use enxame_core::plan::{self, Plan, check_absence};

use super::{carry, directory_of, interrupts, load, tell_lost};
use crate::cli::UninstallArgs;
use crate::fleet::{Fleet, Locking};
use crate::render::progress::Progress;
use crate::run::Materials;
use crate::run::Outcomes;
use crate::{Ending, output, render};

pub(super) async fn uninstall(arguments: &UninstallArgs) -> anyhow::Result<Ending> {
    let common = &arguments.common;
    let swarm = if arguments.swarm { SwarmFate::Left } else { SwarmFate::Stays };
    let config = load(&common.config)?;
    let progress = Progress::new(&config, common.quiet);
    let directory = directory_of(&common.config);
    // Locked before looking: what the plan was made for cannot move until it is carried out.
    let (fleet, facts, lost) = Fleet::reach(&config, directory, Locking::Locked, &progress).await?;
    if let Err(absence) = check_absence(&config, &facts, &[]) {
        fleet.close().await;
        progress.finish();
        tell_lost(&lost);
        return Err(anyhow!("{absence}; nothing was changed"));
    }
    let plan = look(&fleet, &config, swarm, &progress).await?;
    progress.finish();
    if plan.is_refused() {
        fleet.close().await;
        carry::show(common, &config, &plan)?;
        return Ok(Ending::Unproven);
    }
    if plan.is_empty() {
        // What is left of an uninstall that was cut off, or the agent that has looked just now.
        let forgotten = forget(fleet, &plan).await;
        let ending = carry::finish((common, &[]), &config, (&plan, &Outcomes::new()), &plan)?;
        return forgotten.map(|()| ending);
    }
    if !common.json {
        output::text(&render::plan::plan(&config, &plan))?;
    }
    if !arguments.yes && !carry::is_approved(common.json)? {
        fleet.close().await;
        output::note("Nothing was changed.");
        return Ok(Ending::Failed);
    }
    let progress = Progress::new(&config, common.quiet);
    let outcomes = carry::out(&config, &fleet, (&plan, &Materials::new()), &progress, interrupts()?).await;
    let after = look(&fleet, &config, swarm, &progress).await;
    progress.finish();
    let after = match after {
        Ok(after) => after,
        Err(error) => {
            fleet.close().await;
            return carry::unseen(common, &plan, &outcomes, error);
        }
    };
    let forgotten = forget(fleet, &after).await;
    let ending = carry::finish((common, &[]), &config, (&plan, &outcomes), &after)?;
    forgotten.map(|()| ending)
}

/// Takes away the last of enxame. As long as anything is to be put back, on whatever node, what it was is kept.
async fn forget(fleet: Fleet, after: &Plan) -> anyhow::Result<()> {
    let forgotten = if after.is_done() { fleet.forget().await } else { Ok(()) };
    fleet.close().await;
    forgotten.context("all but /var/lib/enxame is taken off; `enxame uninstall` goes on from here")
}

async fn look(fleet: &Fleet, config: &Config, swarm: SwarmFate, progress: &Progress) -> anyhow::Result<Plan> {
    let facts = fleet.gather_what(plan::query_for_removal, config, progress).await;
    Ok(plan::make_removal(config, &facts, swarm, areas::resources())?)
}
