//! Taking off what enxame made of the engine, which runs on.

use std::path::Path;

use enxame_core::areas::engine::config::{PATH, read_keys};
use enxame_core::areas::engine::removal::Action;
use enxame_core::facts::FileFacts;

use crate::actuate::{ActuateError, Context};
use crate::host::Command;
use crate::{apt, before};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Config { keys } => config(on, keys),
        Action::Package { unhold, files } => {
            apt::unhold(on, unhold)?;
            files.iter().try_for_each(|path| before::put_back(on.host, path))
        }
        Action::DockerGroup { accounts } => {
            for account in accounts {
                on.host.run_ok(&Command::new(["gpasswd", "--delete", account, "docker"]))?;
            }
            Ok(())
        }
    }
}

/// Keys of the user's own stay, also those that came since.
fn config(on: &mut Context<'_>, keys: &[String]) -> Result<(), ActuateError> {
    let path = Path::new(PATH);
    let FileFacts::Text { content, mode, .. } = on.host.read(path) else { return Ok(()) };
    let kept = before::file(on.host, PATH)?;
    let then = read_keys(kept.as_ref().and_then(FileFacts::content).unwrap_or_default())?;
    let mut now = read_keys(&content)?;
    for key in keys {
        match then.get(key) {
            Some(value) => now.insert(key.clone(), value.clone()),
            None => now.remove(key),
        };
    }
    // As it stood there, to the letter.
    if now == then {
        return before::put_back(on.host, PATH);
    }
    Ok(on.host.write(path, &(serde_json::to_string_pretty(&now)? + "\n"), mode)?)
}
