//! Files that every node shares: their file system, the kernel's server, and what mounts them.
//!
//! Invariant: nothing is formatted but a file that was made here, and what people wrote is neither moved nor removed.

mod client;
mod filesystem;
pub(crate) mod look;
mod removal;
mod server;

use std::time::Duration;

use enxame_core::areas::storage::Action;

use crate::actuate::{ActuateError, Context};
use crate::host::Command;

/// systemctl on a slow machine; a server that stops waits for its clients' locks.
const SYSTEMCTL: Duration = Duration::from_secs(180);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Client(action) => client::act(on, action),
        Action::Filesystem(action) => filesystem::act(on, action),
        Action::Server(action) => server::act(on, action),
        Action::Removal(action) => removal::act(on, action),
    }
}

fn systemctl(on: &Context<'_>, words: &[&str]) -> Result<(), ActuateError> {
    let command = Command::new(["systemctl"].iter().chain(words).copied()).within(SYSTEMCTL);
    Ok(on.host.run_ok(&command).map(drop)?)
}

/// The same for what must come up, with what it said itself where it does not: systemctl only says where to look.
fn bring_up(on: &Context<'_>, verb: &str, unit: &str) -> Result<(), ActuateError> {
    let done = on.host.run(&Command::new(["systemctl", verb, unit]).within(SYSTEMCTL))?;
    if done.succeeded() {
        return Ok(());
    }
    let journal = ["journalctl", "--unit", unit, "--lines", "5", "--output", "cat", "--no-pager"];
    let told = on.host.run_ok(&Command::new(journal)).unwrap_or_default();
    let told = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
    let told = if told.is_empty() { done.last_words() } else { told };
    let hint = format!("on the node: journalctl -u {unit}");
    Err(ActuateError::wrong(format!("{unit} does not come up: {told}"), hint))
}

#[cfg(test)]
mod tests;
