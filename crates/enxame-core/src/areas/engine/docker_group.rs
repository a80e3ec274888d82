//! The group `docker` (manual 5.1): only the accounts that the configuration names, because whoever is in it is root.

use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Scope, SwarmFate, View};
use crate::facts::FactsQuery;
use serde::{Deserialize, Serialize};

pub(crate) const KIND: Kind = Kind::of("docker_group");

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The accounts to put in.
    pub accounts: Vec<String>,
}

/// See the module.
pub(crate) struct DockerGroup;

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
        const { &[super::package::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery::default()
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let members = view.facts.docker_group_members.as_deref().unwrap_or_default();
        let accounts = view.config.engine.docker_group.iter();
        let missing: Vec<String> = accounts.filter(|account| !members.contains(account)).cloned().collect();
        if missing.is_empty() {
            return Declaration::nothing();
        }
        let reason = "cluster.yaml names them; they become root on this node by it";
        let differences: Vec<Difference> =
            missing.iter().map(|account| Difference::added("group docker", account.as_str())).collect();
        Draft::new("put accounts in the group docker", reason, Action { accounts: missing })
            .differing(differences)
            .into()
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::docker_group(view)
    }
}
