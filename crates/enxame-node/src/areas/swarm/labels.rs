//! Labels of nodes (manual 5.2, corrected): a key for each role, so that none overwrites another. Labels that are
//! not enxame's stay.

use enxame_core::areas::swarm::labels::Action;

use crate::actuate::{ActuateError, Context};
use crate::swarm;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let engine = on.engine()?;
    let id = swarm::node_id_at(&engine, action.address)?;
    swarm::update_node(&engine, &id, |spec| {
        let labels = spec.labels.get_or_insert_default();
        labels.retain(|key, _| !action.remove.contains(key));
        labels.extend(action.set.clone());
    })?;
    Ok(())
}
