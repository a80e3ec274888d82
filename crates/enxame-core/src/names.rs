//! Names that were checked once, at the edge, and are safe from then on.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A node's name: an RFC 1123 label, because it becomes the host name and a line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into)]
#[schemars(extend("pattern" = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
pub struct NodeName(String);

/// A Docker object's name (network, secret, label key): what the engine accepts, no more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into)]
#[schemars(extend("pattern" = "^[a-zA-Z0-9][a-zA-Z0-9_.-]*$"))]
pub struct ObjectName(String);

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is not an RFC 1123 label.
    #[error(
        "`{0}` is not a host name: use 1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end"
    )]
    NotAHostName(String),
    /// The text is not a name the engine accepts.
    #[error(
        "`{0}` is not an object name: begin with a letter or digit, go on with letters, digits, `_`, `.` or `-`"
    )]
    NotAnObjectName(String),
}

impl NodeName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`NameError::NotAHostName`] when it is not an RFC 1123 label.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let ends = !name.starts_with('-') && !name.ends_with('-');
        if (1..=63).contains(&name.len()) && letters && ends {
            Ok(Self(name))
        } else {
            Err(NameError::NotAHostName(name))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for NodeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl std::str::FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl ObjectName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`NameError::NotAnObjectName`] when the engine would refuse it.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if first && rest && name.len() <= 128 {
            Ok(Self(name))
        } else {
            Err(NameError::NotAnObjectName(name))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}
text_conversions!(NodeName);
text_conversions!(ObjectName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_that_dns_would_refuse_are_refused() {
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "ção", &"a".repeat(64), "-oProxyCommand=x"] {
            assert_eq!(NodeName::new(bad), Err(NameError::NotAHostName(bad.to_owned())));
        }
        for good in ["a", "kvm8-core", "0", &"a".repeat(63)] {
            assert_eq!(NodeName::new(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn object_names_follow_the_engine() {
        for bad in ["", "-x", "a b", "a/b", ".a"] {
            assert_eq!(ObjectName::new(bad), Err(NameError::NotAnObjectName(bad.to_owned())));
        }
        assert!(ObjectName::new("swarm-secure-net").is_ok());
    }
}
