//! Joining (manual 5.2, corrected): every node a manager, with a token that goes from one engine to the other
//! through the operator's memory and is never printed or written.

use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{NodeSpecRoleEnum, SwarmInfo, SwarmJoinRequest};
use enxame_core::areas::swarm::endpoint;
use enxame_core::areas::swarm::join::Action;
use enxame_core::config::SWARM_MANAGEMENT_PORT;

use crate::actuate::{ActuateError, Context};
use crate::swarm;

/// A join copies the raft log; the engine itself gives up waiting after 20 s and goes on in the background.
const JOIN_DEADLINE: Duration = Duration::from_secs(120);

/// A node with an id may have come back from the data of a swarm that an earlier engine left behind.
fn refuse_another_swarm(own: SwarmInfo, managers: &[IpAddr]) -> Result<(), ActuateError> {
    let known: Vec<String> =
        own.remote_managers.unwrap_or_default().into_iter().filter_map(|peer| peer.addr).collect();
    let is_ours = managers.iter().any(|manager| known.contains(&endpoint(*manager, SWARM_MANAGEMENT_PORT)));
    if is_ours {
        return Ok(());
    }
    Err(ActuateError::wrong(
        format!("the node is in a swarm with the managers {}", known.join(", ")),
        "it is not the one to join: look at what runs there before you let it go (docker swarm leave --force)",
    ))
}

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let engine = on.engine()?;
    match action {
        Action::Join { address, managers } => {
            let own = swarm::local(&engine)?;
            if own.node_id.as_ref().is_some_and(|id| !id.is_empty()) {
                refuse_another_swarm(own, managers)?;
                return swarm::wait_until_manager(&engine, JOIN_DEADLINE);
            }
            let token = on.handed.ok_or_else(|| ActuateError::wrong("no token was handed over", ""))?;
            let request = SwarmJoinRequest {
                listen_addr: Some(endpoint(*address, SWARM_MANAGEMENT_PORT)),
                advertise_addr: Some(endpoint(*address, SWARM_MANAGEMENT_PORT)),
                data_path_addr: Some(address.to_string()),
                remote_addrs: Some(
                    managers.iter().map(|manager| endpoint(*manager, SWARM_MANAGEMENT_PORT)).collect(),
                ),
                join_token: Some(token.reveal().to_owned()),
            };
            let joined = engine.call("join the swarm", JOIN_DEADLINE, engine.api().join_swarm(request));
            // "Timeout was reached before node joined. The attempt to join the swarm will continue in the
            // background": whether it did is for the engine's own state to say.
            if let Err(error) = joined {
                let goes_on = swarm::local(&engine)?.local_node_state;
                if goes_on != Some(bollard::models::LocalNodeState::PENDING) {
                    return Err(error.into());
                }
            }
            swarm::wait_until_manager(&engine, JOIN_DEADLINE)
        }
        Action::Promote { node_id } => {
            swarm::update_node(&engine, node_id, |spec| spec.role = Some(NodeSpecRoleEnum::MANAGER))?;
            Ok(())
        }
    }
}
