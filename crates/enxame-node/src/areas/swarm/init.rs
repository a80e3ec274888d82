//! Founding the swarm (manual 5.2, corrected): with the data path's address and port and the address pool said.

use bollard::models::{SwarmInitRequest, SwarmSpec, SwarmSpecDispatcher, SwarmSpecEncryptionConfig};
use enxame_core::areas::swarm::endpoint;
use enxame_core::areas::swarm::init::Action;
use enxame_core::config::SWARM_MANAGEMENT_PORT;

use crate::actuate::{ActuateError, Context};
use crate::swarm;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let engine = on.engine()?;
    if swarm::local(&engine)?.node_id.is_some_and(|id| !id.is_empty()) {
        return swarm::wait_until_manager(&engine, swarm::WRITE);
    }
    let spec = SwarmSpec {
        dispatcher: Some(SwarmSpecDispatcher {
            heartbeat_period: i64::try_from(action.heartbeat.as_nanos()).ok(),
        }),
        encryption_config: Some(SwarmSpecEncryptionConfig { auto_lock_managers: Some(action.autolock) }),
        ..SwarmSpec::default()
    };
    let request = SwarmInitRequest {
        listen_addr: Some(endpoint(action.address, SWARM_MANAGEMENT_PORT)),
        advertise_addr: Some(endpoint(action.address, SWARM_MANAGEMENT_PORT)),
        data_path_addr: Some(action.address.to_string()),
        data_path_port: Some(u32::from(action.data_path_port)),
        default_addr_pool: Some(vec![action.address_pool.clone()]),
        subnet_size: Some(u32::from(action.subnet_size)),
        force_new_cluster: Some(false),
        spec: Some(spec),
    };
    engine.call("found the swarm", swarm::WRITE, engine.api().init_swarm(request))?;
    swarm::wait_until_manager(&engine, swarm::WRITE)
}
