//! Whether tasks are given to a node: set together with the record of who said so, in one write.

use bollard::models::NodeSpecAvailabilityEnum;
use enxame_core::areas::swarm::availability::{Action, Availability, RECORD};

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
