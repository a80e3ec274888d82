//! The programs the firewall is made with: ufw and nft, there and started at boot (manual 3.2). ufw's unit does nothing
//! while ufw is off.

use std::time::Duration;

use enxame_core::areas::firewall::packages::{Action, UNIT};

use crate::actuate::{ActuateError, Context};
use crate::apt;
use crate::host::Command;

/// systemctl on a slow machine.
const ENABLE: Duration = Duration::from_secs(120);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    if !action.install.is_empty() {
        apt::refresh_lists(on)?;
        apt::install(on, &action.install)?;
    }
    on.host.run_ok(&Command::new(["systemctl", "enable", "--quiet", UNIT]).within(ENABLE))?;
    Ok(())
}
