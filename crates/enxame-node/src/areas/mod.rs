//! What acts on a node, by the areas of `enxame-core`: whoever knows the area finds here what carries its actions out.
//!
//! Nothing here decides: an action says all there is to do. Invariant: an action that is not handled does not compile.

pub(crate) mod engine;
pub(crate) mod firewall;
pub(crate) mod machine;
pub(crate) mod stacks;
pub(crate) mod storage;
pub(crate) mod swarm;
pub(crate) mod tunnel;

use enxame_core::areas::Action;

use crate::actuate::{ActuateError, Context};
use crate::before;
use crate::deadman::WayBack;
use crate::host::Host;

/// Makes the node what `action` says. Doing it twice is the same as doing it once.
///
/// # Errors
/// [`ActuateError`]; the node is left in a state from which the next apply goes on.
pub fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    before::keep(on.host, &action.touches())?;
    match action {
        Action::Machine(action) => machine::act(on, action),
        Action::Firewall(action) => firewall::act(on, action),
        Action::Engine(action) => engine::act(on, action),
        Action::Swarm(action) => swarm::act(on, action),
        Action::Tunnel(action) => tunnel::act(on, action),
        Action::Storage(action) => storage::act(on, action),
        Action::Stacks(action) => stacks::act(on, action),
    }
}

#[cfg(test)]
mod round_trip;

/// How the node goes back from this action by itself; only for what may cut off SSH, which is then done under the
/// dead-man switch.
///
/// # Errors
/// When what is there now cannot be kept; the action is then not carried out.
pub fn way_back(host: &dyn Host, action: &Action) -> Result<Option<WayBack>, ActuateError> {
    match action {
        Action::Firewall(action) => firewall::way_back(host, action),
        Action::Machine(_)
        | Action::Engine(_)
        | Action::Swarm(_)
        | Action::Tunnel(_)
        | Action::Storage(_)
        | Action::Stacks(_) => Ok(None),
    }
}
