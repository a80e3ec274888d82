//! Carrying a plan out for a verb: the question before, the run, and what is told of it.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};

use anyhow::bail;
use enxame_core::config::Config;
use enxame_core::names::NodeName;
use enxame_core::plan::Plan;
use serde::Serialize;
use tokio::sync::watch;

use crate::cli::CommonArgs;
use crate::fleet::Fleet;
use crate::render::progress::Progress;
use crate::run::{Event, FleetNodes, Materials, Outcome, Outcomes, Run};
use crate::{Ending, output, render};

/// What `--json` prints.
#[derive(Serialize)]
struct Carried<'a> {
    plan: &'a Plan,
    outcomes: &'a Outcomes,
    converged: bool,
    /// Why it cannot be told whether the nodes are as planned, where it cannot.
    error: Option<String>,
}

/// Asks; only `yes` is one.
///
/// # Errors
/// When there is nobody to ask.
pub(super) fn is_approved(is_json: bool) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if is_json || !stdin.is_terminal() {
        bail!("there is no terminal to ask on: give --yes, when you have looked at the plan");
    }
    output::note("Carry this out? Only `yes` does.");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Carries a plan's changes out on the nodes of a fleet, with what the operator's side has for them.
pub(super) async fn out(
    config: &Config,
    fleet: &Fleet,
    (plan, materials): (&Plan, &Materials),
    progress: &Progress,
    stop: watch::Receiver<bool>,
) -> Outcomes {
    let nodes = FleetNodes::of(fleet);
    let tell = |event: &Event<'_>| progress.hear(event);
    let outcomes = Run { config, world: &nodes, materials, tell: &tell }.carry_out(plan, stop).await;
    nodes.close().await;
    outcomes
}

/// A plan that is not carried out.
pub(super) fn show(common: &CommonArgs, config: &Config, plan: &Plan) -> anyhow::Result<()> {
    if common.json {
        return output::json(&Carried { plan, outcomes: &Outcomes::new(), converged: false, error: None });
    }
    Ok(output::text(&render::plan::plan(config, plan))?)
}

/// Tells what became of a plan that makes nodes as they are to be, with the plan that was made after it. `without` are the
/// nodes that were agreed to be left out.
pub(super) fn finish(
    (common, without): (&CommonArgs, &[NodeName]),
    config: &Config,
    (plan, outcomes): (&Plan, &Outcomes),
    after: &Plan,
) -> anyhow::Result<Ending> {
    // What was agreed to be left out is no failure; whoever went away meanwhile was not.
    let is_left_out = |node: &NodeName| without.contains(node);
    let is_whole = after.withheld.iter().all(|one| is_left_out(&one.because_of) && one.is_of_the_node_itself);
    let is_as_planned = after.is_empty() && !after.is_refused() && is_whole;
    let converged = is_as_planned && after.unfinished.is_empty();
    if common.json {
        output::json(&Carried { plan, outcomes, converged, error: None })?;
    } else {
        output::text(&told_outcomes(plan, outcomes))?;
        if converged {
            let mut text = String::new();
            render::plan::waits(after, &mut text);
            output::text(&text)?;
        } else {
            output::text(&format!("Still to do:\n\n{}", render::plan::plan(config, after)))?;
        }
    }
    Ok(if converged { Ending::Done } else { unfinished(is_as_planned, outcomes) })
}

/// How it ends where not all is done; where all is as planned, what is left is what somebody began and did not end.
fn unfinished(is_as_planned: bool, outcomes: &Outcomes) -> Ending {
    let is_held =
        outcomes.values().any(|outcome| matches!(outcome, Outcome::Held { .. } | Outcome::Unmet { .. }));
    let has_failed = outcomes.values().any(|outcome| matches!(outcome, Outcome::Failed { .. }));
    if (is_held || is_as_planned) && !has_failed { Ending::Unproven } else { Ending::Failed }
}

/// Tells what became of a plan where nobody can tell what the nodes are like now.
///
/// # Errors
/// Always: why it cannot be told.
pub(super) fn unseen(
    common: &CommonArgs,
    plan: &Plan,
    outcomes: &Outcomes,
    error: anyhow::Error,
) -> anyhow::Result<Ending> {
    let error = error.context("cannot tell whether the nodes are as planned");
    if common.json {
        output::json(&Carried { plan, outcomes, converged: false, error: Some(format!("{error:#}")) })?;
    } else {
        output::note(told_outcomes(plan, outcomes).trim_end());
    }
    Err(error)
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// What became of everything, for people.
pub(super) fn told_outcomes(plan: &Plan, outcomes: &Outcomes) -> String {
    if plan.is_empty() {
        // What somebody began and did not end is told behind this.
        let told = if plan.unfinished.is_empty() { "Nothing to change.\n" } else { "" };
        return told.to_owned();
    }
    let mut text = String::new();
    let of_nodes = plan.changes.iter().map(|change| (&change.id, change.node.to_string(), &change.summary));
    let edge = super::apply::edge_id();
    let of_edge = plan.edge.iter().map(|change| (&edge, "provider's edge".to_owned(), &change.summary));
    // Writing to a string does not fail.
    for (id, place, summary) in of_edge.chain(of_nodes) {
        match outcomes.get(id) {
            Some(Outcome::Failed { causes, hint }) => {
                let _ = writeln!(text, "error: {place}: cannot {summary}: {}", causes.join(": "));
                if let Some(hint) = hint {
                    let _ = writeln!(text, "       hint: {hint}");
                }
            }
            Some(Outcome::Held { gate, why }) => {
                let _ = writeln!(text, "not begun: {place}: {summary}: only while {gate}: {why}");
                let _ = writeln!(
                    text,
                    "       hint: `enxame status` shows who is missing; asking again goes on from here"
                );
            }
            Some(Outcome::Unmet { gate, why }) => {
                let _ =
                    writeln!(text, "error: {place}: {summary}: done, and waited in vain until {gate}: {why}");
            }
            Some(Outcome::Done | Outcome::Skipped(_) | Outcome::Stopped) | None => {}
        }
    }
    let done = outcomes.values().filter(|outcome| **outcome == Outcome::Done).count();
    let untried = outcomes
        .values()
        .filter(|outcome| !matches!(outcome, Outcome::Done | Outcome::Failed { .. } | Outcome::Unmet { .. }))
        .count();
    let failed = outcomes.len() - done - untried;
    let _ =
        write!(text, "Applied: {done} of {} changes", plan.changes.len() + usize::from(plan.edge.is_some()));
    if failed + untried > 0 {
        let _ = write!(text, ", {failed} failed, {untried} not tried; asking again goes on from here");
    }
    text + ".\n"
}

#[cfg(test)]
mod tests {
    use enxame_core::change::ChangeId;

    use super::*;

    #[test]
    fn what_is_left_undone_is_a_failure_unless_it_was_held_or_is_somebodys_own() {
        let failed = || Outcome::Failed { causes: Vec::new(), hint: None };
        let outcomes = |all: &[Outcome]| -> Outcomes {
            all.iter().enumerate().map(|(at, one)| (ChangeId(at.to_string()), one.clone())).collect()
        };
        assert_eq!(unfinished(true, &outcomes(&[])), Ending::Unproven);
        assert_eq!(unfinished(false, &outcomes(&[])), Ending::Failed);
        assert_eq!(unfinished(false, &outcomes(&[Outcome::Done, Outcome::Stopped])), Ending::Failed);
        let held = || Outcome::Held { gate: "quorum".to_owned(), why: String::new() };
        assert_eq!(unfinished(false, &outcomes(&[held()])), Ending::Unproven);
        assert_eq!(unfinished(false, &outcomes(&[held(), failed()])), Ending::Failed);
        assert_eq!(unfinished(true, &outcomes(&[failed()])), Ending::Failed);
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        for (word, told) in [("apply", "apply"), ("my file", "'my file'"), ("it's", "'it'\\''s'"), ("", "''")]
        {
            assert_eq!(quoted(word), told);
        }
    }
}
