//! The settings of a swarm that can change while it lives: heartbeat and autolock.

use bollard::models::{SwarmSpecDispatcher, SwarmSpecEncryptionConfig};
use bollard::query_parameters::UpdateSwarmOptionsBuilder;
use enxame_core::areas::swarm::settings::Action;

use crate::actuate::{ActuateError, Context};
use crate::swarm;

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let engine = on.engine()?;
    let now = engine.call("show the swarm", swarm::LOOK, engine.api().inspect_swarm())?;
    let version = now.version.and_then(|version| version.index).unwrap_or_default();
    // The whole specification is replaced: what is not changed goes back as it came.
    let mut spec = now.spec.unwrap_or_default();
    spec.dispatcher =
        Some(SwarmSpecDispatcher { heartbeat_period: i64::try_from(action.heartbeat.as_nanos()).ok() });
    spec.encryption_config = Some(SwarmSpecEncryptionConfig { auto_lock_managers: Some(action.autolock) });
    let options =
        UpdateSwarmOptionsBuilder::default().version(i64::try_from(version).unwrap_or(i64::MAX)).build();
    engine.call("change the swarm's settings", swarm::WRITE, engine.api().update_swarm(spec, options))?;
    Ok(())
}
