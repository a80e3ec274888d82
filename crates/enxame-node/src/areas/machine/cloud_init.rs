//! cloud-init (manual 2.1, corrected): kept from rewriting the host name and `/etc/hosts` at boot.

use enxame_core::areas::machine::cloud_init::Action;

use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, Action(file): &Action) -> Result<(), ActuateError> {
    Ok(on.host.write_owned(file)?)
}
