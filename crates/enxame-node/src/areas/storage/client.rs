//! What mounts shared files, without what listens for older versions of NFS.

use enxame_core::areas::storage::client::Action;

use super::systemctl;
use crate::actuate::{ActuateError, Context};
use crate::apt;
use crate::host::Command;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    // Before their package comes, which starts them; and the settings before the server's.
    on.host.write_owned(&action.conf)?;
    for unit in &action.mask {
        systemctl(on, &["mask", "--quiet", unit])?;
        // One that is not there cannot be stopped; one that runs on is seen by the next look.
        drop(on.host.run(&Command::new(["systemctl", "stop", unit]).within(super::SYSTEMCTL)));
    }
    apt::install(on, &action.install)
}
