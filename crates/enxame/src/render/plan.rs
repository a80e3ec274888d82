//! A plan for people: by node, every change with what differs and why.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use enxame_core::change::{Change, Difference, Risk};
use enxame_core::config::Config;
use enxame_core::declare::{Finding, Severity};
use enxame_core::edge::EdgeChange;
use enxame_core::plan::Plan;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// The longest list of differences shown of one change.
const SHOWN_DIFFERENCES: usize = 24;

/// The whole plan.
pub(crate) fn plan(config: &Config, plan: &Plan) -> String {
    let mut out = String::new();
    findings(&plan.findings, &mut out);
    if let Some(edge) = &plan.edge {
        edge_change(edge, &mut out);
    }
    for node in &config.nodes {
        let changes: Vec<&Change> = plan.changes.iter().filter(|change| change.node == node.name).collect();
        if !changes.is_empty() {
            line(&mut out, &format!("{BOLD}{}{BOLD:#} ({})", node.name, node.address));
            for one in changes {
                change(one, &mut out);
            }
            out.push('\n');
        }
    }
    waits(plan, &mut out);
    line(&mut out, &summary(plan));
    out
}

/// What is not done, and what was begun and not ended.
pub(crate) fn waits(plan: &Plan, out: &mut String) {
    for one in &plan.withheld {
        line(
            out,
            &format!(
                "{YELLOW}withheld{YELLOW:#}: {} {DIM}(because of {}: {}){DIM:#}",
                one.what, one.because_of, one.why
            ),
        );
    }
    for one in &plan.unfinished {
        let is = if one.is_drained { "is drained" } else { "was drained, and activated by hand" };
        line(out, &format!("{YELLOW}unfinished{YELLOW:#}: {} {is}, by `enxame node {}`", one.node, one.verb));
        let goes_on = if one.is_drained && one.verb == "reboot" {
            format!("`enxame node reboot {}` goes on, ", one.node)
        } else {
            String::new()
        };
        let ends = if one.is_drained { "gives it tasks again" } else { "takes the record of that away" };
        line(out, &format!("       hint: {goes_on}`enxame node activate {}` {ends}", one.node));
    }
    if !plan.withheld.is_empty() || !plan.unfinished.is_empty() {
        out.push('\n');
    }
}

/// One line that says how much is to be done.
pub(crate) fn summary(plan: &Plan) -> String {
    let nodes: std::collections::BTreeSet<_> = plan.changes.iter().map(|change| &change.node).collect();
    let disruptive = plan.changes.iter().filter(|change| matches!(change.risk, Risk::Disruptive(_))).count();
    let errors = plan.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let mut text = match (plan.changes.len(), &plan.edge) {
        (0, None) if plan.withheld.is_empty() && plan.unfinished.is_empty() => {
            "Nothing to change.".to_owned()
        }
        (0, None) => "Nothing to change now.".to_owned(),
        (0, Some(_)) => "Plan: 1 change at the provider's edge".to_owned(),
        (count, edge) => {
            let edge = if edge.is_some() { " and 1 at the provider's edge" } else { "" };
            format!(
                "Plan: {count} change{} on {} node{}{edge}",
                plural(count),
                nodes.len(),
                plural(nodes.len())
            )
        }
    };
    if disruptive > 0 {
        let _ = write!(text, ", {disruptive} of them disruptive");
    }
    if errors > 0 {
        let _ = write!(text, "; refused for {errors} error{}", plural(errors));
    }
    text
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// What no change can mend.
pub(crate) fn findings(findings: &[Finding], out: &mut String) {
    for finding in findings {
        let (style, word) = match finding.severity {
            Severity::Error => (RED, "error"),
            Severity::Warning => (YELLOW, "warning"),
        };
        let node = finding.node.as_ref().map(|node| format!("{node} ")).unwrap_or_default();
        line(
            out,
            &format!(
                "{style}{word}{style:#}: {node}{} {DIM}(manual {}){DIM:#}",
                finding.message, finding.section
            ),
        );
        line(out, &format!("       hint: {}", finding.hint));
    }
    if !findings.is_empty() {
        out.push('\n');
    }
}

fn change(change: &Change, out: &mut String) {
    let (style, mark) = match change.risk {
        Risk::Safe => (GREEN, '~'),
        Risk::Restarts(_) => (YELLOW, '~'),
        Risk::Disruptive(_) | Risk::MayCutSsh => (RED, '!'),
    };
    let section = &change.section;
    line(
        out,
        &format!(
            "  {style}{mark}{style:#} {} {DIM}[{}, manual {section}]{DIM:#}",
            change.summary, change.kind
        ),
    );
    line(out, &format!("      {DIM}because {}{DIM:#}", change.reason));
    for gate in &change.gates {
        line(out, &format!("      {DIM}only while {gate}{DIM:#}"));
    }
    match &change.risk {
        Risk::Safe => {}
        Risk::Restarts(service) => line(out, &format!("      {YELLOW}restarts {service}{YELLOW:#}")),
        Risk::Disruptive(what) => line(out, &format!("      {RED}disruptive{RED:#}: {what}")),
        Risk::MayCutSsh => {
            line(
                out,
                &format!("      {RED}may cut off SSH{RED:#}: undone unless a new connection confirms it"),
            );
        }
    }
    differences(&change.differences, SHOWN_DIFFERENCES, out);
}

/// What stands in front of all nodes: every rule is shown, because any of them may be somebody's way in.
fn edge_change(change: &EdgeChange, out: &mut String) {
    line(out, &format!("{BOLD}provider's edge{BOLD:#} ({}, firewall {})", change.provider, change.name));
    line(out, &format!("  {RED}!{RED:#} {} {DIM}[edge, manual {}]{DIM:#}", change.summary, change.section));
    line(out, &format!("      {DIM}because {}{DIM:#}", change.reason));
    line(
        out,
        &format!(
            "      {RED}may cut off SSH{RED:#}: put back unless new connections confirm it, server by server"
        ),
    );
    differences(&change.differences, usize::MAX, out);
    out.push('\n');
}

fn differences(differences: &[Difference], shown: usize, out: &mut String) {
    for one in differences.iter().take(shown) {
        line(out, &format!("      {}", difference(one)));
    }
    if let Some(more) = differences.len().checked_sub(shown).filter(|more| *more > 0) {
        line(out, &format!("      ... and {more} more (--json shows all)"));
    }
}

fn difference(difference: &Difference) -> String {
    let Difference { field, old, new } = difference;
    match (old, new) {
        (Some(old), Some(new)) => format!("{YELLOW}~{YELLOW:#} {field}: {old} -> {new}"),
        (None, Some(new)) => format!("{GREEN}+{GREEN:#} {field}: {new}"),
        (Some(old), None) => format!("{RED}-{RED:#} {field}: {old}"),
        (None, None) => field.to_string(),
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use enxame_core::edge::EdgeFacts;
    use enxame_core::facts::ClusterFacts;

    use super::*;

    #[test]
    fn the_providers_edge_stands_before_the_nodes_with_every_rule() {
        let text = "version: 1\ncluster: lab\nssh: {allow_from: [198.51.100.7]}\nfirewall: {edge: {provider: hostinger}}\n\
                    nodes: [{name: kvm2, address: 203.0.113.12}]\n";
        let config = Config::parse("cluster.yaml", text).unwrap();
        let seen = r#"{"provider": "hostinger", "names": {"3": "web"}, "strangers": {},
            "machines": {"kvm2": {"id": 12, "firewall": 3, "is_locked": false}},
            "firewall": {"id": 7, "is_synced": true, "rules": [
                {"id": 1, "action": "drop", "protocol": "TCP", "port": "8080", "source": "any", "source_detail": "any"}]}}"#;
        let seen: EdgeFacts = serde_json::from_str(seen).unwrap();
        let made = enxame_core::plan::make(&config, &ClusterFacts::default(), Some(&seen), &[]).unwrap();
        insta::assert_snapshot!(anstream::adapter::strip_str(&plan(&config, &made)).to_string());
    }
}
