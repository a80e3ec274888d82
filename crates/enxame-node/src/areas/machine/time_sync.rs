//! Time synchronisation (the manual is silent): certificates and elections need clocks that agree.

use enxame_core::areas::machine::time_sync::Action;

use crate::actuate::{ActuateError, Context};
use crate::apt;
use crate::host::Command;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    if let Some(package) = &action.install {
        apt::install(on, std::slice::from_ref(package))?;
    }
    on.host.run_ok(&Command::new(["systemctl", "unmask", &action.unit]))?;
    on.host.run_ok(&Command::new(["systemctl", "enable", "--now", &action.unit]))?;
    Ok(())
}
