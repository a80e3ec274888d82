//! Nothing answers, or would let something through, that is not declared.

use super::judgement::Judgement;
use super::place::{TOLD_RANGES, placed};
use super::{Need, Part, ProofKind, Totals};
use crate::facts::Observed;
use crate::ports::PortSet;
use crate::probe::{Scanned, UdpAnswer};
use crate::report::exposure::Sighting;
use crate::report::{Observations, Proof, ProofId, Verdict};

pub(super) const KIND: ProofKind = ProofKind {
    id: ProofId::NothingElseOpen,
    title: "nothing else open",
    manual: "3.2",
    part: Part::Exposure,
    needs: &[Need::Scan],
    judge,
    counted,
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let proofs = observations.sightings.iter().map(|sighting| {
        let judgement = match &sighting.seen {
            Observed::Known(scanned) => nothing_else(sighting, scanned),
            Observed::Unknown(why) => Judgement::unknown(ProofId::NothingElseOpen, why.clone()),
        };
        placed(sighting, judgement)
    });
    proofs.collect()
}

fn counted(totals: &Totals<'_>) -> String {
    let (tried, undeclared) = (totals.of("scanned_tcp_ports"), totals.of("unexpected_tcp_ports"));
    format!("{tried} TCP ports tried, {undeclared} answer undeclared")
}

/// Nothing that is not declared lets anything through.
fn nothing_else(sighting: &Sighting, scanned: &Scanned) -> Judgement {
    let expected = &sighting.expected;
    let open = scanned.open.without(&expected.admitted);
    let refused = scanned.refused.without(&expected.admitted);
    let answered = scanned.udp_ports(UdpAnswer::Answered).without(&expected.admitted_udp);
    let unreachable = scanned.udp_ports(UdpAnswer::Unreachable).without(&expected.admitted_udp);
    let unsent = scanned.udp_ports(UdpAnswer::Unsent).without(&expected.admitted_udp);
    let unexpected = [
        (&open, "TCP", "answers, and nothing declares it"),
        (&refused, "TCP", "is not filtered, though nothing listens"),
        (&answered, "UDP", "answers, and nothing declares it"),
        (&unreachable, "UDP", "is not filtered, though nothing listens"),
    ];
    let told: Vec<String> = unexpected
        .iter()
        .filter(|(ports, ..)| !ports.is_empty())
        .map(|(ports, protocol, what)| format!("{protocol} {} {what}", ports.brief(TOLD_RANGES)))
        .collect();
    let answering = scanned.open.and(&scanned.refused);
    let (verdict, text) = if !told.is_empty() {
        (Verdict::Fail, told.join("; "))
    } else if scanned.control.is_none() {
        let why =
            "nothing answers, and nothing is declared open to here that would tell a filter from a cut way";
        (Verdict::Unknown, why.to_owned())
    } else if !unsent.is_empty() {
        let text = format!(
            "UDP {} was not tried: the host that looks let nothing out to it (a filter of its own, or a full table \
             of connections)",
            unsent.brief(TOLD_RANGES)
        );
        (Verdict::Unknown, text)
    } else {
        let tried = scanned.tried_tcp.len();
        let text = format!("of {tried} TCP ports {} answer, and all are declared", answering.len());
        (Verdict::Pass, text)
    };
    let count = |port_sets: [&PortSet; 2]| port_sets.iter().map(|ports| ports.count()).sum();
    let numbers = vec![
        ("open_tcp_ports", scanned.open.count()),
        ("refused_tcp_ports", scanned.refused.count()),
        ("rejected_tcp_ports", scanned.rejected.count()),
        ("silent_tcp_ports", scanned.silent().count()),
        ("expected_tcp_ports", expected.admitted.common(&scanned.tried_tcp).count()),
        ("unexpected_tcp_ports", count([&open, &refused])),
        ("unexpected_udp_ports", count([&answered, &unreachable])),
        ("silent_udp_ports", scanned.udp_ports(UdpAnswer::Silent).count()),
        ("scanned_tcp_ports", scanned.tried_tcp.count()),
        ("scanned_udp_ports", u64::try_from(scanned.udp.len()).unwrap_or(u64::MAX)),
        ("untried_udp_ports", scanned.udp_ports(UdpAnswer::Unsent).count()),
    ];
    Judgement { id: ProofId::NothingElseOpen, verdict, numbers, text }
}
