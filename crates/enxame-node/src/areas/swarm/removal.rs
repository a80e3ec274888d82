//! Leaving the swarm.

use std::time::Duration;

use bollard::models::LocalNodeState;
use bollard::query_parameters::LeaveSwarmOptionsBuilder;
use enxame_core::areas::swarm::removal::Action;

use crate::actuate::{ActuateError, Context};
use crate::swarm;

/// It ends the node's tasks first.
const LEAVE: Duration = Duration::from_secs(120);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Leave => {
            let engine = on.engine()?;
            if swarm::local(&engine)?.local_node_state == Some(LocalNodeState::INACTIVE) {
                return Ok(());
            }
            let by_force = LeaveSwarmOptionsBuilder::new().force(true).build();
            Ok(engine.call("leave the swarm", LEAVE, engine.api().leave_swarm(Some(by_force)))?)
        }
    }
}
