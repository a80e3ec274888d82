//! The load is on the wire as ESP, all of it.

use super::judgement::Judgement;
use super::link::{Counted, Link, doubt, links};
use super::{Need, Part, ProofKind, Totals};
use crate::report::{Observations, Proof, ProofId, Verdict};

pub(super) const KIND: ProofKind = ProofKind {
    id: ProofId::EspSeen,
    title: "ESP carries the load",
    manual: "7.2",
    part: Part::Wire,
    needs: &[Need::Networks, Need::Watch, Need::TaskLoad, Need::MeshLoad],
    judge,
    counted,
};

fn judge(observations: &Observations) -> Vec<Proof> {
    observations.wire.iter().flat_map(links).map(|link| of_link(&link)).collect()
}

fn counted(totals: &Totals<'_>) -> String {
    super::link::with_unwatched_ends(format!("{} ESP", totals.of("esp_packets")), totals)
}

/// At least as many bytes of ESP as of payload were seen at both ends: what flowed, flowed in ESP.
fn of_link(link: &Link<'_>) -> Proof {
    let id = ProofId::EspSeen;
    let (seen, flowed) = match (link.seen_under_load(), link.flowed()) {
        (Ok(seen), Ok(flowed)) => (seen, flowed),
        (Err(why), _) | (_, Err(why)) => return link.proof(Judgement::unknown(id, why)),
    };
    let least = |of: fn(&Counted) -> u64| seen.iter().flatten().map(of).min().unwrap_or(0);
    let (packets, bytes) = (least(|counted| counted.esp_packets), least(|counted| counted.esp_bytes));
    let numbers = vec![("esp_packets", packets), ("esp_bytes", bytes), ("payload_bytes", flowed)];
    let (verdict, text) = if packets > 0 && bytes >= flowed {
        (Verdict::Pass, format!("{packets} ESP packets, {bytes} bytes for {flowed} bytes of payload"))
    } else if let Some(why) = doubt(&seen) {
        (Verdict::Unknown, why)
    } else {
        (Verdict::Fail, format!("only {packets} ESP packets, {bytes} bytes, for {flowed} bytes of payload"))
    };
    link.watched(Judgement { id, verdict, numbers, text })
}
