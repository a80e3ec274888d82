//! One direction between two nodes on one network: what the load was and what both ends saw of it.

use std::collections::BTreeMap;

use super::Totals;
use super::judgement::Judgement;
use crate::facts::Observed;
use crate::names::NodeName;
use crate::probe::{Association, Capture, Counts, Direction, PeerOutcome};
use crate::report::{LoadOutcome, Phase, Proof, SubjectNetwork, Verdict, WireObservations, on};

/// All directions between two nodes.
pub(super) fn pairs(wire: &WireObservations) -> impl Iterator<Item = (&NodeName, &NodeName)> {
    let nodes = &wire.subject.nodes;
    nodes.keys().flat_map(|from| nodes.keys().map(move |to| (from, to))).filter(|(from, to)| from != to)
}

/// All directions on all networks.
pub(super) fn links(wire: &WireObservations) -> impl Iterator<Item = Link<'_>> {
    let networks = wire.subject.networks.iter();
    networks.flat_map(move |network| pairs(wire).map(move |(from, to)| Link::of(wire, network, from, to)))
}

/// What was counted, and how many of the directions were watched at one end only.
pub(super) fn with_unwatched_ends(counted: String, totals: &Totals<'_>) -> String {
    match totals.of(UNWATCHED_ENDS) {
        0 => counted,
        ends => format!("{counted}; {ends} watched where they left only"),
    }
}

/// Ends at which nobody could watch.
const UNWATCHED_ENDS: &str = "unwatched_ends";

/// One direction between two nodes on one network.
pub(super) struct Link<'a> {
    pub(super) wire: &'a WireObservations,
    pub(super) network: &'a SubjectNetwork,
    pub(super) from: &'a NodeName,
    pub(super) to: &'a NodeName,
    pub(super) phase: Result<&'a Phase, String>,
}

/// What one end saw of one direction.
pub(super) struct Witness<'a> {
    pub(super) counts: &'a Counts,
    /// Why it may have missed something.
    pub(super) blind: Option<String>,
}

impl<'a> Link<'a> {
    pub(super) fn of(
        wire: &'a WireObservations,
        network: &'a SubjectNetwork,
        from: &'a NodeName,
        to: &'a NodeName,
    ) -> Self {
        Self { wire, network, from, to, phase: wire.phase(&network.id) }
    }

    pub(super) fn proof(&self, judgement: Judgement) -> Proof {
        judgement.between(Some(self.network.name.clone()), self.from, self.to)
    }

    /// A proof by what was watched. One that passed by the sending end alone says so.
    pub(super) fn watched(&self, mut judgement: Judgement) -> Proof {
        if judgement.verdict == Verdict::Pass && self.decrypts_first() {
            judgement.numbers.push((UNWATCHED_ENDS, 1));
            judgement.text = format!(
                "{}; watched on {} only, since the kernel of {} decrypts before anybody can watch (esp4_offload or \
                 esp6_offload is loaded)",
                judgement.text, self.from, self.to
            );
        }
        self.proof(judgement)
    }

    /// Whether what the receiving end saw at any time says nothing about the wire.
    fn decrypts_first(&self) -> bool {
        let loads = self.phase.iter().flat_map(|phase| [&phase.before, &phase.after]);
        let captures = loads.chain([&self.wire.whole]).filter_map(|captures| captures.get(self.to)?.known());
        captures.into_iter().any(|capture| capture.decrypts_before_watching)
    }

    /// The payload that provably went from one to the other under the network's load, in bytes.
    pub(super) fn flowed(&self) -> Result<u64, String> {
        let phase = self.phase.clone()?;
        let there = on(&phase.load, self.from).map(|load| self.payload(load, self.to, Direction::Sent));
        let back = on(&phase.load, self.to).map(|load| self.payload(load, self.from, Direction::Received));
        match (there, back) {
            (Ok(there), Ok(back)) if there + back > 0 => Ok(there + back),
            (Ok(_), Ok(_)) => Err("no payload flowed, so there was nothing to see".to_owned()),
            (Err(why), _) | (_, Err(why)) => Err(why),
        }
    }

    fn payload(&self, load: &LoadOutcome, peer: &NodeName, direction: Direction) -> u64 {
        match load {
            LoadOutcome::Traffic(_) => {
                let exchanged = self.peer_outcome(load, peer).and_then(|outcome| outcome.tcp.as_ref().ok());
                exchanged.map_or(0, |exchanged| match direction {
                    Direction::Sent => exchanged.sent_bytes,
                    Direction::Received => exchanged.received_bytes,
                })
            }
            LoadOutcome::Mesh(mesh) => {
                let id = self.wire.subject.nodes.get(peer).map_or("", |node| &node.node_id);
                mesh.answered.get(id).map_or(0, |answers| match direction {
                    Direction::Sent => answers.sent_bytes,
                    Direction::Received => answers.received_bytes,
                })
            }
        }
    }

    /// What came of the exchange on an ordinary network, or why nobody can tell.
    pub(super) fn exchange(&self) -> Result<&'a PeerOutcome, String> {
        let load = self.phase.clone().and_then(|phase| on(&phase.load, self.from))?;
        on(&self.wire.tasks, self.to)?;
        self.peer_outcome(load, self.to).ok_or_else(|| format!("nothing was exchanged with {}", self.to))
    }

    /// What came of the exchange with a peer's task.
    fn peer_outcome<'b>(&self, load: &'b LoadOutcome, peer: &NodeName) -> Option<&'b PeerOutcome> {
        let LoadOutcome::Traffic(traffic) = load else { return None };
        let task = on(&self.wire.tasks, peer).ok()?;
        traffic.peers.get(task.addresses.get(&self.network.id)?)
    }

    /// What both ends counted of this direction while the network was loaded.
    pub(super) fn seen_under_load(&self) -> Result<[Option<Counted>; 2], String> {
        let phase = self.phase.clone()?;
        let mut seen = [None, None];
        for (place, (node, peer, direction)) in seen.iter_mut().zip(self.ends()) {
            let before = on(&phase.before, node)?;
            let after = on(&phase.after, node)?;
            if direction == Direction::Received && self.decrypts_first() {
                continue;
            }
            let earlier = self.counts(before, peer, direction)?;
            let later = self.counts(after, peer, direction)?;
            *place = Some(Counted {
                esp_packets: later.esp_packets.saturating_sub(earlier.esp_packets),
                esp_bytes: later.esp_bytes.saturating_sub(earlier.esp_bytes),
                marker: later.marker.saturating_sub(earlier.marker),
                blind: blind(node, after),
            });
        }
        Ok(seen)
    }

    /// What both ends counted of this direction in the whole run.
    pub(super) fn seen_in_all(&self) -> [Result<Option<Witness<'a>>, String>; 2] {
        let [near, far] = self.ends();
        let look = |(node, peer, direction): (&'a NodeName, &'a NodeName, Direction)| {
            let capture = on(&self.wire.whole, node)?;
            if direction == Direction::Received && self.decrypts_first() {
                return Ok(None);
            }
            Ok(Some(Witness { counts: self.counts(capture, peer, direction)?, blind: blind(node, capture) }))
        };
        [look(near), look(far)]
    }

    /// What the associations of both ends counted of this direction while the network was loaded: packets, bytes.
    pub(super) fn associated(&self) -> Result<[(u64, u64); 2], String> {
        let phase = self.phase.clone()?;
        let mut risen = [(0, 0); 2];
        for (place, (node, peer, direction)) in risen.iter_mut().zip(self.ends()) {
            let peer = self.wire.subject.nodes.get(peer).map(|peer| peer.address);
            // Only the peer's address is compared: behind address translation a node does not know its own.
            let of_direction = |association: &&Association| match direction {
                Direction::Sent => Some(association.destination) == peer,
                Direction::Received => Some(association.source) == peer,
            };
            let list = |capture: &'a Capture| match &capture.associations {
                Observed::Known(associations) => Ok(associations.iter().filter(of_direction)),
                Observed::Unknown(why) => Err(format!("{node}: {why}")),
            };
            let identity =
                |association: &Association| (association.source, association.destination, association.spi);
            let before: BTreeMap<_, _> = list(on(&phase.before, node)?)?
                .map(|association| (identity(association), association))
                .collect();
            for association in list(on(&phase.after, node)?)? {
                let (packets, bytes) =
                    before.get(&identity(association)).map_or((0, 0), |at| (at.packets, at.bytes));
                place.0 += association.packets.saturating_sub(packets);
                place.1 += association.bytes.saturating_sub(bytes);
            }
        }
        Ok(risen)
    }

    fn ends(&self) -> [(&'a NodeName, &'a NodeName, Direction); 2] {
        [(self.from, self.to, Direction::Sent), (self.to, self.from, Direction::Received)]
    }

    fn counts(
        &self,
        capture: &'a Capture,
        peer: &NodeName,
        direction: Direction,
    ) -> Result<&'a Counts, String> {
        let address = self.wire.subject.nodes.get(peer).map(|peer| peer.address);
        let counts = address.and_then(|address| capture.peers.get(&address));
        let counts = counts.ok_or_else(|| format!("packets of {peer} were not watched"))?;
        Ok(match direction {
            Direction::Sent => &counts.sent,
            Direction::Received => &counts.received,
        })
    }
}

/// What one end counted under load.
pub(super) struct Counted {
    pub(super) esp_packets: u64,
    pub(super) esp_bytes: u64,
    pub(super) marker: u64,
    pub(super) blind: Option<String>,
}

/// Why a capture may lack something.
fn blind(node: &NodeName, capture: &Capture) -> Option<String> {
    if capture.kernel_drops > 0 {
        return Some(format!(
            "{node}'s kernel dropped {} packets before they were seen",
            capture.kernel_drops
        ));
    }
    if capture.is_behind {
        return Some(format!("{node} had not yet counted all packets that it saw"));
    }
    (capture.truncated > 0)
        .then(|| format!("{} packets on {node} were too long to be searched", capture.truncated))
}

/// Why what was counted may lack something.
pub(super) fn doubt(seen: &[Option<Counted>; 2]) -> Option<String> {
    seen.iter().flatten().find_map(|counted| counted.blind.clone())
}
