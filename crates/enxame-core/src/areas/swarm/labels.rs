//! Labels of nodes (manual 5.2, corrected): a key for each role, so that none overwrites another. Labels that are
//! not enxame's stay.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Scope, SwarmFate, View};
use crate::facts::FactsQuery;
use serde::{Deserialize, Serialize};

pub(crate) const KIND: Kind = Kind::of("labels");
/// Keys that a node gets from its roles and loses with them.
const ROLE_KEYS: [&str; 3] = ["storage", "db", "proxy"];

/// See the module.
pub(crate) struct Labels;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The address of the node that gets them.
    pub address: IpAddr,
    /// Labels to set.
    pub set: BTreeMap<String, String>,
    /// Labels to take away.
    pub remove: Vec<String>,
}

impl Declare for Labels {
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
        const { &[super::join::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery::default()
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let mut declaration = Declaration::nothing();
        let empty = BTreeMap::new();
        for node in &view.config.nodes {
            let seen = super::member(view, node);
            // Whoever is in no swarm, and does not get into one by this plan, has nothing to be labelled.
            if seen.is_none() && node.name != view.node.name && !super::join::joins(view, node) {
                continue;
            }
            let labels = seen.map_or(&empty, |seen| &seen.labels);
            if let Some(draft) = labelled(node, labels) {
                declaration.change(draft);
            }
        }
        declaration
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // Nothing of its own: they go with the swarm.
        Declaration::nothing()
    }
}

fn labelled(node: &NodeConfig, now: &BTreeMap<String, String>) -> Option<Draft> {
    let wanted = node.swarm_labels();
    let set: BTreeMap<String, String> = wanted
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let remove: Vec<String> = ROLE_KEYS
        .iter()
        .filter(|key| now.contains_key(**key) && !wanted.contains_key(**key))
        .map(|key| (*key).to_owned())
        .collect();
    if set.is_empty() && remove.is_empty() {
        return None;
    }
    let set_differences = set.iter().map(|(key, value)| Difference {
        field: format!("label {key}").into(),
        old: now.get(key).cloned(),
        new: Some(value.clone()),
    });
    let removed = remove.iter().map(|key| Difference {
        field: format!("label {key}").into(),
        old: now.get(key).cloned(),
        new: None,
    });
    let differences: Vec<Difference> = set_differences.chain(removed).collect();
    let reason = "stacks choose nodes by these labels, not by host names";
    let action = Action { address: node.address, set, remove };
    let draft = Draft::new(format!("label {}", node.name), reason, action);
    Some(draft.about(&node.name).item(node.name.as_str()).differing(differences))
}
