//! The swarm.

mod availability;
mod ingress;
mod init;
mod join;
mod labels;
pub(crate) mod look;
mod networks;
mod overlay;
mod removal;
mod settings;

use enxame_core::areas::swarm::Action;

use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Init(action) => init::act(on, action),
        Action::Settings(action) => settings::act(on, action),
        Action::Ingress(action) => ingress::act(on, action),
        Action::Join(action) => join::act(on, action),
        Action::Labels(action) => labels::act(on, action),
        Action::Network(action) => networks::act(on, action),
        Action::Availability(action) => availability::act(on, action),
        Action::Removal(action) => removal::act(on, action),
    }
}

#[cfg(test)]
mod tests;
