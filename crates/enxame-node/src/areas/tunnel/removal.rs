//! Taking the tunnel off: whoever has its key last is nobody.

use std::path::Path;
use std::time::Duration;

use enxame_core::areas::tunnel::{CONF_PATH, INTERFACE, KEY_PATH, NETWORK_PATH, UNIT, UNIT_PATH};

use super::look;
use crate::actuate::{ActuateError, Context};
use crate::host::Command;

const SYSTEMCTL: Duration = Duration::from_secs(120);

pub(super) fn act(on: &mut Context<'_>) -> Result<(), ActuateError> {
    if on.host.exists(UNIT_PATH) {
        on.host
            .run_ok(&Command::new(["systemctl", "disable", "--now", "--quiet", UNIT]).within(SYSTEMCTL))?;
        on.host.remove(Path::new(UNIT_PATH))?;
        on.host.run_ok(&Command::new(["systemctl", "daemon-reload"]).within(SYSTEMCTL))?;
    }
    // Where the unit did not make it, or somebody has made it anew since.
    let flags = look::flags()
        .map_err(|source| ActuateError::System { attempt: "list the interfaces".to_owned(), source })?;
    if flags.is_some() {
        on.host.run_ok(&Command::new(["ip", "link", "delete", "dev", INTERFACE]))?;
    }
    on.host.remove(Path::new(NETWORK_PATH))?;
    on.host.remove(Path::new(CONF_PATH))?;
    Ok(on.host.remove(Path::new(KEY_PATH))?)
}
