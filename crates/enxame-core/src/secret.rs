//! A text that must never be shown: join tokens, keys, passwords.

use std::fmt;

/// A secret. `Debug` and `Display` print `****`, and it does not serialise: nothing that is written to a disk or a
/// terminal can hold one by accident. Between two nodes it travels inside the SSH channel, as `protocol` says.
#[derive(Clone, PartialEq, Eq)]
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

    trait Serialises<Answer> {
        fn is_asked() {}
    }
    struct Yes;
    impl<T> Serialises<()> for T {}
    impl<T: serde::Serialize> Serialises<Yes> for T {}

    #[test]
    fn a_secret_does_not_serialise() {
        // Were it `Serialize`, there would be two answers, and this would not compile.
        <Secret as Serialises<_>>::is_asked();
    }

    #[test]
    fn a_secret_does_not_show_itself_when_printed() {
        let secret = Secret::new("SWMTKN-1-abc".to_owned());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "**** **** Some(****)");
    }
}
