//! Leaving the swarm, where the user says so: its labels, networks and services go with it.

use serde::{Deserialize, Serialize};

use crate::change::{Difference, Risk};
use crate::declare::{Declaration, Draft, Finding, SwarmFate, View};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Leave it, by force: no manager is to be left.
    Leave,
}

/// Of every node at once: none needs another to leave.
pub(super) fn leave(view: &View<'_>, swarm: SwarmFate) -> Declaration {
    let mut declaration = Declaration::nothing();
    if swarm == SwarmFate::Stays {
        return declaration;
    }
    for node in &view.config.nodes {
        let Some(facts) = view.all.get(&node.name).filter(|facts| facts.is_swarm_member()) else { continue };
        if facts.engine.swarm().is_none() {
            let message = "is in a swarm, and its engine does not answer: it cannot leave";
            let hint = "see `journalctl -u docker` on the node, or uninstall without --swarm";
            declaration.findings.push(Finding::error("5.2", message, hint).on(&node.name));
            continue;
        }
        let reason = "--swarm was said; volumes stay on the disk";
        let draft = Draft::new("leave the swarm", reason, Action::Leave).on(&node.name);
        let draft = draft.risking(Risk::Disruptive("all services of the swarm end".to_owned()));
        declaration.change(draft.differing([Difference::removed("swarm", "member")]));
    }
    declaration
}
