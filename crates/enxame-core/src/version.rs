//! Engine versions: order and the edges that matter.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A Docker engine's version, `major.minor.patch`; what follows (`+dfsg1`, `-rc.1`, `-ce`) is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EngineVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl EngineVersion {
    /// Builds a version from its three numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads the leading `major.minor[.patch]` of an engine's or package's version; an epoch (`5:`) is skipped.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_once(':').map_or(text, |(_, rest)| rest);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text.get(..end)?.split('.').map(|n| n.parse::<u32>().ok());
        Some(Self {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next().flatten().unwrap_or(0),
        })
    }

    /// Whether encrypted overlay networks may silently send in clear
    /// (CVE-2023-28840/-28841/-28842; fixed in 20.10.24 and 23.0.3).
    #[must_use]
    pub fn leaks_encrypted_overlays(self) -> bool {
        self < Self::new(20, 10, 24) || (self >= Self::new(23, 0, 0) && self < Self::new(23, 0, 3))
    }

    /// Whether the engine computes the SPIs of encrypted networks unlike all others
    /// (moby#51798: 29.0.0 to 29.2.0), so that it cannot talk to them.
    #[must_use]
    pub fn has_the_odd_spi(self) -> bool {
        self >= Self::new(29, 0, 0) && self < Self::new(29, 2, 1)
    }

    /// Whether encrypted networks are encrypted on other data-path ports than 4789 too (moby#45637; since 23.0.7 and
    /// 24.0.3).
    #[must_use]
    pub fn encrypts_on_any_port(self) -> bool {
        self >= Self::new(24, 0, 3) || (self >= Self::new(23, 0, 7) && self < Self::new(24, 0, 0))
    }

    /// Whether the engine marks VXLAN with `xt_u32` (before 24) instead of `xt_bpf`.
    #[must_use]
    pub fn marks_with_u32(self) -> bool {
        self < Self::new(24, 0, 0)
    }
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::EngineVersion;

    #[test]
    fn versions_of_engines_and_packages_are_read() {
        for (text, expected) in [
            ("26.1.5+dfsg1", EngineVersion::new(26, 1, 5)),
            ("20.10.24+dfsg1-1+deb12u1", EngineVersion::new(20, 10, 24)),
            ("5:28.3.3-1~debian.13~trixie", EngineVersion::new(28, 3, 3)),
            ("29.0.0-rc.1", EngineVersion::new(29, 0, 0)),
            ("23.0", EngineVersion::new(23, 0, 0)),
        ] {
            assert_eq!(EngineVersion::parse(text), Some(expected), "{text}");
        }
        for bad in ["", "dev", "v", "26", "5:", "99999999999.1.1"] {
            assert_eq!(EngineVersion::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_edges_lie_where_the_advisories_put_them() {
        let leaks = |t| EngineVersion::parse(t).map(EngineVersion::leaks_encrypted_overlays);
        assert_eq!(
            [leaks("20.10.23"), leaks("20.10.24"), leaks("23.0.2"), leaks("23.0.3")].map(Option::unwrap),
            [true, false, true, false]
        );
        let odd = |t| EngineVersion::parse(t).map(EngineVersion::has_the_odd_spi);
        assert_eq!(
            [odd("28.5.2"), odd("29.0.0"), odd("29.2.0"), odd("29.2.1")].map(Option::unwrap),
            [false, true, true, false]
        );
    }
}
