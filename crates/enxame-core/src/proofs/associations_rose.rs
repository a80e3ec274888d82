//! The kernels' ESP associations count the load.

use super::judgement::Judgement;
use super::link::{Link, links};
use super::{Need, Part, ProofKind, Totals};
use crate::report::{Observations, Proof, ProofId, Verdict};

pub(super) const KIND: ProofKind = ProofKind {
    id: ProofId::AssociationsRose,
    title: "associations count it",
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
    format!("{} sent, {} received", totals.of("sent_packets"), totals.of("received_packets"))
}

/// The associations of both ends counted at least the payload.
fn of_link(link: &Link<'_>) -> Proof {
    let id = ProofId::AssociationsRose;
    let (risen, flowed) = match (link.associated(), link.flowed()) {
        (Ok(risen), Ok(flowed)) => (risen, flowed),
        (Err(why), _) | (_, Err(why)) => return link.proof(Judgement::unknown(id, why)),
    };
    let [(sent_packets, sent_bytes), (received_packets, received_bytes)] = risen;
    let numbers = vec![
        ("sent_packets", sent_packets),
        ("sent_bytes", sent_bytes),
        ("received_packets", received_packets),
        ("received_bytes", received_bytes),
        ("payload_bytes", flowed),
    ];
    let rose = sent_packets > 0 && received_packets > 0 && sent_bytes.min(received_bytes) >= flowed;
    let verdict = if rose { Verdict::Pass } else { Verdict::Fail };
    let only = if rose { "" } else { "only " };
    let text = format!(
        "{}'s associations count {only}{sent_packets} packets, {}'s {received_packets}, for {flowed} bytes of payload",
        link.from, link.to
    );
    link.proof(Judgement { id, verdict, numbers, text })
}
