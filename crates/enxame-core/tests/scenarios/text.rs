//! A plan as text, without the facts' digest, which moves with every fact.

use std::fmt::Write;

use enxame_core::change::{Change, Difference, Handover, Risk};
use enxame_core::declare::Severity;
use enxame_core::names::NodeName;
use enxame_core::plan::Plan;
use serde_json::Value;

use crate::show::Show;

/// The text of what is shown of a plan.
pub(crate) fn of(plan: Plan, show: Show) -> String {
    let (plan, count) = show.narrow(plan);
    let mut out = String::new();
    for finding in &plan.findings {
        let severity = match finding.severity {
            Severity::Warning => "warning",
            Severity::Error => "ERROR",
        };
        let node = finding.node.as_ref().map_or("cluster".to_owned(), ToString::to_string);
        line(&mut out, 0, &format!("{severity} [{}] {node}: {}", finding.section, finding.message));
        line(&mut out, 1, &format!("hint: {}", finding.hint));
    }
    for one in &plan.withheld {
        line(&mut out, 0, &format!("WITHHELD because of {}: {} ({})", one.because_of, one.what, one.why));
    }
    for one in &plan.unfinished {
        line(&mut out, 0, &format!("UNFINISHED on {}: {} since {:?}", one.node, one.verb, one.since_unix_s));
    }
    let verdict = if plan.is_refused() { "refused" } else { "may be applied" };
    line(&mut out, 0, &format!("= {count}, {verdict}"));
    for one in &plan.changes {
        change(&mut out, one);
    }
    out
}

fn change(out: &mut String, change: &Change) {
    let Change { id, node, section, summary, reason, .. } = change;
    line(out, 0, "");
    line(out, 0, &format!("{id} [{section}] on {node}: {summary}"));
    line(out, 1, &format!("because {reason}"));
    match &change.risk {
        Risk::Safe => {}
        Risk::Restarts(what) => line(out, 1, &format!("RESTARTS {what}")),
        Risk::Disruptive(what) => line(out, 1, &format!("DISRUPTIVE {what}")),
        Risk::MayCutSsh => line(out, 1, "MAY CUT SSH"),
    }
    match &change.handover {
        Some(Handover::ManagerToken { from }) => line(out, 1, &format!("with the manager token from {from}")),
        Some(Handover::TunnelKeys { from }) => {
            let from: Vec<&str> = from.iter().map(NodeName::as_str).collect();
            line(out, 1, &format!("with the keys of {}", from.join(", ")));
        }
        Some(Handover::Material) => line(out, 1, "with what the operator's side has for it"),
        None => {}
    }
    if !change.after.is_empty() {
        let after: Vec<String> = change.after.iter().map(ToString::to_string).collect();
        line(out, 1, &format!("after {}", after.join(" ")));
    }
    for gate in &change.until {
        line(out, 1, &format!("done when {gate}"));
    }
    if !change.behind.is_empty() {
        let behind: Vec<String> = change.behind.iter().map(ToString::to_string).collect();
        line(out, 1, &format!("behind {}", behind.join(" ")));
    }
    for gate in &change.gates {
        line(out, 1, &format!("only while {gate}"));
    }
    if change.differences.len() > MANY && change.risk == Risk::MayCutSsh {
        counts(out, &change.differences);
    } else {
        differences(out, &change.differences);
    }
    line(out, 1, &format!("action {}", brief(&serde_json::to_value(&change.action).unwrap())));
}

/// Longer lists of what a firewall gets are golden files of their own, beside the code that writes them.
const MANY: usize = 12;

/// How many lines come and go in each file.
fn counts(out: &mut String, differences: &[Difference]) {
    let mut fields: Vec<&str> = differences.iter().map(|one| one.field.as_ref()).collect();
    fields.dedup();
    for field in fields {
        let of_field = || differences.iter().filter(|one| one.field == field);
        let (old, new) = (
            of_field().filter(|one| one.old.is_some()).count(),
            of_field().filter(|one| one.new.is_some()).count(),
        );
        line(out, 1, &format!("{field}: -{old} +{new}"));
    }
}

fn differences(out: &mut String, differences: &[Difference]) {
    for one in differences {
        let value =
            |value: &Option<String>| value.as_ref().map_or("nothing".to_owned(), |v| format!("`{v}`"));
        line(out, 1, &format!("{}: {} -> {}", one.field, value(&one.old), value(&one.new)));
    }
}

/// The action as JSON; a file's text is in the differences already, so its length will do.
fn brief(action: &Value) -> Value {
    match action {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("content", Value::String(text)) => {
                    (key.clone(), format!("<{} lines>", text.lines().count()).into())
                }
                _ => (key.clone(), brief(value)),
            })
            .collect(),
        Value::Array(list)
            if list.iter().any(|one| one.as_str().is_some_and(|text| text.contains(" -j "))) =>
        {
            format!("<{} texts>", list.len()).into()
        }
        other => other.clone(),
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{}{text}", "    ".repeat(depth));
}
