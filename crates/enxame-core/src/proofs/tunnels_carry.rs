//! Every pair of nodes reaches each other in the tunnels.

use super::judgement::Judgement;
use super::{Need, Part, ProofKind, Totals};
use crate::names::NodeName;
use crate::report::{Observations, Proof, ProofId, SharedObservations, Verdict, on};

const ID: ProofId = ProofId::TunnelsCarry;

pub(super) const KIND: ProofKind = ProofKind {
    id: ID,
    title: "tunnels carry",
    manual: "4.1",
    part: Part::Storage,
    needs: &[Need::Shared],
    judge,
    counted,
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let Some(seen) = &observations.shared else { return Vec::new() };
    let of_pair = |(from, to): (&NodeName, &NodeName)| {
        let judgement = judged(seen, from, to).unwrap_or_else(|why| Judgement::unknown(ID, why));
        judgement.between(None, from, to)
    };
    seen.subject.pairs().map(of_pair).collect()
}

fn counted(totals: &Totals<'_>) -> String {
    format!("{} of {} echoes", totals.of("returned_packets"), totals.of("sent_packets"))
}

fn judged(seen: &SharedObservations, from: &NodeName, to: &NodeName) -> Result<Judgement, String> {
    let address = seen.subject.nodes.get(to).map(|node| node.tunnel.into());
    let echoes = on(&seen.echoes, from)?;
    let quality = address.and_then(|address| echoes.get(&address));
    let quality =
        quality.ok_or_else(|| format!("{from} sent no echo requests to {to} in the tunnel"))?.as_ref()?;
    let numbers = vec![("sent_packets", quality.sent.into()), ("returned_packets", quality.returned.into())];
    let (verdict, text) = if quality.returned == 0 {
        let text = format!(
            "none of {} echo requests came back through the tunnel: `enxame status` tells the last handshake, \
             `enxame plan` what differs",
            quality.sent
        );
        (Verdict::Fail, text)
    } else {
        (
            Verdict::Pass,
            format!("{} of {} echoes came back through the tunnel", quality.returned, quality.sent),
        )
    };
    Ok(Judgement { id: ID, verdict, numbers, text })
}
