//! The host name (manual 2.1): the kernel's and `/etc/hostname`.

use enxame_core::areas::machine::hostname::Action;

use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    on.host.write_owned(&action.file)?;
    set(&action.name)
}

/// The kernel's.
pub(super) fn set(name: &str) -> Result<(), ActuateError> {
    nix::unistd::sethostname(name).map_err(|error| ActuateError::System {
        attempt: "set the host name".to_owned(),
        source: error.into(),
    })
}
