//! Under load the marker in the payload is visible nowhere.

use super::judgement::Judgement;
use super::link::{Counted, Link, links, pairs};
use super::strangers::exchanged_with_absent;
use super::{Need, Part, ProofKind, Totals};
use crate::names::NodeName;
use crate::probe::Direction;
use crate::report::{Observations, Proof, ProofId, Verdict, WireObservations, on};

const ID: ProofId = ProofId::MarkerHidden;

pub(super) const KIND: ProofKind = ProofKind {
    id: ID,
    title: "marker not visible",
    manual: "7.2",
    part: Part::Wire,
    needs: &[Need::Networks, Need::Watch, Need::TaskLoad, Need::MeshLoad],
    judge,
    counted,
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let Some(wire) = &observations.wire else { return Vec::new() };
    let mut proofs: Vec<Proof> = links(wire).map(|link| of_link(&link)).collect();
    let is_absent = |node| observations.unreachable.contains_key(node);
    let both_answer = pairs(wire).filter(|(from, to)| !is_absent(from) && !is_absent(to));
    proofs.extend(both_answer.filter_map(|(from, to)| outside_of_loads(wire, from, to)));
    for node in wire.subject.nodes.keys() {
        proofs.extend(elsewhere(wire, node));
        proofs.extend(with_the_absent(observations, wire, node));
    }
    proofs
}

fn counted(totals: &Totals<'_>) -> String {
    super::link::with_unwatched_ends(format!("in {} packets", totals.of("marker_packets")), totals)
}

/// The marker was not visible under the network's load.
fn of_link(link: &Link<'_>) -> Proof {
    let (seen, flowed) = match (link.seen_under_load(), link.flowed()) {
        (Ok(seen), flowed) => (seen, flowed),
        (Err(why), _) => return link.proof(Judgement::unknown(ID, why)),
    };
    let visible = seen.iter().flatten().map(|counted: &Counted| counted.marker).max().unwrap_or(0);
    let numbers = vec![("marker_packets", visible)];
    let judgement = match (visible, super::link::doubt(&seen), flowed) {
        (0, None, Ok(bytes)) => {
            let text = format!("visible in none of the packets that carried {bytes} bytes of it");
            Judgement { id: ID, verdict: Verdict::Pass, numbers, text }
        }
        (0, Some(why), _) | (0, None, Err(why)) => Judgement { numbers, ..Judgement::unknown(ID, why) },
        (visible, ..) => {
            let text =
                format!("the payload was readable in {visible} packets from {} to {}", link.from, link.to);
            Judgement { id: ID, verdict: Verdict::Fail, numbers, text }
        }
    };
    link.watched(judgement)
}

/// The marker was seen between two nodes at another time than under a load.
fn outside_of_loads(wire: &WireObservations, from: &NodeName, to: &NodeName) -> Option<Proof> {
    let subject = &wire.subject;
    let whole = on(&wire.whole, from).ok()?.peers.get(&subject.nodes.get(to)?.address)?.sent.marker;
    let under_load = |network| {
        let seen = Link::of(wire, network, from, to).seen_under_load();
        seen.ok().and_then(|[sent, _]| sent).map_or(0, |counted| counted.marker)
    };
    let rest = whole.saturating_sub(subject.networks.iter().map(under_load).sum());
    (rest > 0).then(|| {
        let text =
            format!("the marker was readable in {rest} packets from {from} to {to} while nothing was loaded");
        failed(rest, text).between(None, from, to)
    })
}

/// The marker anywhere else than between nodes.
fn elsewhere(wire: &WireObservations, node: &NodeName) -> Option<Proof> {
    let packets = on(&wire.whole, node).ok()?.marker_elsewhere;
    (packets > 0).then(|| {
        let text = format!(
            "the marker was readable in {packets} packets of {node} that are neither from nor to a node"
        );
        failed(packets, text).on(None, node)
    })
}

/// The marker in what a node exchanged with those that do not answer: nobody loads anything between them.
fn with_the_absent(observations: &Observations, wire: &WireObservations, node: &NodeName) -> Vec<Proof> {
    let exchanged = exchanged_with_absent(observations, wire, node).into_iter();
    let visible = exchanged.filter(|(_, _, counts)| counts.marker > 0);
    let proofs = visible.map(|(peer, direction, counts)| {
        let packets = counts.marker;
        let went = match direction {
            Direction::Sent => format!("from {node} to {peer}"),
            Direction::Received => format!("to {node} from {peer}"),
        };
        let text = format!("the marker was readable in {packets} packets {went}, which does not answer");
        failed(packets, text).on(None, node)
    });
    proofs.collect()
}

fn failed(packets: u64, text: String) -> Judgement {
    Judgement { id: ID, verdict: Verdict::Fail, numbers: vec![("marker_packets", packets)], text }
}
