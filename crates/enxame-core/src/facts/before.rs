//! What was there before enxame first touched it, as the node has kept it since.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::FileFacts;

/// Since when a node has been keeping what was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// From the first change on: what is not in it was not touched.
    #[default]
    FromTheStart,
    /// Not at all: a build that kept nothing made the first changes, and what it replaced is not known.
    Missing,
}

/// What was there before enxame first touched it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Whether it is all there is to know.
    pub record: Coverage,
    /// Files, by path.
    pub files: BTreeMap<String, FileFacts>,
    /// The kernel's host name, where it was changed.
    pub hostname: Option<String>,
    /// Live kernel parameters that were changed; `None` where the kernel had no such key yet.
    pub sysctl: BTreeMap<String, Option<String>>,
    /// Who was in the group `docker`, where somebody was put in.
    pub docker_group: Option<Vec<String>>,
    /// Packages that were not held.
    pub not_held: BTreeSet<String>,
}

impl Before {
    /// Whether a build that kept nothing made the first changes.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.record == Coverage::Missing
    }

    /// Whether enxame has touched nothing.
    #[must_use]
    pub fn is_of_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The text of a file that was there.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.content()
    }
}
