//! `enxame apply`: look under lock, show, ask, act, look again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use enxame_core::change::ChangeId;
use enxame_core::declare::Waiver;
use enxame_core::names::NodeName;
use enxame_core::plan::{Absence, Plan, check_absence};
use futures::future::LocalBoxFuture;
use tokio::sync::watch;

use super::{LookedAt, carry, interrupts, look, make_plan, tell_lost};
use crate::cli::ApplyArgs;
use crate::edge::Observer;
use crate::fleet::{Doors, Fleet, Locking, causes};
use crate::render;
use crate::render::progress::Progress;
use crate::run::{Materials, Outcome, Outcomes};
use crate::{Ending, output};

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
    if let Err(absence) = check_absence(&look.config, &look.facts, &arguments.without) {
        look.fleet.close().await;
        carry::show(&arguments.common, &look.config, &look.plan)?;
        output::note(&format!("error: {absence}; nothing was changed"));
        if let Absence::Unexpected(missing) = &absence {
            tell_lost(&look.lost);
            output::note(&format!("hint: to go on without: {}", again_without(missing)));
        }
        return Ok(Ending::Unproven);
    }
    if look.plan.is_refused() {
        look.fleet.close().await;
        carry::show(&arguments.common, &look.config, &look.plan)?;
        return Ok(Ending::Unproven);
    }
    if look.plan.is_empty() {
        let is_interrupted = look.facts.values().any(|facts| !facts.interrupted.is_empty());
        if is_interrupted && look.plan.leaves_nothing_open(&look.facts) {
            settle(&look.fleet).await;
        }
        look.fleet.close().await;
        let carried = (&look.plan, &Outcomes::new());
        let told = (&arguments.common, arguments.without.as_slice());
        return carry::finish(told, &look.config, carried, &look.plan);
    }
    if !arguments.common.json {
        output::text(&render::plan::plan(&look.config, &look.plan))?;
    }
    if !arguments.yes && arguments.plan.is_none() && !carry::is_approved(arguments.common.json)? {
        look.fleet.close().await;
        output::note("Nothing was changed.");
        return Ok(Ending::Failed);
    }
    let progress = Progress::new(&look.config, arguments.common.quiet);
    let stop = interrupts()?;
    let of_the_edge = at_the_edge(&look, &progress, stop.clone()).await;
    let outcomes = if of_the_edge.values().all(|outcome| *outcome == Outcome::Done) {
        let mut outcomes =
            carry::out(&look.config, &look.fleet, (&look.plan, &Materials::new()), &progress, stop).await;
        outcomes.extend(of_the_edge);
        outcomes
    } else {
        // The edge is as it was: what the nodes need of it may not be there.
        let untried = look.plan.changes.iter().map(|change| (change.id.clone(), Outcome::Skipped(edge_id())));
        untried.chain(of_the_edge).collect()
    };
    let facts = look.fleet.gather(&look.config, &progress).await;
    progress.finish();
    let after = make_plan(&look.config, &facts, look.edge.as_deref())
        .await
        .map(|plan| if arguments.allow_ssh_cut { plan.waiving(Waiver::AllowSshCut) } else { plan });
    let is_interrupted = facts.values().any(|facts| !facts.interrupted.is_empty());
    if is_interrupted && after.as_ref().is_ok_and(|plan| plan.leaves_nothing_open(&facts)) {
        settle(&look.fleet).await;
    }
    look.fleet.close().await;
    match after {
        Ok(after) => {
            let told = (&arguments.common, arguments.without.as_slice());
            carry::finish(told, &look.config, (&look.plan, &outcomes), &after)
        }
        Err(error) => carry::unseen(&arguments.common, &look.plan, &outcomes, error),
    }
}

/// The command that goes on without these nodes: what was typed, and who is left out.
fn again_without(missing: &[NodeName]) -> String {
    let typed = std::env::args().skip(1).map(|word| carry::quoted(&word));
    let without = missing.iter().flat_map(|node| ["--without".to_owned(), node.to_string()]);
    std::iter::once("enxame".to_owned()).chain(typed).chain(without).collect::<Vec<_>>().join(" ")
}

/// Closes what earlier applies left open in the journals. The nodes are as planned, whether that can be written or not.
async fn settle(fleet: &Fleet) {
    if let Err(error) = fleet.settle().await {
        output::note(&format!("warning: a journal keeps changes that were interrupted: {error:#}"));
    }
}

/// Carries out what the plan says of the provider's edge; every server is confirmed over a new SSH connection.
async fn at_the_edge(look: &LookedAt, progress: &Progress, mut stop: watch::Receiver<bool>) -> Outcomes {
    let (Some(edge), Some(change)) = (&look.edge, &look.plan.edge) else { return Outcomes::new() };
    let confirming = Confirming { doors: &look.fleet.doors, progress };
    let mut applying = edge.apply(change, &confirming);
    let applied = tokio::select! {
        applied = &mut applying => applied,
        Ok(()) = stop.changed() => {
            // Half made it is carried to its end, or put back: no switch of the provider's does that.
            progress.note(
                "stopping: the change of the provider's edge is ended, nothing more is begun (once more Ctrl-C leaves \
                 it half made, and nobody puts it back)",
            );
            applying.await
        }
    };
    let outcome = match applied {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed { causes: error.causes(), hint: error.hint() },
    };
    let mark = if outcome == Outcome::Done { "done" } else { "FAILED" };
    progress.note(&format!("{:<14} {mark}: {}", "edge", change.summary));
    [(edge_id(), outcome)].into()
}

/// What the outcome of the change at the edge is kept under.
pub(super) fn edge_id() -> ChangeId {
    ChangeId("edge".to_owned())
}

/// New connections to a server, one after the other, that show that a change of the edge did not cut it off.
const KNOCKS: u32 = 3;
const BETWEEN_KNOCKS: Duration = Duration::from_secs(3);

struct Confirming<'a> {
    doors: &'a Doors,
    progress: &'a Progress,
}

impl Observer for Confirming<'_> {
    fn tell(&self, text: &str) {
        self.progress.note(&format!("{:<14} {text}", "edge"));
    }

    fn confirm<'a>(&'a self, node: &'a NodeName) -> LocalBoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            // A provider may say that its filter is in force a moment before it is.
            for _ in 0..KNOCKS {
                tokio::time::sleep(BETWEEN_KNOCKS).await;
                self.doors.knock(node).await.map_err(|error| causes(&error))?;
            }
            Ok(())
        })
    }
}

fn refuse_if_moved(path: &Path, now: &Plan) -> anyhow::Result<()> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let then: Plan =
        serde_json::from_slice(&text).with_context(|| format!("{} is not a plan", path.display()))?;
    if !now.does_the_same_as(&then) {
        bail!(
            "{} was made for another state of the nodes, of the provider's edge or of cluster.yaml; plan again and look at what has moved",
            path.display()
        );
    }
    Ok(())
}
