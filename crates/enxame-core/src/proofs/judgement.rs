//! A proof in the making.

use super::kind_of;
use crate::names::NodeName;
use crate::report::{Pair, Proof, ProofId, Verdict};

/// A proof of which it is not yet said about whom.
pub(super) struct Judgement {
    pub(super) id: ProofId,
    pub(super) verdict: Verdict,
    pub(super) numbers: Vec<(&'static str, u64)>,
    pub(super) text: String,
}

impl Judgement {
    pub(super) fn unknown(id: ProofId, why: String) -> Self {
        Self { id, verdict: Verdict::Unknown, numbers: Vec::new(), text: why }
    }

    pub(super) fn about(self, network: Option<String>) -> Proof {
        Proof {
            id: self.id,
            manual: kind_of(self.id).manual.to_owned(),
            verdict: self.verdict,
            network,
            pair: None,
            node: None,
            numbers: self.numbers.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            text: self.text,
        }
    }

    pub(super) fn between(self, network: Option<String>, from: &NodeName, to: &NodeName) -> Proof {
        Proof { pair: Some(Pair { from: from.clone(), to: to.clone() }), ..self.about(network) }
    }

    pub(super) fn on(self, network: Option<String>, node: &NodeName) -> Proof {
        Proof { node: Some(node.clone()), ..self.about(network) }
    }
}
