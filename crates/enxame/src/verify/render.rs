//! The report for people: a line for each thing proven about each network, and what is not passed in full.

use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use enxame_core::proofs::{Part, ProofKind, Totals, kind_of};
use enxame_core::report::{Proof, ProofId, Report, Verdict};

/// How many places of what is the same everywhere are named: those of one node that is off among three.
const TOLD_PLACES: usize = 4;

/// The report as text.
pub(crate) fn report(report: &Report) -> String {
    let mut groups = BTreeMap::<(Section<'_>, ProofId), Vec<&Proof>>::new();
    for proof in &report.proofs {
        groups.entry((Section::of(proof), proof.id)).or_default().push(proof);
    }
    let mut out = String::new();
    let mut begun = None;
    for ((section, id), proofs) in groups {
        if begun != Some(section) {
            begun = Some(section);
            // Writing to a string does not fail.
            let _ = writeln!(out, "{}", section.title());
        }
        let verdict = proofs.iter().map(|proof| proof.verdict).max().unwrap_or(Verdict::Unknown);
        let kind = kind_of(id);
        let line = format!("  {} {:<24} {}", badge(verdict), kind.title, summary(kind, &proofs));
        let _ = writeln!(out, "{}", line.trim_end());
        for (text, places) in not_passed(&proofs) {
            let _ = writeln!(out, "          {}{text}", told(&places));
        }
    }
    let count = |verdict| report.proofs.iter().filter(|proof| proof.verdict == verdict).count();
    let (pass, fail, unknown) = (count(Verdict::Pass), count(Verdict::Fail), count(Verdict::Unknown));
    let total = report.proofs.len();
    let _ = match report.verdict() {
        Verdict::Pass => writeln!(out, "\n{} all {total} proofs", badge(Verdict::Pass)),
        verdict => writeln!(
            out,
            "\n{} {fail} failed, {unknown} could not be made, {pass} passed of {total} proofs",
            badge(verdict)
        ),
    };
    out
}

/// What proofs are about, in the order of the report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section<'a> {
    Ways,
    Network(&'a str),
    Ports,
    Tunnels,
    Files(&'a str),
}

impl<'a> Section<'a> {
    fn of(proof: &'a Proof) -> Self {
        match (kind_of(proof.id).part, &proof.network) {
            (Part::Exposure, _) => Self::Ports,
            (Part::Storage, None) => Self::Tunnels,
            (Part::Storage, Some(export)) => Self::Files(export),
            (Part::Wire, Some(network)) => Self::Network(network),
            (Part::Wire, None) => Self::Ways,
        }
    }

    fn title(self) -> &'a str {
        match self {
            Self::Ways => "between the nodes",
            Self::Network(network) => network,
            Self::Ports => "ports, from outside and between the nodes",
            Self::Tunnels => "in the tunnels",
            Self::Files(export) => export,
        }
    }
}

fn badge(verdict: Verdict) -> String {
    let (colour, text) = match verdict {
        Verdict::Pass => (AnsiColor::Green, "pass   "),
        Verdict::Unknown => (AnsiColor::Yellow, "unknown"),
        Verdict::Fail => (AnsiColor::Red, "FAIL   "),
    };
    let style: Style = colour.on_default().bold();
    format!("{style}{text}{style:#}")
}

/// How often it was proven, and what was counted in all.
fn summary(kind: &ProofKind, proofs: &[&Proof]) -> String {
    let passed = proofs.iter().filter(|proof| proof.verdict == Verdict::Pass).count();
    let of = if kind.part == Part::Exposure {
        format!("{passed}/{} looks", proofs.len())
    } else if proofs.iter().any(|proof| proof.pair.is_some()) {
        format!("{passed}/{} directions", proofs.len())
    } else if proofs.iter().any(|proof| proof.node.is_some()) {
        format!("{passed}/{} nodes", proofs.len())
    } else {
        return String::new();
    };
    match (kind.counted)(&Totals(proofs)) {
        counted if counted.is_empty() => of,
        counted => format!("{of}, {counted}"),
    }
}

/// What is said of the proofs that did not pass, and of where: what is said of many places is said once.
fn not_passed<'a>(proofs: &[&'a Proof]) -> Vec<(&'a str, Vec<String>)> {
    let mut told = Vec::<(&str, Vec<String>)>::new();
    for proof in proofs.iter().filter(|proof| proof.verdict != Verdict::Pass) {
        let place = place(proof);
        match told.iter_mut().find(|(text, _)| *text == proof.text) {
            Some((_, places)) => places.extend(place),
            None => told.push((&proof.text, place.into_iter().collect())),
        }
    }
    told
}

fn told(places: &[String]) -> String {
    match places.split_at_checked(TOLD_PLACES) {
        _ if places.is_empty() => String::new(),
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more: ", first.join(", "), rest.len()),
        _ => format!("{}: ", places.join(", ")),
    }
}

fn place(proof: &Proof) -> Option<String> {
    match (&proof.pair, &proof.node) {
        (Some(pair), _) => Some(format!("{} -> {}", pair.from, pair.to)),
        (None, Some(node)) => Some(node.to_string()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_many_places_is_said_once() {
        let places: Vec<String> = (1..=6).map(|number| format!("kvm{number} -> kvm9")).collect();
        assert_eq!(told(&places[..0]), "");
        assert_eq!(told(&places[..2]), "kvm1 -> kvm9, kvm2 -> kvm9: ");
        assert_eq!(told(&places[..4]), "kvm1 -> kvm9, kvm2 -> kvm9, kvm3 -> kvm9, kvm4 -> kvm9: ");
        assert_eq!(told(&places), "kvm1 -> kvm9, kvm2 -> kvm9, kvm3 -> kvm9, kvm4 -> kvm9 and 2 more: ");
    }
}
