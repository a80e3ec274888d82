//! What could not be put back: named until somebody has seen to it.
//!
//! A list beside the manifest. What is on it is looked at anew every time: an entry that no longer holds is not told.

use std::fmt;
use std::path::Path;

use enxame_core::facts::{NotPutBack, WhatItWas};

use super::kept::is_there;
use super::system;
use crate::actuate::ActuateError;
use crate::host::HostError;
use crate::replace::replace;

const LIST: &str = "not-put-back.json";

/// What of a way back did not work.
pub(super) struct Left {
    pub(super) failed: Vec<NotPutBack>,
    pub(super) reloaded: Result<(), HostError>,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.failed.iter().map(ToString::to_string);
        let rules =
            self.reloaded.as_ref().err().map(|error| format!("the rules were not loaded again: {error}"));
        f.write_str(&files.chain(rules).collect::<Vec<_>>().join("; "))
    }
}

impl Left {
    /// The error to tell, where it is tried again and where it was given up.
    pub(super) fn error(&self, change: &str, is_last: bool) -> ActuateError {
        let message = format!("`{change}` could not be put back: {self}");
        if !is_last {
            return ActuateError::wrong(message, "it is tried again; look at the node, or wait a minute");
        }
        let hint = if self.failed.is_empty() {
            "its files are as they were; plan and apply again: what is loaded now is looked at anew"
        } else {
            "the rest was put back; `enxame plan` says what is to be done by hand"
        };
        ActuateError::wrong(message, hint)
    }
}

/// Adds to the list.
pub(super) fn record(directory: &Path, failed: &[NotPutBack]) -> Result<(), ActuateError> {
    let mut all = standing(directory);
    all.extend_from_slice(failed);
    replace(&directory.join(LIST), &serde_json::to_vec(&all)?, 0o600)
        .map_err(system(format!("write {LIST} of the dead-man switch")))
}

/// What is on the list and still holds.
pub(super) fn standing(directory: &Path) -> Vec<NotPutBack> {
    let text = std::fs::read(directory.join(LIST)).unwrap_or_default();
    let mut all: Vec<NotPutBack> = serde_json::from_slice(&text).unwrap_or_default();
    all.retain(|one| match &one.what_it_was {
        WhatItWas::InCopy(copy) => is_there(Path::new(copy)),
        WhatItWas::Lost => !is_there(Path::new(&one.path)),
        WhatItWas::NoFile => is_there(Path::new(&one.path)),
    });
    all
}
