//! What is declared open gets through.

use super::judgement::Judgement;
use super::place::{TOLD_RANGES, is_translated, placed};
use super::{Need, Part, ProofKind, Totals};
use crate::facts::Observed;
use crate::probe::Scanned;
use crate::report::exposure::{Sighting, Vantage};
use crate::report::{Observations, Proof, ProofId, Verdict};

pub(super) const KIND: ProofKind = ProofKind {
    id: ProofId::DeclaredOpen,
    title: "what is declared is open",
    manual: "3.2",
    part: Part::Exposure,
    needs: &[Need::Scan],
    judge,
    counted,
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let proofs = observations.sightings.iter().filter_map(|sighting| {
        let judgement = match &sighting.seen {
            Observed::Known(scanned) => declared(sighting, scanned),
            Observed::Unknown(why) => {
                let is_declared = !sighting.expected.controls().is_empty();
                is_declared.then(|| Judgement::unknown(ProofId::DeclaredOpen, why.clone()))
            }
        };
        judgement.map(|judgement| placed(sighting, judgement))
    });
    proofs.collect()
}

fn counted(totals: &Totals<'_>) -> String {
    format!("{} declared, {} filtered", totals.of("declared_tcp_ports"), totals.of("filtered_tcp_ports"))
}

/// What is declared gets through; `None` where nothing is.
fn declared(sighting: &Sighting, scanned: &Scanned) -> Option<Judgement> {
    let open = sighting.expected.open.common(&scanned.tried_tcp);
    let declared = sighting.expected.declared.and(&open).common(&scanned.tried_tcp);
    if declared.is_empty() {
        return None;
    }
    let filtered = scanned.silent().and(&scanned.rejected);
    let idle = open.common(&scanned.refused);
    let shut = open.common(&filtered);
    let hidden = declared.without(&open).common(&filtered);
    let problems = [
        (&shut, "should take connections from here, and is filtered"),
        (&idle, "should take connections from here, and nothing listens"),
        (&hidden, "is declared open, and is filtered"),
    ];
    let told: Vec<String> = problems
        .iter()
        .filter(|(ports, _)| !ports.is_empty())
        .map(|(ports, what)| format!("TCP {} {what}", ports.brief(TOLD_RANGES)))
        .collect();
    let (verdict, text) = if told.is_empty() {
        (Verdict::Pass, format!("TCP {} gets through", declared.brief(TOLD_RANGES)))
    } else if hidden.is_empty()
        && idle.is_empty()
        && sighting.from == Vantage::Operator
        && is_translated(sighting)
    {
        // The login came by another way, perhaps: a jump host may be let in where this host is not.
        let text = format!("{}; but nobody can tell whether it is here that is let in", told.join("; "));
        (Verdict::Unknown, text)
    } else {
        (Verdict::Fail, told.join("; "))
    };
    let numbers = vec![
        ("declared_tcp_ports", declared.count()),
        ("filtered_tcp_ports", shut.and(&hidden).count()),
        ("open_tcp_ports", declared.common(&scanned.open).count()),
    ];
    Some(Judgement { id: ProofId::DeclaredOpen, verdict, numbers, text })
}
