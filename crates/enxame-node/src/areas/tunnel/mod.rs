//! The tunnels between the nodes: a `WireGuard` interface, its peers and the node's own key.
//!
//! Invariant: the private key is read and written here, and goes to `wg` through its standard input alone.

mod interface;
mod key;
pub(crate) mod look;
mod removal;

use enxame_core::areas::tunnel::Action;

use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Key(action) => key::act(on, action),
        Action::Interface(action) => interface::act(on, action),
        Action::Removal(_) => removal::act(on),
    }
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
