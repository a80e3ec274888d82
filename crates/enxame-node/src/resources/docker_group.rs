//! The group `docker` (manual 5.1): only the accounts that the configuration names, because whoever is in it is root.

use enxame_core::change::{Difference, Kind};
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Scope, View};
use enxame_core::facts::FactsQuery;

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::host::Command;

const KIND: Kind = Kind::of("docker_group");

/// See the module.
pub(super) struct DockerGroup;

impl Declare for DockerGroup {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "5.1"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        const { &[super::engine_package::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery::default()
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let members = view.facts.docker_group_members.as_deref().unwrap_or_default();
        let missing: Vec<&String> =
            view.config.engine.docker_group.iter().filter(|account| !members.contains(account)).collect();
        if missing.is_empty() {
            return Declaration::nothing();
        }
        let reason = "cluster.yaml names them; they become root on this node by it";
        let differences = missing.iter().map(|account| Difference::added("group docker", account.as_str()));
        Draft::new("put accounts in the group docker", reason, &missing).differing(differences).into()
    }
}

impl Resource for DockerGroup {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        for account in read_action::<Vec<String>>(action)? {
            on.host.run_ok(&Command::new(["usermod", "-aG", "docker", "--", &account]))?;
        }
        Ok(())
    }
}
