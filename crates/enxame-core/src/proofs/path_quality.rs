//! The way between two nodes, below every network: what the swarm's elections and heartbeats live on.

use super::judgement::Judgement;
use super::link::pairs;
use super::{Need, Part, ProofKind, Totals};
use crate::limits::ROUND_TRIP_LIMIT_US;
use crate::names::NodeName;
use crate::probe::PathQuality;
use crate::report::{Observations, Proof, ProofId, Verdict, WireObservations, on};

pub(super) const KIND: ProofKind = ProofKind {
    id: ProofId::PathQuality,
    title: "fast and whole",
    manual: "1.2",
    part: Part::Wire,
    needs: &[Need::Echoes],
    judge,
    counted,
};

/// Fast enough for the swarm's elections, and losing next to nothing (manual 1.2).
fn judge(observations: &Observations) -> Vec<Proof> {
    let Some(wire) = &observations.wire else { return Vec::new() };
    pairs(wire).map(|(from, to)| of_pair(wire, from, to)).collect()
}

fn counted(totals: &Totals<'_>) -> String {
    format!("{} of {} echoes", totals.of("returned_packets"), totals.of("sent_packets"))
}

fn of_pair(wire: &WireObservations, from: &NodeName, to: &NodeName) -> Proof {
    let judgement = match measured(wire, from, to) {
        Ok(quality) => judged(quality),
        Err(why) => Judgement::unknown(ProofId::PathQuality, why),
    };
    judgement.between(None, from, to)
}

fn measured<'a>(
    wire: &'a WireObservations,
    from: &NodeName,
    to: &NodeName,
) -> Result<&'a PathQuality, String> {
    let address = wire.subject.nodes.get(to).map(|node| node.address);
    let paths = on(&wire.paths, from)?;
    let quality = address.and_then(|address| paths.get(&address));
    quality.ok_or_else(|| format!("{from} sent no echo requests to {to}"))?.as_ref().map_err(Clone::clone)
}

fn judged(quality: &PathQuality) -> Judgement {
    let id = ProofId::PathQuality;
    let PathQuality { sent, returned, jitter_us, .. } = *quality;
    let Some(mean_us) = quality.mean_us.filter(|_| returned > 0) else {
        // A filter for echoes looks the same as a path that is cut.
        return Judgement::unknown(id, format!("none of {sent} echo requests was answered"));
    };
    let lost = sent.saturating_sub(returned);
    let verdict = if quality.loses_too_much() || mean_us >= ROUND_TRIP_LIMIT_US {
        Verdict::Fail
    } else {
        Verdict::Pass
    };
    let numbers = vec![
        ("sent_packets", sent.into()),
        ("returned_packets", returned.into()),
        ("mean_us", mean_us),
        ("jitter_us", jitter_us),
    ];
    let text = format!(
        "{lost} of {sent} echoes lost, {} ms there and back, {} ms jitter",
        milliseconds(mean_us),
        milliseconds(jitter_us)
    );
    Judgement { id, verdict, numbers, text }
}

/// With one decimal.
fn milliseconds(us: u64) -> String {
    format!("{}.{}", us / 1000, us % 1000 / 100)
}
