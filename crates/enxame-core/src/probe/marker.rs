//! The run's marker: what must never be seen on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 32 random bytes that every packet of a proof carries at least once. Whoever sees them on the wire saw clear
/// text: by chance they occur with a probability of 2^-256 per place.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Marker([u8; Marker::LENGTH]);

/// A text that is not a marker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a marker is 64 hex digits")]
pub struct MarkerError;

impl Marker {
    /// Its length, in bytes.
    pub const LENGTH: usize = 32;

    /// A payload is blocks of the marker and a counter of eight bytes (big-endian, from 0).
    pub const BLOCK_BYTES: usize = Self::LENGTH + 8;

    /// Wraps random bytes.
    #[must_use]
    pub fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes to look for.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The run's payload from block `first_block` on, as many blocks as fit wholly into `length_bytes`. Any 71
    /// consecutive bytes of it hold the whole marker.
    #[must_use]
    pub fn payload(&self, first_block: u64, length_bytes: usize) -> Vec<u8> {
        let blocks = u64::try_from(length_bytes / Self::BLOCK_BYTES).unwrap_or(0);
        let mut payload = Vec::with_capacity(length_bytes);
        for block in first_block..first_block.saturating_add(blocks) {
            payload.extend_from_slice(&self.0);
            payload.extend_from_slice(&block.to_be_bytes());
        }
        payload
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Marker {
    type Error = MarkerError;

    fn try_from(text: String) -> Result<Self, MarkerError> {
        let mut bytes = [0; Self::LENGTH];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| MarkerError)?;
        Ok(Self(bytes))
    }
}

impl From<Marker> for String {
    fn from(marker: Marker) -> Self {
        marker.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_comes_back_as_it_went() {
        let marker = Marker::new(std::array::from_fn(|at| u8::try_from(at * 8).unwrap()));
        let text = serde_json::to_string(&marker).unwrap();
        assert_eq!(serde_json::from_str::<Marker>(&text).unwrap(), marker);
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(65), &"é".repeat(32)] {
            assert_eq!(Marker::try_from(bad.to_owned()), Err(MarkerError), "{bad}");
        }
    }

    #[test]
    fn any_cut_of_71_bytes_of_the_payload_holds_the_marker() {
        let marker = Marker::new(std::array::from_fn(|at| u8::try_from(at).unwrap() ^ 0x5a));
        let payload = marker.payload(7, 1000);
        assert_eq!(payload.len(), 1000);
        for cut in payload.windows(Marker::LENGTH + Marker::BLOCK_BYTES - 1) {
            assert!(cut.windows(Marker::LENGTH).any(|place| place == marker.bytes()));
        }
    }
}
