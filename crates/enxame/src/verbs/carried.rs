//! What the verbs that carry a plan out have in common: the question before, and what is told after.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};

use anyhow::bail;
use enxame_core::change::ChangeId;
use enxame_core::config::Config;
use enxame_core::plan::Plan;
use serde::Serialize;

use crate::apply::{Outcome, Outcomes};
use crate::cli::CommonArgs;
use crate::render;
use crate::{Ending, output};

/// Which verb it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Apply,
    Uninstall,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "enxame apply",
            Self::Uninstall => "enxame uninstall",
        }
    }

    fn nothing(self) -> &'static str {
        match self {
            Self::Apply => "Nothing to change.\n",
            Self::Uninstall => "Nothing of enxame's is on the servers.\n",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Apply => "Applied",
            Self::Uninstall => "Taken off",
        }
    }

    fn without_terminal(self) -> &'static str {
        match self {
            Self::Apply => {
                "there is no terminal to ask on: give --yes, or --plan with a plan you have looked at"
            }
            Self::Uninstall => "there is no terminal to ask on: give --yes",
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Carried<'a> {
    plan: &'a Plan,
    outcomes: &'a Outcomes,
    converged: bool,
    /// Why it cannot be told whether the nodes are as planned, where it cannot.
    error: Option<String>,
}

/// What the outcome of the change at the edge is kept under.
pub(super) fn edge_id() -> ChangeId {
    ChangeId("edge".to_owned())
}

/// A plan that is not carried out.
pub(super) fn show(arguments: &CommonArgs, config: &Config, plan: &Plan) -> anyhow::Result<()> {
    if arguments.json {
        return output::json(&Carried { plan, outcomes: &Outcomes::new(), converged: false, error: None });
    }
    Ok(output::text(&render::plan::plan(config, plan))?)
}

/// Asks.
pub(super) fn is_approved(verb: Verb, arguments: &CommonArgs) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if arguments.json || !stdin.is_terminal() {
        bail!(verb.without_terminal());
    }
    output::note("Carry this out? Only `yes` does.");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Tells what became of a plan and what, by another look at the nodes, is still to do.
pub(super) fn finish(
    verb: Verb,
    arguments: &CommonArgs,
    config: &Config,
    (plan, outcomes): (&Plan, &Outcomes),
    after: &Plan,
) -> anyhow::Result<Ending> {
    let converged = after.is_empty() && !after.is_refused();
    if arguments.json {
        output::json(&Carried { plan, outcomes, converged, error: None })?;
    } else {
        output::text(&told_outcomes(verb, plan, outcomes))?;
        if !converged {
            output::text(&format!("Still to do:\n\n{}", render::plan::plan(config, after)))?;
        }
    }
    Ok(if converged { Ending::Done } else { Ending::Failed })
}

/// Tells what became of a plan where the nodes could not be looked at once more.
pub(super) fn unseen(
    verb: Verb,
    arguments: &CommonArgs,
    (plan, outcomes): (&Plan, &Outcomes),
    error: anyhow::Error,
) -> anyhow::Result<Ending> {
    let error = error.context("cannot tell whether the nodes are as planned");
    if arguments.json {
        output::json(&Carried { plan, outcomes, converged: false, error: Some(format!("{error:#}")) })?;
    } else {
        output::note(told_outcomes(verb, plan, outcomes).trim_end());
    }
    Err(error)
}

fn told_outcomes(verb: Verb, plan: &Plan, outcomes: &Outcomes) -> String {
    if plan.is_empty() {
        return verb.nothing().to_owned();
    }
    let mut text = String::new();
    let of_nodes = plan.changes.iter().map(|change| (&change.id, change.node.to_string(), &change.summary));
    let edge = edge_id();
    let of_edge = plan.edge.iter().map(|change| (&edge, "provider's edge".to_owned(), &change.summary));
    // Writing to a string does not fail.
    for (id, place, summary) in of_edge.chain(of_nodes) {
        if let Some(Outcome::Failed { causes, hint }) = outcomes.get(id) {
            let _ = writeln!(text, "error: {place}: cannot {summary}: {}", causes.join(": "));
            if let Some(hint) = hint {
                let _ = writeln!(text, "       hint: {hint}");
            }
        }
    }
    let done = outcomes.values().filter(|outcome| **outcome == Outcome::Done).count();
    let untried =
        outcomes.values().filter(|outcome| matches!(outcome, Outcome::Skipped(_) | Outcome::Stopped)).count();
    let failed = outcomes.len() - done - untried;
    let _ = write!(
        text,
        "{}: {done} of {} changes",
        verb.done(),
        plan.changes.len() + usize::from(plan.edge.is_some())
    );
    if failed + untried > 0 {
        let _ = write!(text, ", {failed} failed, {untried} not tried; `{}` goes on from here", verb.name());
    }
    text + ".\n"
}
