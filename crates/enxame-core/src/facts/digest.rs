//! The digest of facts: whether two looks saw the same.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ClusterFacts, VolatileFacts};

/// SHA-256 of all facts but the volatile ones, in hexadecimal. Only digests of one build can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FactsDigest(String);

impl fmt::Display for FactsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The digest of a cluster's facts.
#[must_use]
pub fn digest_of(facts: &ClusterFacts) -> FactsDigest {
    let mut lasting = facts.clone();
    for node in lasting.values_mut() {
        node.volatile = VolatileFacts::default();
    }
    // Maps with keys of text, numbers and lists: they serialise.
    let bytes = serde_json::to_vec(&lasting).unwrap_or_default();
    let hexadecimal = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    FactsDigest(hexadecimal)
}
