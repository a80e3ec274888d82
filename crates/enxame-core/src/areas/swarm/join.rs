//! Joining (manual 5.2, corrected): every node a manager, with a token that goes from one engine to the other
//! through the operator's memory and is never printed or written.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::change::{Difference, Handover, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{FactsQuery, LocalSwarmState, SwarmNodeFacts};
use serde::{Deserialize, Serialize};

pub(crate) const KIND: Kind = Kind::of("swarm_join");

/// See the module.
pub(crate) struct SwarmJoin;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Join as a manager.
    Join {
        /// The node's own address.
        address: IpAddr,
        /// The managers to ask.
        managers: Vec<IpAddr>,
    },
    /// Make a manager of a worker.
    Promote {
        /// Its id in the swarm.
        node_id: String,
    },
}

impl Declare for SwarmJoin {
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
        let mut declaration = Declaration::nothing();
        // What a node that does not answer belongs to is not known.
        let seen = |node: &&NodeConfig| view.all.get(&node.name).is_some();
        for node in view.config.peers_of(&view.node.name).filter(seen) {
            let own = view.all.get(&node.name).and_then(|facts| facts.engine.swarm());
            match (own.map(|swarm| swarm.local), super::member(view, node)) {
                _ if joins(view, node) => declaration.change(join(view, node)),
                (Some(LocalSwarmState::Pending), None) => declaration.findings.push(Finding::error("5.2", "is still joining the swarm", "are 2377/tcp and 7946 (tcp and udp) open between the nodes? To begin anew, on the node: \
                           docker swarm leave --force"
                        ).on(&node.name)),
                (Some(LocalSwarmState::Active | LocalSwarmState::Pending), seen) => {
                    member(view, node, seen, &mut declaration);
                }
                // A member whose engine rests comes back with it; the plan's own checks name the others.
                (None | Some(LocalSwarmState::Inactive | LocalSwarmState::Error | LocalSwarmState::Locked), _) => {}
            }
        }
        for node in &view.config.nodes {
            declaration.findings.extend(other_address(view, node));
        }
        strangers(view, &mut declaration);
        declaration
    }

    fn undeclare(&self, view: &View<'_>, swarm: SwarmFate) -> Declaration {
        super::removal::leave(view, swarm)
    }
}

/// Whether a peer is about to join.
pub(super) fn joins(view: &View<'_>, node: &NodeConfig) -> bool {
    let is_peer = node.name != view.node.name;
    let Some(facts) = view.all.get(&node.name).filter(|_| is_peer) else { return false };
    match facts.engine.swarm().map(|swarm| swarm.local) {
        None => super::member(view, node).is_none(),
        Some(local) => local == LocalSwarmState::Inactive,
    }
}

fn join(view: &View<'_>, node: &NodeConfig) -> Draft {
    let action = Action::Join { address: node.address, managers: vec![view.node.address] };
    let differences = [
        Difference::added("swarm", format!("manager, through {}", view.node.name)),
        Difference::added("advertise address", node.address.to_string()),
    ];
    let summary = format!("join {} as a manager", node.name);
    Draft::new(summary, "three managers survive the loss of one", action)
        .on(&node.name)
        .about(&node.name)
        .handed(Handover::ManagerToken { from: view.node.name.clone() })
        .differing(differences)
}

fn member(view: &View<'_>, node: &NodeConfig, seen: Option<&SwarmNodeFacts>, declaration: &mut Declaration) {
    match seen {
        None => declaration.findings.push(
            Finding::error(
                "5.2",
                format!("belongs to another swarm than {}", view.node.name),
                "if that swarm is not wanted, on the node: docker swarm leave --force",
            )
            .on(&node.name),
        ),
        Some(seen) if !seen.is_manager => {
            let draft = Draft::new(
                format!("promote {} to manager", node.name),
                "three managers survive the loss of one",
                Action::Promote { node_id: seen.id.clone() },
            );
            let difference = Difference::changed("role", "worker", "manager");
            declaration.change(draft.about(&node.name).item(node.name.as_str()).differing([difference]));
        }
        Some(_) => {}
    }
}

/// A member that its peers reach at another address than `cluster.yaml` says: its VXLAN goes there too.
fn other_address(view: &View<'_>, node: &NodeConfig) -> Option<Finding> {
    let own = view.all.get(&node.name)?.engine.swarm()?;
    let other = own.node_address.parse::<IpAddr>().ok().filter(|address| *address != node.address)?;
    (own.local == LocalSwarmState::Active).then(|| {
        Finding::error(
            "5.2",
            format!("is in the swarm with the address {other}, not {}", node.address),
            "write the address it has into cluster.yaml, or let the node leave and join again",
        )
        .on(&node.name)
    })
}

/// Nodes of the swarm that the configuration does not know.
fn strangers(view: &View<'_>, declaration: &mut Declaration) {
    let is_joining = !declaration.drafts.is_empty();
    let members = view.config.nodes.iter().filter_map(|node| super::member(view, node));
    let known: BTreeSet<&str> = members.map(|member| member.id.as_str()).collect();
    for stranger in view.facts.engine.swarm().map(|swarm| swarm.nodes.as_slice()).unwrap_or_default() {
        if !known.contains(stranger.id.as_str()) {
            let id = &stranger.id;
            let removal = if stranger.is_manager {
                format!("docker node demote {id} && docker node rm --force {id}")
            } else {
                format!("docker node rm --force {id}")
            };
            // One more to count, and none more to vote: the next loss would be the quorum's.
            let weakens = stranger.is_manager && stranger.state != "ready" && is_joining;
            let message = format!(
                "the swarm has a node {} ({}, {}) that cluster.yaml does not know",
                stranger.hostname, stranger.id, stranger.state
            );
            declaration.findings.push(if weakens {
                let hint = format!(
                    "a manager that is gone still counts for the quorum. Before another joins: {removal}"
                );
                Finding::error("5.2", message, hint)
            } else {
                let hint = format!("write it into cluster.yaml or, once it is down: {removal}");
                Finding::warning("5.2", message, hint)
            });
        }
    }
}
