//! `/etc/hosts` (manual 2.1): every node's name and public address, in a marked block; the rest of the file stays.

use std::path::Path;

use enxame_core::areas::machine::hosts::{Action, LOCALHOST, PATH};
use enxame_core::facts::FileFacts;
use enxame_core::files::with_block;

use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let path = Path::new(PATH);
    // Read again: what the user wrote since the plan was made stays.
    let (old, mode) = match on.host.read(path) {
        FileFacts::Text { content, mode, .. } => (content, mode),
        FileFacts::Absent => (LOCALHOST.to_owned(), 0o644),
        FileFacts::Unreadable(why) => {
            return Err(ActuateError::wrong(format!("{PATH} cannot be read: {why}"), "mend it by hand"));
        }
    };
    let new = with_block(&old, &action.lines)
        .map_err(|broken| ActuateError::wrong(format!("{PATH}: {broken}"), "mend it by hand"))?;
    Ok(on.host.write(path, &new, mode)?)
}
