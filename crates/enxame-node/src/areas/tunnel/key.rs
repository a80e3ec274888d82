//! The node's own key: made here, once, and never told.

use std::path::Path;

use enxame_core::areas::tunnel::KEY_PATH;
use enxame_core::areas::tunnel::key::{Action, MODE};
use enxame_core::facts::{FileFacts, KeyFacts};
use enxame_core::files::HEADER;
use enxame_core::secret::Secret;

use super::look;
use crate::actuate::{ActuateError, Context};
use crate::apt;
use crate::host::Command;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    apt::install(on, &action.install)?;
    let path = Path::new(KEY_PATH);
    match look::key(on.host) {
        KeyFacts::Usable { .. } if action.renew => make(on),
        KeyFacts::Usable { mode: MODE, .. } => Ok(()),
        KeyFacts::Usable { .. } => match on.host.read(path) {
            FileFacts::Text { content, .. } => Ok(on.host.write(path, &content, MODE)?),
            FileFacts::Absent | FileFacts::Unreadable(_) => Ok(()),
        },
        KeyFacts::Absent | KeyFacts::Unusable(_) => make(on),
        KeyFacts::Unread(why) => {
            let message = format!("{KEY_PATH} cannot be looked at: {why}");
            Err(ActuateError::wrong(message, "see what is at that path on the node, then apply again"))
        }
    }
}

fn make(on: &mut Context<'_>) -> Result<(), ActuateError> {
    let private = Secret::new(on.host.run_ok(&Command::new(["wg", "genkey"]))?.trim().to_owned());
    // It is a key, or it is not written.
    look::public_half(on.host, &private)?;
    let content = Secret::new(format!("{HEADER}[Interface]\nPrivateKey = {}\n", private.reveal()));
    Ok(on.host.write(Path::new(KEY_PATH), content.reveal(), MODE)?)
}
