//! The overlay networks for services (manual 5.3, corrected): one encrypted, with the MTU of the measured path,
//! and, only by name, one that is not.

use enxame_core::areas::swarm::networks::Action;

use super::overlay::make;
use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, Action(network): &Action) -> Result<(), ActuateError> {
    make(network, &on.engine()?)
}
