//! Joining (manual 5.2, corrected): every node a manager, with a token that goes from one engine to the other
//! through the operator's memory and is never printed or written.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{NodeSpecRoleEnum, SwarmInfo, SwarmJoinRequest};
use enxame_core::change::{Difference, Handover, Kind};
use enxame_core::config::{Config, NodeConfig, SWARM_MANAGEMENT_PORT};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View};
use enxame_core::facts::{FactsQuery, LocalSwarmState, SwarmNodeFacts};
use serde::{Deserialize, Serialize};

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::swarm;

const KIND: Kind = Kind::of("swarm_join");
/// A join copies the raft log; the engine itself gives up waiting after 20 s and goes on in the background.
const JOIN_DEADLINE: Duration = Duration::from_secs(120);

/// See the module.
pub(super) struct SwarmJoin;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Join { address: IpAddr, managers: Vec<IpAddr> },
    Promote { node_id: String },
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
        const { &[super::swarm_init::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery::default()
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let mut declaration = Declaration::nothing();
        for node in view.config.peers_of(&view.node.name) {
            let own = view.all.get(&node.name).and_then(|facts| facts.engine.swarm());
            match (own.map(|swarm| swarm.local), swarm::member(view, node)) {
                (None, None) | (Some(LocalSwarmState::Inactive), _) => declaration.change(join(view, node)),
                (Some(LocalSwarmState::Pending), None) => declaration.findings.push(Finding {
                    severity: Severity::Error,
                    node: Some(node.name.clone()),
                    section: "5.2".to_owned(),
                    message: "is still joining the swarm".to_owned(),
                    hint: "are 2377/tcp and 7946 (tcp and udp) open between the nodes? To begin anew, on the node: \
                           docker swarm leave --force"
                        .to_owned(), waiver: None }),
                (Some(LocalSwarmState::Active | LocalSwarmState::Pending), seen) => {
                    member(view, node, seen, &mut declaration);
                }
                // A member whose engine rests comes back with it; the plan's own checks name the others.
                (None, Some(_)) | (Some(LocalSwarmState::Error | LocalSwarmState::Locked), _) => {}
            }
        }
        for node in &view.config.nodes {
            declaration.findings.extend(other_address(view, node));
        }
        strangers(view, &mut declaration);
        declaration
    }
}

fn join(view: &View<'_>, node: &NodeConfig) -> Draft {
    let action = Action::Join { address: node.address, managers: vec![view.node.address] };
    let differences = [
        Difference::added("swarm", format!("manager, through {}", view.node.name)),
        Difference::added("advertise address", node.address.to_string()),
    ];
    let summary = format!("join {} as a manager", node.name);
    Draft::new(summary, "three managers survive the loss of one", &action)
        .on(&node.name)
        .handed(Handover::ManagerToken { from: view.node.name.clone() })
        .differing(differences)
}

fn member(view: &View<'_>, node: &NodeConfig, seen: Option<&SwarmNodeFacts>, declaration: &mut Declaration) {
    match seen {
        None => declaration.findings.push(Finding {
            severity: Severity::Error,
            node: Some(node.name.clone()),
            section: "5.2".to_owned(),
            message: format!("belongs to another swarm than {}", view.node.name),
            hint: "if that swarm is not wanted, on the node: docker swarm leave --force".to_owned(),
            waiver: None,
        }),
        Some(seen) if !seen.is_manager => {
            let draft = Draft::new(
                format!("promote {} to manager", node.name),
                "three managers survive the loss of one",
                &Action::Promote { node_id: seen.id.clone() },
            );
            let difference = Difference::changed("role", "worker", "manager");
            declaration.change(draft.item(node.name.as_str()).differing([difference]));
        }
        Some(_) => {}
    }
}

/// A member that its peers reach at another address than `cluster.yaml` says: its VXLAN goes there too.
fn other_address(view: &View<'_>, node: &NodeConfig) -> Option<Finding> {
    let own = view.all.get(&node.name)?.engine.swarm()?;
    let other = own.node_address.parse::<IpAddr>().ok().filter(|address| *address != node.address)?;
    (own.local == LocalSwarmState::Active).then(|| Finding {
        severity: Severity::Error,
        node: Some(node.name.clone()),
        section: "5.2".to_owned(),
        message: format!("is in the swarm with the address {other}, not {}", node.address),
        hint: "write the address it has into cluster.yaml, or let the node leave and join again".to_owned(),
        waiver: None,
    })
}

/// Nodes of the swarm that the configuration does not know.
fn strangers(view: &View<'_>, declaration: &mut Declaration) {
    let is_joining = !declaration.drafts.is_empty();
    let members = view.config.nodes.iter().filter_map(|node| swarm::member(view, node));
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
            declaration.findings.push(Finding {
                severity: if weakens { Severity::Error } else { Severity::Warning },
                node: None,
                section: "5.2".to_owned(),
                message: format!(
                    "the swarm has a node {} ({}, {}) that cluster.yaml does not know",
                    stranger.hostname, stranger.id, stranger.state
                ),
                hint: if weakens {
                    format!(
                        "a manager that is gone still counts for the quorum. Before another joins: {removal}"
                    )
                } else {
                    format!("write it into cluster.yaml or, once it is down: {removal}")
                },
                waiver: None,
            });
        }
    }
}

/// A node with an id may have come back from the data of a swarm that an earlier engine left behind.
fn refuse_another_swarm(own: SwarmInfo, managers: &[IpAddr]) -> Result<(), ActuateError> {
    let known: Vec<String> =
        own.remote_managers.unwrap_or_default().into_iter().filter_map(|peer| peer.addr).collect();
    let is_ours =
        managers.iter().any(|manager| known.contains(&swarm::endpoint(*manager, SWARM_MANAGEMENT_PORT)));
    if is_ours {
        return Ok(());
    }
    Err(ActuateError::wrong(
        format!("the node is in a swarm with the managers {}", known.join(", ")),
        "it is not the one to join: look at what runs there before you let it go (docker swarm leave --force)",
    ))
}

impl Resource for SwarmJoin {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        let engine = on.engine()?;
        match read_action(action)? {
            Action::Join { address, managers } => {
                let own = swarm::local(&engine)?;
                if own.node_id.as_ref().is_some_and(|id| !id.is_empty()) {
                    refuse_another_swarm(own, &managers)?;
                    return swarm::wait_until_manager(&engine, JOIN_DEADLINE);
                }
                let token = on.handed.ok_or_else(|| ActuateError::wrong("no token was handed over", ""))?;
                let request = SwarmJoinRequest {
                    listen_addr: Some(swarm::endpoint(address, SWARM_MANAGEMENT_PORT)),
                    advertise_addr: Some(swarm::endpoint(address, SWARM_MANAGEMENT_PORT)),
                    data_path_addr: Some(address.to_string()),
                    remote_addrs: Some(
                        managers
                            .into_iter()
                            .map(|manager| swarm::endpoint(manager, SWARM_MANAGEMENT_PORT))
                            .collect(),
                    ),
                    join_token: Some(token.reveal().to_owned()),
                };
                let joined = engine.call("join the swarm", JOIN_DEADLINE, engine.api().join_swarm(request));
                // "Timeout was reached before node joined. The attempt to join the swarm will continue in the
                // background": whether it did is for the engine's own state to say.
                if let Err(error) = joined {
                    let goes_on = swarm::local(&engine)?.local_node_state;
                    if goes_on != Some(bollard::models::LocalNodeState::PENDING) {
                        return Err(error.into());
                    }
                }
                swarm::wait_until_manager(&engine, JOIN_DEADLINE)
            }
            Action::Promote { node_id } => {
                swarm::update_node(&engine, &node_id, |spec| spec.role = Some(NodeSpecRoleEnum::MANAGER))?;
                Ok(())
            }
        }
    }
}
