//! What reaches a node and what leaves it.

pub(crate) mod guard;
mod packages;
mod removal;
mod ufw;

use enxame_core::areas::firewall::Action;

use crate::actuate::{ActuateError, Context};
use crate::deadman::WayBack;
use crate::host::Host;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Packages(action) => packages::act(on, action),
        Action::Guard(action) => guard::act(on, action),
        Action::Ufw(action) => ufw::act(on, action),
        Action::Removal(action) => removal::act(on, action),
    }
}

pub(super) fn way_back(host: &dyn Host, action: &Action) -> Result<Option<WayBack>, ActuateError> {
    match action {
        Action::Packages(_) => Ok(None),
        Action::Guard(_) => guard::way_back(host).map(Some),
        Action::Ufw(_) => ufw::way_back(host).map(Some),
        Action::Removal(action) => removal::way_back(host, action),
    }
}
