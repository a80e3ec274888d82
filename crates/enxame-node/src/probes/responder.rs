//! What runs in the probe's container: it answers to whoever knows the run's marker.

use super::ProbeError;

/// Answers until it is stopped or its time is over.
///
/// # Errors
/// [`ProbeError::System`] when it cannot listen.
pub fn run() -> Result<(), ProbeError> {
    Err(ProbeError::NotWatching)
}
