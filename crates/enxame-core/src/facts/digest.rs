//! A plan is made for facts; the digest says whether they are still the same.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ClusterFacts, NodeFacts, VolatileFacts};

/// SHA-256 over all facts but the volatile ones, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FactsDigest(String);

impl fmt::Display for FactsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The digest of a cluster's facts.
///
/// # Errors
/// Only when the facts cannot be serialised, which their types rule out.
pub fn digest_of(facts: &ClusterFacts) -> Result<FactsDigest, serde_json::Error> {
    let mut hash = Sha256::new();
    for (name, node) in facts {
        let stable = NodeFacts { volatile: VolatileFacts::default(), ..node.clone() };
        hash.update(name.as_str().as_bytes());
        hash.update([0]);
        hash.update(serde_json::to_vec(&stable)?);
        hash.update([0]);
    }
    Ok(FactsDigest(hex::encode(hash.finalize())))
}
