//! The end of taking enxame off: its directory goes, with the program that this agent runs, the journal and what was kept.

use std::fs;
use std::io;
use std::path::Path;

use crate::actuate::ActuateError;
use crate::deadman;
use crate::host::Host;

/// Program, journal, dead-man switch, and what was there before.
const DIRECTORY: &str = "/var/lib/enxame";
/// Held the guard's table.
const CONFIGURATION: &str = "/etc/enxame";
/// What is remembered until the next boot. The lock stays: this agent holds it.
const REMEMBERED: [&str; 1] = ["/run/enxame-filter.json"];

/// Takes away what is left when everything else is taken off. Nothing may be written down after.
///
/// # Errors
/// When a change still waits for its confirmation, or something cannot be removed; doing it again goes on.
pub fn forget(host: &dyn Host) -> Result<(), ActuateError> {
    if deadman::unconfirmed()?.is_some() {
        let message = "a change of the firewall waits for its confirmation";
        return Err(ActuateError::wrong(message, "uninstall again: it is put back first"));
    }
    deadman::disarm(host);
    for path in REMEMBERED {
        host.remove(Path::new(path))?;
    }
    let removed = |path: &str, outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => {
            outcome.map_err(|source| ActuateError::System { attempt: format!("remove {path}"), source })
        }
    };
    // Somebody else's file in it is somebody else's.
    match fs::remove_dir(CONFIGURATION) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        outcome => removed(CONFIGURATION, outcome)?,
    }
    removed(DIRECTORY, fs::remove_dir_all(DIRECTORY))
}
