//! The routing mesh's network (manual 6.2, corrected): Docker makes it unencrypted; it is made again, encrypted,
//! before anything publishes through it.

use enxame_core::areas::swarm::ingress::Action;

use super::overlay::make;
use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, Action(network): &Action) -> Result<(), ActuateError> {
    make(network, &on.engine()?)
}
