//! What nodes exchanged with those that could not be asked.

use crate::names::NodeName;
use crate::probe::{Counts, Direction};
use crate::report::{Observations, WireObservations, on};

/// What a node that answers saw of its exchange with each node that does not.
pub(super) fn exchanged_with_absent<'a>(
    observations: &'a Observations,
    wire: &'a WireObservations,
    node: &NodeName,
) -> Vec<(&'a NodeName, Direction, &'a Counts)> {
    let Ok(capture) = on(&wire.whole, node) else { return Vec::new() };
    let mut exchanged = Vec::new();
    for peer in observations.unreachable.keys() {
        let address = wire.subject.nodes.get(peer).map(|node| node.address);
        let Some(counts) = address.and_then(|address| capture.peers.get(&address)) else { continue };
        exchanged.push((peer, Direction::Sent, &counts.sent));
        if !capture.decrypts_before_watching {
            exchanged.push((peer, Direction::Received, &counts.received));
        }
    }
    exchanged
}
