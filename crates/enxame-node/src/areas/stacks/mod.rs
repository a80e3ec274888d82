//! Stacks, by Docker's own command line.

mod command;
mod convert;
mod deploy;
mod prune;
mod recorder;
mod removal;
#[cfg(test)]
mod tests;

use enxame_core::areas::stacks::Action;

pub(crate) use command::task_log;
pub(crate) use convert::convert;

use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Deploy(action) => deploy::act(on, action),
        Action::Prune(action) => prune::act(on, action),
        Action::Removal(action) => removal::act(on, action),
    }
}
