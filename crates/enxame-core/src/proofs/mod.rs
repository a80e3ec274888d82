//! Every proof, and the one registry of them.
//!
//! A proof is one file: its id, title and section, what must be done to see it ([`Need`]), and how what was seen is judged.
//! `verify` does what the proofs that are asked for need, and [`judge`] makes the [`Report`]. Beside the proofs: `kind`
//! (what each says of itself), `judgement` (a proof of which it is not yet said about whom), `link` (one direction on one
//! network), `strangers` (what was exchanged with nodes that could not be asked) and `place` (from where ports were tried).
//!
//! One invariant: a proof about a node that did not answer is unknown and names it, whatever its kind makes of it.

mod associations_rose;
mod bulk_tcp;
mod declared_encrypted;
mod declared_open;
mod esp_seen;
mod files_hidden;
mod files_owned;
mod files_shared;
mod files_shut;
mod judgement;
mod kind;
mod link;
mod marker_hidden;
mod mesh_reaches;
mod names_resolve;
mod no_clear_packets;
mod nothing_else_open;
mod path_quality;
mod place;
mod strangers;
mod tunnels_carry;
mod udp_echo;

use std::collections::{BTreeMap, BTreeSet};

pub use kind::{Need, Part, ProofKind, Totals};

use crate::names::NodeName;
use crate::report::{Observations, Pair, Proof, ProofId, Report, Verdict, unanswered};

/// Makes the registry and the way from an id to its kind: an id without a kind does not compile.
macro_rules! registry {
    ($($id:ident => $module:ident,)+) => {
        /// All kinds of proofs, in the report's order.
        pub static REGISTRY: &[&ProofKind] = &[$(&$module::KIND),+];

        /// The kind of a proof.
        #[must_use]
        pub fn kind_of(id: ProofId) -> &'static ProofKind {
            match id {
                $(ProofId::$id => &$module::KIND,)+
            }
        }
    };
}

registry! {
    PathQuality => path_quality,
    DeclaredEncrypted => declared_encrypted,
    NoClearPackets => no_clear_packets,
    MarkerHidden => marker_hidden,
    EspSeen => esp_seen,
    AssociationsRose => associations_rose,
    NamesResolve => names_resolve,
    BulkTcp => bulk_tcp,
    UdpEcho => udp_echo,
    MeshReaches => mesh_reaches,
    NothingElseOpen => nothing_else_open,
    DeclaredOpen => declared_open,
    TunnelsCarry => tunnels_carry,
    FilesShared => files_shared,
    FilesOwned => files_owned,
    FilesHidden => files_hidden,
    FilesShut => files_shut,
}

/// What must be done so that these can be judged.
#[must_use]
pub fn needs(kinds: &[&ProofKind]) -> BTreeSet<Need> {
    kinds.iter().flat_map(|kind| kind.needs).copied().collect()
}

/// Judges. Pure: the same observations make the same report.
#[must_use]
pub fn judge(observations: &Observations, kinds: &[&ProofKind]) -> Report {
    let judged = kinds.iter().flat_map(|kind| (kind.judge)(observations));
    let mut proofs: Vec<Proof> = judged.map(|proof| withheld(observations, proof)).collect();
    proofs.sort_by(|left, right| sort_key(left).cmp(&sort_key(right)));
    Report { proofs }
}

fn sort_key(proof: &Proof) -> (ProofId, &Option<String>, &Option<Pair>, &Option<NodeName>) {
    (proof.id, &proof.network, &proof.pair, &proof.node)
}

/// The proof as it is, unless it is about a node that did not answer: then nobody can tell.
fn withheld(observations: &Observations, proof: Proof) -> Proof {
    let ends = proof.pair.iter().flat_map(|pair| [&pair.from, &pair.to]).chain(&proof.node);
    let absent: BTreeMap<_, _> =
        ends.filter_map(|node| Some((node, observations.unreachable.get(node)?))).collect();
    if absent.is_empty() {
        return proof;
    }
    let text = absent.into_iter().map(|(node, why)| unanswered(node, why)).collect::<Vec<_>>().join("; ");
    Proof { verdict: Verdict::Unknown, numbers: BTreeMap::new(), text, ..proof }
}

#[cfg(test)]
mod tests;
