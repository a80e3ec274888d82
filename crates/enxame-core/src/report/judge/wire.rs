//! Proofs about what was, and was not, on the wire.

use std::collections::{BTreeMap, BTreeSet};

use super::super::observations::{Observations, on};
use super::link::{Link, Seen};
use super::{Finding, Proof, ProofId, Verdict};
use crate::names::NodeName;
use crate::probe::Counts;

/// No clear VXLAN packet of the network in the whole run, with both ends seeing all and a load that flowed.
pub(super) fn no_clear_packets(link: &Link<'_>) -> Proof {
    let id = ProofId::NoClearPackets;
    let mut clear = 0;
    let mut doubts = Vec::new();
    for sight in link.seen_in_all() {
        match sight {
            Ok(Some(sight)) => {
                let of_network: u64 =
                    link.network.vnis.iter().filter_map(|vni| sight.counts.clear.get(vni)).sum();
                clear = clear.max(of_network);
                doubts.extend(sight.blind);
                doubts.extend(unreadable(sight.counts));
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
    link.proof(Finding { id, verdict, numbers, text })
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

/// The marker was not visible under the network's load.
pub(super) fn marker_hidden(link: &Link<'_>) -> Proof {
    let id = ProofId::MarkerHidden;
    let (seen, flowed) = match (link.seen_under_load(), link.flowed()) {
        (Ok(seen), flowed) => (seen, flowed),
        (Err(why), _) => return link.proof(Finding::unknown(id, why)),
    };
    let visible = most(&seen, |seen| seen.marker);
    let numbers = vec![("marker_packets", visible)];
    let finding = match (visible, doubt(&seen), flowed) {
        (0, None, Ok(bytes)) => {
            let text = format!("visible in none of the packets that carried {bytes} bytes of it");
            Finding { id, verdict: Verdict::Pass, numbers, text }
        }
        (0, Some(why), _) | (0, None, Err(why)) => Finding { numbers, ..Finding::unknown(id, why) },
        (visible, ..) => {
            let text =
                format!("the payload was readable in {visible} packets from {} to {}", link.from, link.to);
            Finding { id, verdict: Verdict::Fail, numbers, text }
        }
    };
    link.proof(finding)
}

/// At least as many bytes of ESP as of payload were seen at both ends: what flowed, flowed in ESP.
pub(super) fn esp_seen(link: &Link<'_>) -> Proof {
    let id = ProofId::EspSeen;
    let (seen, flowed) = match (link.seen_under_load(), link.flowed()) {
        (Ok(seen), Ok(flowed)) => (seen, flowed),
        (Err(why), _) | (_, Err(why)) => return link.proof(Finding::unknown(id, why)),
    };
    let least = |of: fn(&Seen) -> u64| seen.iter().flatten().map(of).min().unwrap_or(0);
    let (packets, bytes) = (least(|seen| seen.esp_packets), least(|seen| seen.esp_bytes));
    let numbers = vec![("esp_packets", packets), ("esp_bytes", bytes), ("payload_bytes", flowed)];
    let (verdict, text) = if packets > 0 && bytes >= flowed {
        (Verdict::Pass, format!("{packets} ESP packets, {bytes} bytes for {flowed} bytes of payload"))
    } else if let Some(why) = doubt(&seen) {
        (Verdict::Unknown, why)
    } else {
        (Verdict::Fail, format!("only {packets} ESP packets, {bytes} bytes, for {flowed} bytes of payload"))
    };
    link.proof(Finding { id, verdict, numbers, text })
}

/// The associations of both ends counted at least the payload.
pub(super) fn associations_rose(link: &Link<'_>) -> Proof {
    let id = ProofId::AssociationsRose;
    let (risen, flowed) = match (link.associated(), link.flowed()) {
        (Ok(risen), Ok(flowed)) => (risen, flowed),
        (Err(why), _) | (_, Err(why)) => return link.proof(Finding::unknown(id, why)),
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
    link.proof(Finding { id, verdict, numbers, text })
}

fn most(seen: &[Option<Seen>; 2], of: fn(&Seen) -> u64) -> u64 {
    seen.iter().flatten().map(of).max().unwrap_or(0)
}

fn doubt(seen: &[Option<Seen>; 2]) -> Option<String> {
    seen.iter().flatten().find_map(|seen| seen.blind.clone())
}

/// Clear packets of networks nobody knows: a pass needs no proof, but they are a failure.
pub(super) fn clear_on_unknown_networks(
    observations: &Observations,
    from: &NodeName,
    to: &NodeName,
) -> Vec<Proof> {
    let subject = &observations.subject;
    let known: BTreeSet<u32> = subject
        .networks
        .iter()
        .chain(&subject.plaintext)
        .flat_map(|network| &network.vnis)
        .copied()
        .collect();
    let address = |node: &NodeName| subject.nodes.get(node).map(|node| node.address);
    let sent =
        on(&observations.whole, from).ok().and_then(|view| Some(&view.peers.get(&address(to)?)?.sent.clear));
    let received = on(&observations.whole, to)
        .ok()
        .filter(|view| !view.decrypts_before_watching)
        .and_then(|view| Some(&view.peers.get(&address(from)?)?.received.clear));
    let mut clear = BTreeMap::<u32, u64>::new();
    for (vni, packets) in
        [sent, received].into_iter().flatten().flatten().filter(|(vni, _)| !known.contains(vni))
    {
        let most = clear.entry(*vni).or_default();
        *most = (*most).max(*packets);
    }
    let proofs = clear.into_iter().map(|(vni, packets)| {
        let network = format!("VNI {vni}");
        let text = format!("{packets} clear packets of {network}, which is no network the managers know, went from {from} to {to}");
        let numbers = vec![("clear_packets", packets)];
        Finding { id: ProofId::NoClearPackets, verdict: Verdict::Fail, numbers, text }.between(Some(network), from, to)
    });
    proofs.collect()
}

/// The marker was seen between two nodes at another time than under a load.
pub(super) fn marker_outside_of_loads(
    observations: &Observations,
    from: &NodeName,
    to: &NodeName,
) -> Option<Proof> {
    let subject = &observations.subject;
    let whole = on(&observations.whole, from).ok()?.peers.get(&subject.nodes.get(to)?.address)?.sent.marker;
    let under_load = |network| {
        let seen = Link::of(observations, network, from, to).seen_under_load();
        seen.ok().and_then(|[sent, _]| sent).map_or(0, |seen| seen.marker)
    };
    let rest = whole.saturating_sub(subject.networks.iter().map(under_load).sum());
    (rest > 0).then(|| {
        let text =
            format!("the marker was readable in {rest} packets from {from} to {to} while nothing was loaded");
        let numbers = vec![("marker_packets", rest)];
        Finding { id: ProofId::MarkerHidden, verdict: Verdict::Fail, numbers, text }.between(None, from, to)
    })
}

/// What a node sent in clear to addresses that are no nodes, and the marker anywhere else than between nodes.
pub(super) fn towards_strangers(observations: &Observations, node: &NodeName) -> Vec<Proof> {
    let Ok(view) = on(&observations.whole, node) else { return Vec::new() };
    let plaintext: BTreeSet<u32> =
        observations.subject.plaintext.iter().flat_map(|network| &network.vnis).copied().collect();
    let mut proofs = Vec::new();
    for (address, clear) in &view.clear_elsewhere {
        for (vni, packets) in clear.iter().filter(|(vni, _)| !plaintext.contains(vni)) {
            let network = observations.subject.networks.iter().find(|network| network.vnis.contains(vni));
            let network = network.map_or_else(|| format!("VNI {vni}"), |network| network.name.clone());
            let text = format!(
                "{packets} clear packets of {network} went from {node} to {address}, which is no node of the configuration"
            );
            let numbers = vec![("clear_packets", *packets)];
            let finding = Finding { id: ProofId::NoClearPackets, verdict: Verdict::Fail, numbers, text };
            proofs.push(finding.on(Some(network), node));
        }
    }
    if view.marker_elsewhere > 0 {
        let packets = view.marker_elsewhere;
        let text = format!(
            "the marker was readable in {packets} packets of {node} that are neither from nor to a node"
        );
        let numbers = vec![("marker_packets", packets)];
        proofs.push(
            Finding { id: ProofId::MarkerHidden, verdict: Verdict::Fail, numbers, text }.on(None, node),
        );
    }
    proofs
}
