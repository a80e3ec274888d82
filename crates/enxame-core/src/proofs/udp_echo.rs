//! Datagrams come back; some may get lost, as datagrams do.

use super::judgement::Judgement;
use super::link::{Link, links};
use super::{Need, Part, ProofKind, Totals};
use crate::report::{Observations, Proof, ProofId, Verdict};

pub(super) const KIND: ProofKind = ProofKind {
    id: ProofId::UdpEcho,
    title: "datagrams come back",
    manual: "5.3",
    part: Part::Wire,
    needs: &[Need::Networks, Need::TaskLoad],
    judge,
    counted,
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let links = observations.wire.iter().flat_map(links).filter(|link| !link.network.is_ingress);
    links.map(|link| of_link(&link)).collect()
}

fn counted(totals: &Totals<'_>) -> String {
    format!("{} of {}", totals.of("returned_packets"), totals.of("sent_packets"))
}

fn of_link(link: &Link<'_>) -> Proof {
    let id = ProofId::UdpEcho;
    let judgement = match link.exchange() {
        Err(why) => Judgement::unknown(id, why),
        Ok(outcome) => {
            let verdict = match (outcome.udp_sent, outcome.udp_echoes) {
                (0, _) => Verdict::Unknown,
                (_, 0) => Verdict::Fail,
                _ => Verdict::Pass,
            };
            let numbers = vec![
                ("sent_packets", outcome.udp_sent.into()),
                ("returned_packets", outcome.udp_echoes.into()),
            ];
            let text = format!("{} of {} datagrams came back", outcome.udp_echoes, outcome.udp_sent);
            Judgement { id, verdict, numbers, text }
        }
    };
    link.proof(judgement)
}
