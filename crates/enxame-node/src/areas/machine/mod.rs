//! The machine below the engine.

mod cloud_init;
mod hostname;
mod hosts;
mod kernel_modules;
pub(crate) mod look;
pub(crate) mod reboot;
mod removal;
mod sysctl;
mod time_sync;

use enxame_core::areas::machine::Action;

use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Hostname(action) => hostname::act(on, action),
        Action::CloudInit(action) => cloud_init::act(on, action),
        Action::Hosts(action) => hosts::act(on, action),
        Action::TimeSync(action) => time_sync::act(on, action),
        Action::Sysctl(action) => sysctl::act(on, action),
        Action::KernelModules(action) => kernel_modules::act(on, action),
        Action::Reboot(action) => reboot::act(on, action),
        Action::Removal(action) => removal::act(on, action),
    }
}

#[cfg(test)]
mod tests;
