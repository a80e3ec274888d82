//! Serving no more. The shared files stay where they are.

use std::path::Path;

use enxame_core::areas::storage::removal::{Action, FILES};
use enxame_core::areas::storage::{EXPORTS_PATH, SERVER_UNIT};

use super::systemctl;
use crate::actuate::{ActuateError, Context};
use crate::host::Command;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    if action.serves {
        on.host.remove(Path::new(EXPORTS_PATH))?;
        if action.stop {
            systemctl(on, &["disable", "--now", "--quiet", SERVER_UNIT])?;
        } else {
            on.host.run_ok(&Command::new(["exportfs", "-r"]))?;
        }
    }
    for path in FILES {
        on.host.remove(Path::new(path))?;
    }
    systemctl(on, &["daemon-reload"])?;
    let unmask: Vec<&str> =
        ["unmask", "--quiet"].into_iter().chain(action.unmask.iter().map(String::as_str)).collect();
    systemctl(on, &unmask)?;
    if action.serves && !action.stop {
        systemctl(on, &["restart", SERVER_UNIT])?;
    }
    Ok(())
}
