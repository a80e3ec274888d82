//! `/etc/docker/daemon.json` (the manual is silent): log rotation and address pools. Keys of the user's own stay.

use std::path::Path;
use std::time::Duration;

use enxame_core::areas::engine::config::{Action, PATH, read_keys};
use enxame_core::facts::FileFacts;

use crate::actuate::{ActuateError, Context};
use crate::host::Command;
use crate::swarm;

/// dockerd on a slow machine, with the swarm's state to load.
const RESTART_DEADLINE: Duration = Duration::from_secs(180);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let path = Path::new(PATH);
    let old = on.host.read(path);
    let mut keys = read_keys(old.content().unwrap_or_default())?;
    keys.extend(action.keys.clone());
    let mode = if let FileFacts::Text { mode, .. } = &old { *mode } else { 0o644 };
    on.host.write(path, &(serde_json::to_string_pretty(&keys)? + "\n"), mode)?;
    if !action.restart {
        return Ok(());
    }
    (on.progress)("restarting docker");
    // More than three starts in a minute and systemd refuses the next one.
    // A unit that never failed has nothing to reset; the restart says what matters.
    on.host.run(&Command::new(["systemctl", "reset-failed", "docker.service"]))?;
    let restart = Command::new(["systemctl", "restart", "docker.service"]).within(RESTART_DEADLINE);
    if let Err(error) = on.host.run_ok(&restart) {
        // An engine that does not start with the new file starts with the old one.
        match old {
            FileFacts::Text { content, mode, .. } => on.host.write(path, &content, mode)?,
            FileFacts::Absent | FileFacts::Unreadable(_) => on.host.remove(path)?,
        }
        on.host.run(&Command::new(["systemctl", "reset-failed", "docker.service"]))?;
        // The first error is the one to tell.
        drop(on.host.run(&restart));
        return Err(error.into());
    }
    let engine = on.engine_within(RESTART_DEADLINE)?;
    if action.in_swarm {
        (on.progress)("waiting until the node is back in the swarm");
        swarm::wait_until_manager(&engine, RESTART_DEADLINE)?;
    }
    Ok(())
}
