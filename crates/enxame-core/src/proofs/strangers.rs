//! What nodes exchanged with those that could not be asked.

use super::link::Way;
use crate::names::NodeName;
use crate::probe::Counts;
use crate::report::{Observations, WireObservations, on};

/// What a node that answers saw of its exchange with each node that does not.
pub(super) fn exchanged_with_absent<'a>(
    observations: &'a Observations,
    wire: &'a WireObservations,
    node: &NodeName,
) -> Vec<(&'a NodeName, Way, &'a Counts)> {
    let Ok(view) = on(&wire.whole, node) else { return Vec::new() };
    let mut exchanged = Vec::new();
    for peer in observations.unreachable.keys() {
        let address = wire.subject.nodes.get(peer).map(|node| node.address);
        let Some(counts) = address.and_then(|address| view.peers.get(&address)) else { continue };
        exchanged.push((peer, Way::Sent, &counts.sent));
        if !view.decrypts_before_watching {
            exchanged.push((peer, Way::Received, &counts.received));
        }
    }
    exchanged
}
