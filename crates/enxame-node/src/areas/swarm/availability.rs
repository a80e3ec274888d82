//! Whether tasks are given to a node: set together with the record of who said so, in one write.

use bollard::models::NodeSpecAvailabilityEnum;
use enxame_core::areas::swarm::availability::{Action, Availability, RECORD};

use crate::actuate::{ActuateError, Context};
use crate::swarm;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let engine = on.engine()?;
    let id = swarm::node_id_at(&engine, action.address)?;
    swarm::update_node(&engine, &id, |spec| {
        let labels = spec.labels.get_or_insert_default();
        match &action.availability {
            Availability::Active => {
                labels.remove(RECORD);
                spec.availability = Some(NodeSpecAvailabilityEnum::ACTIVE);
            }
            Availability::Drain { record } => {
                labels.insert(RECORD.to_owned(), record.clone());
                spec.availability = Some(NodeSpecAvailabilityEnum::DRAIN);
            }
        }
    })?;
    Ok(())
}
