//! A text that must never be shown: join tokens, keys, passwords.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A secret. `Debug` and `Display` print `****`; it travels only inside the SSH channel.
///
/// It is serialisable because the protocol carries it between two nodes through the operator's memory;
/// nothing that is written to a disk or a terminal may contain the type (the journal and the report do not).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Every call is a place to look at in a review.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_does_not_show_itself_when_printed() {
        let secret = Secret::new("SWMTKN-1-abc".to_owned());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "**** **** Some(****)");
    }
}
