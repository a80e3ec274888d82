//! Labels of nodes (manual 5.2, corrected): a key for each role, so that none overwrites another. Labels that are
//! not enxame's stay.

use enxame_core::areas::swarm::labels::Action;

use crate::actuate::{ActuateError, Context};
use crate::swarm;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let engine = on.engine()?;
    let nodes = swarm::nodes(&engine)?;
    let node = swarm::node_at(&nodes, action.address).ok_or_else(|| {
        let message = format!("the swarm has no node at {}", action.address);
        ActuateError::wrong(message, "`docker node ls` shows the addresses it has")
    })?;
    let id = node.id.clone().unwrap_or_default();
    swarm::update_node(&engine, &id, |spec| {
        let labels = spec.labels.get_or_insert_default();
        labels.retain(|key, _| !action.remove.contains(key));
        labels.extend(action.set.clone());
    })?;
    Ok(())
}
