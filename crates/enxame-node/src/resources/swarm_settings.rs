//! The settings of a swarm that can change while it lives: heartbeat and autolock.

use std::time::Duration;

use bollard::models::{SwarmSpecDispatcher, SwarmSpecEncryptionConfig};
use bollard::query_parameters::UpdateSwarmOptionsBuilder;
use enxame_core::change::{Difference, Kind};
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Scope, View};
use enxame_core::facts::FactsQuery;
use serde::{Deserialize, Serialize};

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::swarm;

const KIND: Kind = Kind::of("swarm_settings");

/// See the module.
pub(super) struct SwarmSettings;

#[derive(Serialize, Deserialize)]
struct Action {
    heartbeat: Duration,
    autolock: bool,
}

impl Declare for SwarmSettings {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "5.2"
    }

    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn after(&self) -> &'static [Kind] {
        const { &[super::swarm_init::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery::default()
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let Some(settings) = view.facts.engine.swarm().and_then(|swarm| swarm.settings.as_ref()) else {
            return Declaration::nothing();
        };
        let wanted = &view.config.swarm;
        let mut differences = Vec::new();
        if u128::from(settings.heartbeat_ns) != wanted.heartbeat.as_nanos() {
            let now = Duration::from_nanos(settings.heartbeat_ns);
            differences.push(Difference::changed(
                "heartbeat",
                format!("{now:?}"),
                format!("{:?}", wanted.heartbeat),
            ));
        }
        if settings.autolock != wanted.autolock {
            differences.push(Difference::changed(
                "autolock",
                settings.autolock.to_string(),
                wanted.autolock.to_string(),
            ));
        }
        if differences.is_empty() {
            return Declaration::nothing();
        }
        let action = Action { heartbeat: wanted.heartbeat, autolock: wanted.autolock };
        Draft::new("change the swarm's settings", "cluster.yaml says so", &action)
            .differing(differences)
            .into()
    }
}

impl Resource for SwarmSettings {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        let action: Action = read_action(action)?;
        let engine = on.engine()?;
        let now = engine.call("show the swarm", swarm::LOOK, engine.api().inspect_swarm())?;
        let version = now.version.and_then(|version| version.index).unwrap_or_default();
        // The whole specification is replaced: what is not changed goes back as it came.
        let mut spec = now.spec.unwrap_or_default();
        spec.dispatcher =
            Some(SwarmSpecDispatcher { heartbeat_period: i64::try_from(action.heartbeat.as_nanos()).ok() });
        spec.encryption_config =
            Some(SwarmSpecEncryptionConfig { auto_lock_managers: Some(action.autolock) });
        let options =
            UpdateSwarmOptionsBuilder::default().version(i64::try_from(version).unwrap_or(i64::MAX)).build();
        engine.call("change the swarm's settings", swarm::WRITE, engine.api().update_swarm(spec, options))?;
        Ok(())
    }
}
