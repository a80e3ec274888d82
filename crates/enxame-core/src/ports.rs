//! Sets of ports, written as people write them: `22,80-443`.
//!
//! Invariant: port 0, which is none, is never in one.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of ports.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PortSet(BTreeSet<u16>);

/// What is no set of ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a port (1 to 65535) nor a range of ports like 1-1023")]
pub struct PortSetError(String);

impl PortSet {
    /// Every port.
    #[must_use]
    pub fn all() -> Self {
        (1..=u16::MAX).collect()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many, to be told.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// Whether that one is in it.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }

    /// Puts one in.
    pub fn insert(&mut self, port: u16) {
        if port != 0 {
            self.0.insert(port);
        }
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied()
    }

    /// Those of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }

    /// Those of this set that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Those that are in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// The set for a sentence: at most `limit` ranges, and how many ports there are beyond them.
    #[must_use]
    pub fn brief(&self, limit: usize) -> String {
        let ranges = self.ranges();
        let told: Vec<String> = ranges.iter().take(limit).copied().map(range_text).collect();
        let beyond: u64 = ranges.iter().skip(limit).map(|(from, to)| u64::from(to - from) + 1).sum();
        if beyond == 0 { told.join(", ") } else { format!("{} and {beyond} more", told.join(", ")) }
    }

    fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for port in self.iter() {
            match ranges.last_mut() {
                Some((_, to)) if to.checked_add(1) == Some(port) => *to = port,
                _ => ranges.push((port, port)),
            }
        }
        ranges
    }
}

fn range_text((from, to): (u16, u16)) -> String {
    if from == to { from.to_string() } else { format!("{from}-{to}") }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<T: IntoIterator<Item = u16>>(ports: T) -> Self {
        Self(ports.into_iter().filter(|port| *port != 0).collect())
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self.ranges().into_iter().map(range_text).collect();
        formatter.write_str(&ranges.join(","))
    }
}

impl FromStr for PortSet {
    type Err = PortSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut ports = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || PortSetError(part.to_owned());
            let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = number(from).zip(number(to)).ok_or_else(wrong)?;
            if from > to {
                return Err(wrong());
            }
            ports.0.extend(from..=to);
        }
        Ok(ports)
    }
}

impl Serialize for PortSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_what_it_writes() {
        for text in ["", "22", "22,80,443", "1-65535", "1-21,23-79,65535"] {
            assert_eq!(text.parse::<PortSet>().unwrap().to_string(), text);
        }
        assert_eq!("80-81, 79,22".parse::<PortSet>().unwrap().to_string(), "22,79-81");
        assert_eq!(PortSet::all().to_string(), "1-65535");
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in ["0", "65536", "a", "9-1", "-", "1-2-3", "80;81"] {
            assert_eq!(text.parse::<PortSet>(), Err(PortSetError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_long_set_is_told_briefly() {
        let ports: PortSet = "1,3,5-9".parse().unwrap();
        assert_eq!(ports.brief(5), "1, 3, 5-9");
        assert_eq!(ports.brief(2), "1, 3 and 5 more");
    }
}
