//! Of what goes through the tunnels nothing is visible on the wire.

use super::judgement::Judgement;
use super::{Need, Part, ProofKind, Totals};
use crate::names::NodeName;
use crate::probe::Capture;
use crate::report::{Observations, Proof, ProofId, SharedObservations, Verdict, on};

const ID: ProofId = ProofId::FilesHidden;

pub(super) const KIND: ProofKind = ProofKind {
    id: ID,
    title: "nothing of it in clear",
    manual: "4.1",
    part: Part::Storage,
    needs: &[Need::Shared],
    judge,
    counted,
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let Some(seen) = &observations.shared else { return Vec::new() };
    let proof =
        |node: &NodeName| judged(seen, node).unwrap_or_else(|why| Judgement::unknown(ID, why)).on(None, node);
    seen.subject.nodes.keys().map(proof).collect()
}

fn counted(totals: &Totals<'_>) -> String {
    format!("in {} of {} packets", totals.of("marker_packets"), totals.of("packets"))
}

fn judged(seen: &SharedObservations, node: &NodeName) -> Result<Judgement, String> {
    let capture = on(&seen.watched, node)?;
    let of_peers = capture.peers.values().map(|counts| counts.sent.marker + counts.received.marker);
    let visible = of_peers.sum::<u64>() + capture.marker_elsewhere;
    let numbers = vec![("marker_packets", visible), ("packets", capture.packets)];
    if visible > 0 {
        let text = format!("what went through the tunnels was readable in {visible} packets on the wire");
        return Ok(Judgement { id: ID, verdict: Verdict::Fail, numbers, text });
    }
    let went = went(seen, node);
    let (verdict, text) =
        match blind(capture).or_else(|| (went == 0).then(|| "nothing went through the tunnels".to_owned())) {
            Some(why) => (Verdict::Unknown, why),
            None => (
                Verdict::Pass,
                format!("visible in none of {} packets, while {went} bytes of it went", capture.packets),
            ),
        };
    Ok(Judgement { id: ID, verdict, numbers, text })
}

/// What provably went to or from a node, in bytes; an echo counts as one.
fn went(seen: &SharedObservations, node: &NodeName) -> u64 {
    let echoes = on(&seen.echoes, node).into_iter().flat_map(|peers| peers.values().flatten());
    let echoes: u64 = echoes.map(|quality| u64::from(quality.returned)).sum();
    let written = on(&seen.written, node).into_iter().flat_map(|exports| exports.values().flatten());
    echoes + written.map(|outcome| outcome.written_bytes).sum::<u64>()
}

fn blind(capture: &Capture) -> Option<String> {
    if capture.kernel_drops > 0 {
        return Some(format!("the kernel dropped {} packets before they were seen", capture.kernel_drops));
    }
    if capture.is_behind {
        return Some("not all packets were counted yet".to_owned());
    }
    (capture.truncated > 0).then(|| format!("{} packets were too long to be searched", capture.truncated))
}
