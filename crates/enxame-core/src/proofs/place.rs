//! From where ports were tried, and how to say it.

use super::judgement::Judgement;
use crate::areas::firewall::is_public;
use crate::report::Proof;
use crate::report::exposure::{Sighting, Vantage};

/// How many ranges of ports a sentence bears.
pub(super) const TOLD_RANGES: usize = 12;

/// The proof with where it looked from and at whom.
pub(super) fn placed(sighting: &Sighting, mut judgement: Judgement) -> Proof {
    judgement.text = format!("{} from {}: {}", sighting.address, place(sighting), judgement.text);
    match &sighting.from {
        Vantage::Operator => judgement.on(None, &sighting.node),
        Vantage::Peer(peer) => judgement.between(None, peer, &sighting.node),
    }
}

fn place(sighting: &Sighting) -> String {
    let mut place = match &sighting.from {
        Vantage::Operator => "the operator".to_owned(),
        Vantage::Peer(peer) => peer.to_string(),
    };
    if let Some(address) = sighting.seen_as {
        place = format!("{place} ({address})");
    }
    match (&sighting.instead, is_translated(sighting)) {
        (Some(why), _) => format!("{place}, because {why}"),
        (None, true) => format!("{place}, behind address translation or a jump host"),
        (None, false) => place,
    }
}

/// Whether the node takes the one who looks for somebody else than it is, or nobody can tell.
pub(super) fn is_translated(sighting: &Sighting) -> bool {
    let source = sighting.seen.known().map(|scanned| scanned.source);
    let differs = source.is_some_and(|source| sighting.seen_as != Some(source));
    // A private address does not cross the Internet as it is.
    differs || (is_public(sighting.address) && sighting.seen_as.is_some_and(|address| !is_public(address)))
}
