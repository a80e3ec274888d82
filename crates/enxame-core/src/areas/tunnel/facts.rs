//! What is there of the tunnels on a node. Of its private key nothing is ever seen but what it is the key of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::facts::Observed;

/// The public half of a node's key, as `wg` writes it: 32 bytes in Base64 (RFC 4648, 4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

/// A text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a WireGuard key: 44 characters that end with `=`")]
pub struct NoKey;

impl PublicKey {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn new(text: impl Into<String>) -> Result<Self, NoKey> {
        let text = text.into();
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let Some(digits) = text.strip_suffix('=').filter(|digits| digits.len() == 43) else {
            return Err(NoKey);
        };
        // The last digit has four bits of the key, and two that are nothing.
        let ends_whole = digits.ends_with(|last| "AEIMQUYcgkosw048".contains(last));
        if digits.bytes().all(is_digit) && ends_whole { Ok(Self(text)) } else { Err(NoKey) }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NoKey;

    fn try_from(text: String) -> Result<Self, NoKey> {
        Self::new(text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The node's own end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelFacts {
    /// Its key, in the file.
    pub key: KeyFacts,
    /// The interface, in the kernel; `None`: there is none.
    pub interface: Observed<Option<DeviceFacts>>,
}

impl Default for TunnelFacts {
    fn default() -> Self {
        Self { key: KeyFacts::Absent, interface: Observed::Known(None) }
    }
}

impl TunnelFacts {
    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What is in the file of the node's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyFacts {
    /// There is no such file.
    Absent,
    /// Something that could not be looked at; the text says why.
    Unread(String),
    /// Something that is no key, e.g. half a file.
    Unusable(String),
    /// A key.
    Usable {
        /// Its public half.
        public: PublicKey,
        /// The file's permission bits.
        mode: u32,
    },
}

impl KeyFacts {
    /// The public half, where there is a key.
    #[must_use]
    pub fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Usable { public, .. } => Some(public),
            Self::Absent | Self::Unread(_) | Self::Unusable(_) => None,
        }
    }
}

/// The interface as the kernel has it; its addresses and its MTU are among the node's interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// Whose it is; `None`: it has no key.
    pub public_key: Option<PublicKey>,
    /// The UDP port.
    pub port: u16,
    /// Whether it is up.
    pub is_up: bool,
    /// The addresses that each peer may send from, by its key.
    pub peers: BTreeMap<PublicKey, BTreeSet<IpNet>>,
}

/// What changes by itself of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerFacts {
    /// Where its last packet came from.
    pub endpoint: Option<SocketAddr>,
    /// When the two last agreed on a key, in seconds since 1970 by the node's clock; `None`: never.
    pub handshake_unix_s: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused() {
        let key = "KnZN7Q7h0VHb336NXFrNItUP7FXSQKC548fQNR2C7gs=";
        assert_eq!(PublicKey::new(key).map(|key| key.to_string()).as_deref(), Ok(key));
        let long = format!("A{key}");
        for bad in [
            "",
            "=",
            &key[1..],
            &long,
            &key.replace('7', "-"),
            &key.replace("s=", "t="),
            &key.replace('=', "A"),
        ] {
            assert_eq!(PublicKey::new(bad), Err(NoKey), "{bad}");
        }
        assert!(serde_json::from_str::<PublicKey>("\"rm -rf\"").is_err());
    }
}
