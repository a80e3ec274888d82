//! No clear VXLAN packet in the whole run, with both ends seeing all and a load that flowed.

use std::collections::{BTreeMap, BTreeSet};

use super::judgement::Judgement;
use super::link::{Link, links, pairs};
use super::strangers::exchanged_with_absent;
use super::{Need, Part, ProofKind, Totals};
use crate::names::NodeName;
use crate::probe::{Counts, Direction};
use crate::report::{Observations, Proof, ProofId, Subject, Verdict, WireObservations, on};

const ID: ProofId = ProofId::NoClearPackets;

pub(super) const KIND: ProofKind = ProofKind {
    id: ID,
    title: "no clear packets",
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
    for (from, to) in pairs(wire).filter(|(from, to)| !is_absent(from) && !is_absent(to)) {
        proofs.extend(on_unknown_networks(wire, from, to));
    }
    for node in wire.subject.nodes.keys() {
        proofs.extend(towards_strangers(wire, node));
        proofs.extend(with_the_absent(observations, wire, node));
    }
    proofs.extend(unwatched(&wire.subject));
    proofs
}

fn counted(totals: &Totals<'_>) -> String {
    let clear = format!("{} clear", totals.of("clear_packets"));
    super::link::with_unwatched_ends(clear, totals)
}

fn of_link(link: &Link<'_>) -> Proof {
    let mut clear = 0;
    let mut doubts = Vec::new();
    for witness in link.seen_in_all() {
        match witness {
            Ok(Some(witness)) => {
                let of_network: u64 =
                    link.network.vnis.iter().filter_map(|vni| witness.counts.clear.get(vni)).sum();
                clear = clear.max(of_network);
                doubts.extend(witness.blind);
                doubts.extend(unreadable(witness.counts));
            }
            Ok(None) => {}
            Err(why) => doubts.push(why),
        }
    }
    let flowed = link.flowed();
    let mut numbers = vec![("clear_packets", clear)];
    numbers.extend(flowed.as_ref().ok().map(|bytes| ("payload_bytes", *bytes)));
    doubts.extend(flowed.as_ref().err().cloned());
    let (verdict, text) = match (clear, doubts.first(), flowed) {
        (0, None, Ok(bytes)) => (Verdict::Pass, format!("0 clear packets under {bytes} bytes of payload")),
        (0, doubt, _) => (Verdict::Unknown, doubt.cloned().unwrap_or_default()),
        (clear, ..) => {
            let (name, from, to) = (&link.network.name, link.from, link.to);
            (Verdict::Fail, format!("{clear} clear packets of {name} went from {from} to {to}"))
        }
    };
    link.watched(Judgement { id: ID, verdict, numbers, text })
}

/// Why nobody can tell whether packets were clear.
fn unreadable(counts: &Counts) -> Option<String> {
    if counts.unreadable > 0 {
        let text =
            format!("{} packets on the data-path port have no readable VXLAN header", counts.unreadable);
        return Some(text);
    }
    let orphans = counts.later_fragments > 0 && counts.first_fragments == 0;
    orphans.then(|| format!("{} fragments were seen without their beginning", counts.later_fragments))
}

/// Clear packets of networks nobody knows: a pass needs no proof, but they are a failure.
fn on_unknown_networks(wire: &WireObservations, from: &NodeName, to: &NodeName) -> Vec<Proof> {
    let subject = &wire.subject;
    let known: BTreeSet<u32> = subject
        .networks
        .iter()
        .chain(&subject.plaintext)
        .flat_map(|network| &network.vnis)
        .copied()
        .collect();
    let address = |node: &NodeName| subject.nodes.get(node).map(|node| node.address);
    let sent =
        on(&wire.whole, from).ok().and_then(|capture| Some(&capture.peers.get(&address(to)?)?.sent.clear));
    let received = on(&wire.whole, to)
        .ok()
        .filter(|capture| !capture.decrypts_before_watching)
        .and_then(|capture| Some(&capture.peers.get(&address(from)?)?.received.clear));
    let mut clear = BTreeMap::<u32, u64>::new();
    for (vni, packets) in
        [sent, received].into_iter().flatten().flatten().filter(|(vni, _)| !known.contains(vni))
    {
        let most = clear.entry(*vni).or_default();
        *most = (*most).max(*packets);
    }
    let proofs = clear.into_iter().map(|(vni, packets)| {
        let network = network_of(subject, vni);
        let text = format!(
            "{packets} clear packets of {network}, which is no network the managers know, went from {from} to {to}"
        );
        failed(packets, text).between(Some(network), from, to)
    });
    proofs.collect()
}

/// What a node sent in clear to addresses that are no nodes.
fn towards_strangers(wire: &WireObservations, node: &NodeName) -> Vec<Proof> {
    let Ok(capture) = on(&wire.whole, node) else { return Vec::new() };
    let clear = capture.clear_elsewhere.iter().flat_map(|(address, clear)| {
        secret(&wire.subject, clear).map(move |(vni, packets)| (address, vni, packets))
    });
    let proofs = clear.map(|(address, vni, packets)| {
        let network = network_of(&wire.subject, vni);
        let text = format!(
            "{packets} clear packets of {network} went from {node} to {address}, which is no node of the configuration"
        );
        failed(packets, text).on(Some(network), node)
    });
    proofs.collect()
}

/// What a node exchanged in clear with nodes that do not answer. The proof about the two is unknown; what the node that
/// answers saw is a failure all the same, and its own.
fn with_the_absent(observations: &Observations, wire: &WireObservations, node: &NodeName) -> Vec<Proof> {
    let exchanged = exchanged_with_absent(observations, wire, node);
    let clear = exchanged.into_iter().flat_map(|(peer, direction, counts)| {
        secret(&wire.subject, &counts.clear).map(move |(vni, packets)| (peer, direction, vni, packets))
    });
    let proofs = clear.map(|(peer, direction, vni, packets)| {
        let network = network_of(&wire.subject, vni);
        let went = match direction {
            Direction::Sent => format!("went from {node} to {peer}"),
            Direction::Received => format!("came to {node} from {peer}"),
        };
        let text = format!("{packets} clear packets of {network} {went}, which does not answer");
        failed(packets, text).on(Some(network), node)
    });
    proofs.collect()
}

/// The counts of what should be encrypted.
fn secret<'a>(subject: &'a Subject, clear: &'a BTreeMap<u32, u64>) -> impl Iterator<Item = (u32, u64)> + 'a {
    let is_plaintext = |vni: &u32| subject.plaintext.iter().any(|network| network.vnis.contains(vni));
    clear.iter().filter(move |(vni, _)| !is_plaintext(vni)).map(|(vni, packets)| (*vni, *packets))
}

fn network_of(subject: &Subject, vni: u32) -> String {
    let network = subject.networks.iter().find(|network| network.vnis.contains(&vni));
    network.map_or_else(|| format!("VNI {vni}"), |network| network.name.clone())
}

fn failed(packets: u64, text: String) -> Judgement {
    Judgement { id: ID, verdict: Verdict::Fail, numbers: vec![("clear_packets", packets)], text }
}

/// Whom nobody watches: what they send and get may be in clear.
fn unwatched(subject: &Subject) -> Vec<Proof> {
    let unknown = |why| Judgement::unknown(ID, why).about(None);
    let strangers = subject.strangers.iter().map(|stranger| {
        unknown(format!(
            "{stranger} is in the swarm and not in cluster.yaml: nothing is known of its traffic"
        ))
    });
    let alone =
        (subject.nodes.len() < 2).then(|| unknown("a single node: nothing crosses the wire".to_owned()));
    strangers.chain(alone).collect()
}
