//! The kernel's server: directories, exports, and the unit that starts it.

use enxame_core::areas::storage::server::{Action, How};
use enxame_core::areas::storage::{ROOT, SERVER_UNIT};

use super::{bring_up, systemctl};
use crate::actuate::{ActuateError, Context};
use crate::apt;
use crate::host::Command;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let run = |on: &Context<'_>, words: &[&str]| on.host.run_ok(&Command::new(words.iter().copied()));
    if run(on, &["mountpoint", "--quiet", ROOT]).is_err() {
        let message = format!("{ROOT} is not mounted: nothing is made in its place");
        return Err(ActuateError::wrong(message, format!("on the node: findmnt {ROOT}; then apply again")));
    }
    for directory in &action.directories {
        let path = directory.path.as_str();
        run(on, &["mkdir", "--parents", "--", path])?;
        run(on, &["chown", "--no-dereference", "--", &format!("{}:{}", directory.uid, directory.gid), path])?;
        run(on, &["chmod", "--", &format!("{:04o}", directory.mode), path])?;
    }
    for file in &action.files {
        on.host.write_owned(file)?;
    }
    systemctl(on, &["daemon-reload"])?;
    apt::install(on, &action.install)?;
    systemctl(on, &["enable", "--quiet", SERVER_UNIT])?;
    match action.how {
        How::Restart => bring_up(on, "restart", SERVER_UNIT)?,
        How::Reload => {
            bring_up(on, "start", SERVER_UNIT)?;
            run(on, &["exportfs", "-r"])?;
        }
    }
    Ok(())
}
