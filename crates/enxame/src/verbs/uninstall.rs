//! `enxame uninstall`: look under lock, show, ask, take off, look again, and take away the last of enxame itself.

use enxame_core::areas;
use enxame_core::config::Config;
use enxame_core::declare::SwarmFate;
use enxame_core::facts::ClusterFacts;
use enxame_core::plan::{self, Plan};

use super::carried::{Verb, finish, is_approved, show, unseen};
use super::{directory_of, interrupts, load};
use crate::apply::{self, Outcomes};
use crate::cli::UninstallArgs;
use crate::fleet::{Fleet, Locking};
use crate::render::progress::Progress;
use crate::{Ending, output, render};

pub(super) async fn uninstall(arguments: &UninstallArgs) -> anyhow::Result<Ending> {
    let common = &arguments.common;
    let swarm = if arguments.swarm { SwarmFate::Left } else { SwarmFate::Stays };
    let config = load(&common.config)?;
    let progress = Progress::new(&config, common.quiet);
    let directory = directory_of(&common.config);
    // Locked before looking: what the plan was made for cannot move until it is carried out.
    let (mut fleet, _) = Fleet::connect(&config, directory, Locking::Locked, &progress).await?;
    let plan = look(&mut fleet, &config, swarm, &progress).await?;
    progress.finish();
    if plan.is_refused() {
        fleet.close().await;
        show(common, &config, &plan)?;
        return Ok(Ending::Unproven);
    }
    if plan.is_empty() {
        // What is left of an uninstall that was cut off, or the agent that has looked just now.
        fleet.forget().await?;
        fleet.close().await;
        return finish(Verb::Uninstall, common, &config, (&plan, &Outcomes::new()), &plan);
    }
    if !common.json {
        output::text(&render::plan::plan(&config, &plan))?;
    }
    if !arguments.yes && !is_approved(Verb::Uninstall, common)? {
        fleet.close().await;
        output::note("Nothing was changed.");
        return Ok(Ending::Failed);
    }
    let progress = Progress::new(&config, common.quiet);
    let stop = interrupts()?;
    let outcomes = apply::apply(&mut fleet, &plan, &progress, stop).await;
    let after = look(&mut fleet, &config, swarm, &progress).await;
    progress.finish();
    let carried = (&plan, &outcomes);
    let after = match after {
        Ok(after) => after,
        Err(error) => {
            fleet.close().await;
            return unseen(Verb::Uninstall, common, carried, error);
        }
    };
    // As long as anything is to be put back, what it was is kept.
    let forgotten = if after.is_empty() && !after.is_refused() { fleet.forget().await } else { Ok(()) };
    fleet.close().await;
    match forgotten {
        Ok(()) => finish(Verb::Uninstall, common, &config, carried, &after),
        Err(error) => {
            finish(Verb::Uninstall, common, &config, carried, &after)?;
            Err(error.context("all but /var/lib/enxame is taken off; `enxame uninstall` goes on from here"))
        }
    }
}

async fn look(
    fleet: &mut Fleet,
    config: &Config,
    swarm: SwarmFate,
    progress: &Progress,
) -> anyhow::Result<Plan> {
    let facts: ClusterFacts = fleet.gather_what(plan::query_for_removal, config, progress).await?;
    Ok(plan::make_removal(config, &facts, swarm, areas::resources())?)
}
