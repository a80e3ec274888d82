//! Bulk data over TCP arrives whole, and the right node answers.

use super::judgement::Judgement;
use super::link::{Link, links};
use super::{Need, Part, ProofKind, Totals};
use crate::probe::Exchanged;
use crate::report::{Observations, Proof, ProofId, Verdict};

const ID: ProofId = ProofId::BulkTcp;

pub(super) const KIND: ProofKind = ProofKind {
    id: ID,
    title: "bulk TCP arrives whole",
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
    format!("{} there, {} back", bytes(totals.of("sent_bytes")), bytes(totals.of("received_bytes")))
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

fn of_link(link: &Link<'_>) -> Proof {
    let judgement = match link.exchange().map(|outcome| &outcome.tcp) {
        Ok(Ok(exchanged)) => of_exchange(link, exchanged),
        Ok(Err(why)) => Judgement { id: ID, verdict: Verdict::Fail, numbers: Vec::new(), text: why.clone() },
        Err(why) => Judgement::unknown(ID, why),
    };
    link.proof(judgement)
}

fn of_exchange(link: &Link<'_>, exchanged: &Exchanged) -> Judgement {
    let numbers = vec![
        ("sent_bytes", exchanged.sent_bytes),
        ("received_bytes", exchanged.received_bytes),
        ("duration_ms", exchanged.duration_ms),
    ];
    let (verdict, text) = if link.wire.subject.node_with_id(&exchanged.answered_by) != Some(link.to) {
        (Verdict::Fail, format!("the task of another node answered: {}", exchanged.answered_by))
    } else if exchanged.sent_bytes == 0 || exchanged.received_bytes == 0 {
        (Verdict::Unknown, "nothing was to be exchanged".to_owned())
    } else {
        let text = format!(
            "{} bytes there and {} bytes back in {} ms",
            exchanged.sent_bytes, exchanged.received_bytes, exchanged.duration_ms
        );
        (Verdict::Pass, text)
    };
    Judgement { id: ID, verdict, numbers, text }
}
