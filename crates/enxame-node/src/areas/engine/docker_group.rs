//! The group `docker` (manual 5.1): only the accounts that the configuration names, because whoever is in it is root.

use enxame_core::areas::engine::docker_group::Action;

use crate::actuate::{ActuateError, Context};
use crate::host::Command;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    for account in &action.accounts {
        on.host.run_ok(&Command::new(["usermod", "-aG", "docker", "--", account]))?;
    }
    Ok(())
}
