//! Kernel parameters (manual 2.3): in a file of our own and live.

use std::collections::BTreeMap;
use std::path::Path;

use enxame_core::areas::machine::sysctl::Action;

use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    on.host.write_owned(&action.file)?;
    set(&action.live)
}

/// The live values.
pub(super) fn set(values: &BTreeMap<String, String>) -> Result<(), ActuateError> {
    for (key, value) in values {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        // Not through Host::write: these files can be neither replaced nor synced.
        std::fs::write(&path, value)
            .map_err(|source| ActuateError::System { attempt: format!("set {key} to {value}"), source })?;
    }
    Ok(())
}
