//! The group `docker` (manual 5.1): only the accounts that the configuration names, because whoever is in it is root.

use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
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
        let named = &view.config.engine.docker_group;
        let findings = members
            .iter()
            .filter(|account| !named.contains(*account) && *account != "root")
            .map(|account| unnamed(account).on(&view.node.name))
            .collect();
        let missing: Vec<String> =
            named.iter().filter(|account| !members.contains(account)).cloned().collect();
        let differences: Vec<Difference> =
            missing.iter().map(|account| Difference::added("group docker", account.as_str())).collect();
        let reason = "cluster.yaml names them; they become root on this node by it";
        let draft = Draft::new("put accounts in the group docker", reason, Action { accounts: missing });
        let drafts = if differences.is_empty() { Vec::new() } else { vec![draft.differing(differences)] };
        Declaration { drafts, findings }
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::docker_group(view)
    }
}

/// Whoever is in the group and not in the file: put there by hand, or by an earlier file. Taking it out could end
/// what somebody counts on, so it is said and not done.
fn unnamed(account: &str) -> Finding {
    let message = format!(
        "{account} is in the group docker, and so root on this node, and cluster.yaml does not name it"
    );
    let hint = format!(
        "on the node: gpasswd -d {account} docker (or, where docker is its login group, usermod -g GROUP {account}); \
         or name it in engine.docker_group"
    );
    Finding::warning("5.1", message, hint)
}
