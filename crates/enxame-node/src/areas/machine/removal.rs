//! Taking off what enxame made of the machine.

use std::path::Path;

use enxame_core::areas::machine::hosts::LOCALHOST;
use enxame_core::areas::machine::removal::Action;
use enxame_core::areas::machine::{hostname, hosts};
use enxame_core::facts::FileFacts;
use enxame_core::files::without_block;

use crate::actuate::{ActuateError, Context};
use crate::before;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Hostname { name } => {
            before::put_back(on.host, hostname::PATH)?;
            super::hostname::set(name)
        }
        Action::Hosts => hosts(on),
        Action::File { path } => before::put_back(on.host, path),
        Action::Sysctl { path, live } => {
            before::put_back(on.host, path)?;
            super::sysctl::set(live)
        }
    }
}

/// Other lines stay, also those that came since.
fn hosts(on: &mut Context<'_>) -> Result<(), ActuateError> {
    let path = Path::new(hosts::PATH);
    let FileFacts::Text { content, mode, .. } = on.host.read(path) else { return Ok(()) };
    let rest = without_block(&content)
        .map_err(|broken| ActuateError::wrong(format!("{}: {broken}", hosts::PATH), "mend it by hand"))?;
    let Some(rest) = rest else { return Ok(()) };
    let is_as_before = match before::file(on.host, hosts::PATH)? {
        Some(FileFacts::Absent) => rest == LOCALHOST,
        // The block may have brought the last line its end.
        Some(FileFacts::Text { content, .. }) => rest.trim_end() == content.trim_end(),
        Some(FileFacts::Unreadable(_)) | None => false,
    };
    if is_as_before {
        return before::put_back(on.host, hosts::PATH);
    }
    Ok(on.host.write(path, &rest, mode)?)
}
