//! The container engine.

mod config;
mod docker_group;
pub(crate) mod look;
mod package;
mod removal;

use enxame_core::areas::engine::Action;

use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Config(action) => config::act(on, action),
        Action::Package(action) => package::act(on, action),
        Action::DockerGroup(action) => docker_group::act(on, action),
        Action::Removal(action) => removal::act(on, action),
    }
}

#[cfg(test)]
mod tests;
