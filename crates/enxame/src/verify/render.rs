//! The report for people: a line for each thing proven about each network, and what is not passed in full.

use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use enxame_core::report::{Proof, ProofId, Report, Verdict};

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
        let line = format!("  {} {:<24} {}", badge(verdict), id.title(), summary(id, &proofs));
        let _ = writeln!(out, "{}", line.trim_end());
        for proof in proofs.iter().filter(|proof| proof.verdict != Verdict::Pass) {
            let _ = writeln!(out, "          {}{}", place(proof), proof.text);
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
}

impl<'a> Section<'a> {
    fn of(proof: &'a Proof) -> Self {
        match (proof.id, &proof.network) {
            (ProofId::NothingElseOpen | ProofId::DeclaredOpen, _) => Self::Ports,
            (_, Some(network)) => Self::Network(network),
            (_, None) => Self::Ways,
        }
    }

    fn title(self) -> &'a str {
        match self {
            Self::Ways => "between the nodes",
            Self::Network(network) => network,
            Self::Ports => "ports, from outside and between the nodes",
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
fn summary(id: ProofId, proofs: &[&Proof]) -> String {
    let passed = proofs.iter().filter(|proof| proof.verdict == Verdict::Pass).count();
    let of = if matches!(id, ProofId::NothingElseOpen | ProofId::DeclaredOpen) {
        format!("{passed}/{} looks", proofs.len())
    } else if proofs.iter().any(|proof| proof.pair.is_some()) {
        format!("{passed}/{} directions", proofs.len())
    } else if proofs.iter().any(|proof| proof.node.is_some()) {
        format!("{passed}/{} nodes", proofs.len())
    } else {
        return String::new();
    };
    let sum = |key: &str| proofs.iter().filter_map(|proof| proof.numbers.get(key)).sum::<u64>();
    let counted = match id {
        ProofId::NoClearPackets => format!("{} clear", sum("clear_packets")),
        ProofId::MarkerHidden => format!("in {} packets", sum("marker_packets")),
        ProofId::EspSeen => format!("{} ESP", sum("esp_packets")),
        ProofId::AssociationsRose => {
            format!("{} sent, {} received", sum("sent_packets"), sum("received_packets"))
        }
        ProofId::BulkTcp => {
            format!("{} there, {} back", bytes(sum("sent_bytes")), bytes(sum("received_bytes")))
        }
        ProofId::UdpEcho => format!("{} of {}", sum("returned_packets"), sum("sent_packets")),
        ProofId::PathQuality => format!("{} of {} echoes", sum("returned_packets"), sum("sent_packets")),
        ProofId::MeshReaches => format!("{} requests answered", sum("answered")),
        ProofId::NothingElseOpen => format!(
            "{} TCP ports tried, {} answer undeclared",
            sum("scanned_tcp_ports"),
            sum("unexpected_tcp_ports")
        ),
        ProofId::DeclaredOpen => {
            format!("{} declared, {} filtered", sum("declared_tcp_ports"), sum("filtered_tcp_ports"))
        }
        ProofId::NamesResolve | ProofId::DeclaredEncrypted => return of,
    };
    format!("{of}, {counted}")
}

/// A size in the largest unit of which there is one at least.
fn bytes(count: u64) -> String {
    const MEBIBYTE: u64 = 1024 * 1024;
    match count {
        0..1024 => format!("{count} B"),
        1024..MEBIBYTE => format!("{} KiB", count / 1024),
        MEBIBYTE.. => format!("{} MiB", count / MEBIBYTE),
    }
}

fn place(proof: &Proof) -> String {
    match (&proof.pair, &proof.node) {
        (Some(pair), _) => format!("{} -> {}: ", pair.from, pair.to),
        (None, Some(node)) => format!("{node}: "),
        (None, None) => String::new(),
    }
}
