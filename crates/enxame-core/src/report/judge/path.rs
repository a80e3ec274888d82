//! The way between two nodes, below every network: what the swarm's elections and heartbeats live on.

use super::super::observations::{Observations, on};
use super::{Finding, Proof, ProofId, Verdict};
use crate::limits::ROUND_TRIP_LIMIT_US;
use crate::names::NodeName;
use crate::probe::PathQuality;

/// Fast enough for the swarm's elections, and losing next to nothing (manual 1.2).
pub(super) fn quality(observations: &Observations, from: &NodeName, to: &NodeName) -> Proof {
    let finding = match measured(observations, from, to) {
        Ok(quality) => judged(quality),
        Err(why) => Finding::unknown(ProofId::PathQuality, why),
    };
    finding.between(None, from, to)
}

fn measured<'a>(
    observations: &'a Observations,
    from: &NodeName,
    to: &NodeName,
) -> Result<&'a PathQuality, String> {
    let address = observations.subject.nodes.get(to).map(|node| node.address);
    let paths = on(&observations.paths, from)?;
    let quality = address.and_then(|address| paths.get(&address));
    quality.ok_or_else(|| format!("{from} sent no echo requests to {to}"))?.as_ref().map_err(Clone::clone)
}

fn judged(quality: &PathQuality) -> Finding {
    let id = ProofId::PathQuality;
    let PathQuality { sent, returned, jitter_us, .. } = *quality;
    let Some(mean_us) = quality.mean_us.filter(|_| returned > 0) else {
        // A filter for echoes looks the same as a path that is cut.
        return Finding::unknown(id, format!("none of {sent} echo requests was answered"));
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
    Finding { id, verdict, numbers, text }
}

/// With one decimal.
fn milliseconds(us: u64) -> String {
    format!("{}.{}", us / 1000, us % 1000 / 100)
}
