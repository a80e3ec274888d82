//! The settings of a swarm that can change while it lives: heartbeat and autolock.

use std::time::Duration;

use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Scope, SwarmFate, View};
use crate::facts::FactsQuery;
use serde::{Deserialize, Serialize};

pub(crate) const KIND: Kind = Kind::of("swarm_settings");

/// See the module.
pub(crate) struct SwarmSettings;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The dispatcher's heartbeat.
    pub heartbeat: Duration,
    /// Whether managers must be unlocked after a restart.
    pub autolock: bool,
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
        const { &[super::init::KIND] }
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
        Draft::new("change the swarm's settings", "cluster.yaml says so", action)
            .differing(differences)
            .into()
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // Nothing of its own: it goes with the swarm.
        Declaration::nothing()
    }
}
