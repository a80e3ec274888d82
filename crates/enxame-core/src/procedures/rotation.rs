//! Other keys for what nodes know each other by.

use std::collections::BTreeSet;

use super::ProcedureError;
use crate::areas::{self, Action, tunnel};
use crate::change::{ChangeId, Difference, Risk};
use crate::config::{Config, NodeConfig};
use crate::declare::Finding;
use crate::facts::{ClusterFacts, KeyFacts, digest_of};
use crate::plan::{self, Plan};

/// Another key for the tunnels on every node: each makes its own, and all others get its public half in the same run. What is
/// interrupted on the way is a difference that `apply` mends as well.
///
/// # Errors
/// [`ProcedureError`]: every node must answer, since whoever keeps an old key of another is cut off from it.
pub fn rotate_tunnel_keys(config: &Config, facts: &ClusterFacts) -> Result<Plan, ProcedureError> {
    if config.tunnel.is_none() {
        return Err(ProcedureError::NoTunnels);
    }
    if let Some((node, why)) = facts.holes().next() {
        return Err(ProcedureError::Unreachable(node.clone(), why.to_owned()));
    }
    let comes_through = |node: &&NodeConfig| {
        let seen = facts.get(&node.name).and_then(|seen| Some((seen, seen.ssh_session?)));
        seen.is_some_and(|(seen, session)| tunnel::carries(seen, session))
    };
    if let Some(node) = config.nodes.iter().find(comes_through) {
        return Err(ProcedureError::ThroughTheTunnel(node.name.clone()));
    }
    // What they would make of a node without a key is what they are to make of one whose key goes.
    let mut forgotten = facts.clone();
    for node in &config.nodes {
        let Some(seen) = forgotten.get_mut(&node.name) else { continue };
        match &seen.tunnel.key {
            KeyFacts::Usable { .. } => seen.tunnel.key = KeyFacts::Absent,
            KeyFacts::Absent | KeyFacts::Unread(_) | KeyFacts::Unusable(_) => {
                return Err(ProcedureError::NoKey(node.name.clone()));
            }
        }
    }
    let mut plan = plan::make(config, &forgotten, None, areas::resources())?;
    plan.facts = digest_of(facts);
    plan.changes.retain(|change| matches!(change.action, Action::Tunnel(_)));
    // What stands in the way of something else is none of its affair.
    plan.findings.retain(|finding| finding.section == tunnel::SECTION);
    let ids: BTreeSet<ChangeId> = plan.changes.iter().map(|change| change.id.clone()).collect();
    for change in &mut plan.changes {
        change.after.retain(|id| ids.contains(id));
        change.behind.retain(|id| ids.contains(id));
        match &mut change.action {
            Action::Tunnel(tunnel::Action::Key(action)) => {
                action.renew = true;
                "make another key for the tunnels".clone_into(&mut change.summary);
                "it was asked for".clone_into(&mut change.reason);
                change.differences =
                    vec![Difference::changed(tunnel::KEY_PATH, "the key in use", "a new key")];
            }
            Action::Tunnel(tunnel::Action::Interface(_)) => {
                "take the other nodes' new keys".clone_into(&mut change.summary);
                let meanwhile =
                    "what goes through the tunnels waits until both ends have each other's new key";
                change.risk = Risk::Restarts(format!("{}: {meanwhile}", tunnel::INTERFACE));
            }
            _ => {}
        }
    }
    let operators: Vec<&str> = config.operators().map(|operator| operator.name.as_str()).collect();
    if !operators.is_empty() {
        let message = format!("the own files of {} have the old keys then", operators.join(", "));
        let hint =
            "`enxame tunnel config NAME` prints each anew; until then nobody of them gets in by the tunnels";
        plan.findings.push(Finding::warning("4", message, hint));
    }
    Ok(plan)
}
