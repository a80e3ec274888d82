//! What several resources ask of the swarm through the engine's API.

use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{LocalNodeState, Node, NodeSpec, SwarmInfo};
use bollard::query_parameters::{ListNodesOptions, UpdateNodeOptionsBuilder};

use enxame_core::areas::swarm::member_at;

use crate::actuate::{ActuateError, wait_for};
use crate::areas::swarm::look;
use crate::engine::{Engine, EngineError};

/// How long a call that changes nothing may take. The engine itself gives its swarm 20 s before it names the missing quorum,
/// on an emulated processor some more (moby, daemon/cluster/cluster.go: `swarmRequestTimeout`).
pub const LOOK: Duration = Duration::from_secs(30);
/// How long a call that writes to the swarm's log may take.
pub const WRITE: Duration = Duration::from_secs(60);

/// This node's place in the swarm.
///
/// # Errors
/// When the engine does not answer.
pub fn local(engine: &Engine) -> Result<SwarmInfo, EngineError> {
    let info = engine.call("tell its state", LOOK, engine.api().info())?;
    Ok(info.swarm.unwrap_or_default())
}

/// Waits until this node is an active manager that reaches the quorum.
///
/// # Errors
/// The state it was in when the deadline was over.
pub fn wait_until_manager(engine: &Engine, deadline: Duration) -> Result<(), ActuateError> {
    wait_for(deadline, ActuateError::is_final, || {
        let swarm = local(engine)?;
        let is_active = swarm.local_node_state == Some(LocalNodeState::ACTIVE);
        if is_active && swarm.control_available == Some(true) && nodes(engine).is_ok() {
            return Ok(());
        }
        let state = swarm.local_node_state.map(|state| state.to_string()).unwrap_or_default();
        let error = swarm.error.unwrap_or_default();
        Err(ActuateError::wrong(
            format!("the node is not a manager with quorum: {state} {error}").trim_end().to_owned(),
            "are ports 2377/tcp and 7946/tcp+udp open between the nodes? see `journalctl -u docker` on the node",
        ))
    })
}

/// The swarm's nodes.
///
/// # Errors
/// When this node is no manager or the swarm has no quorum.
pub fn nodes(engine: &Engine) -> Result<Vec<Node>, EngineError> {
    engine.call("list the swarm's nodes", LOOK, engine.api().list_nodes(None::<ListNodesOptions>))
}

/// The id of the node that is reached at `address`.
///
/// # Errors
/// When the swarm has none there, or cannot be asked.
pub fn node_id_at(engine: &Engine, address: IpAddr) -> Result<String, ActuateError> {
    let members: Vec<_> = nodes(engine)?.into_iter().map(look::node).collect();
    let member = member_at(&members, address).ok_or_else(|| {
        let message = format!("the swarm has no node at {address}");
        ActuateError::wrong(message, "`docker node ls` shows the addresses it has")
    })?;
    Ok(member.id.clone())
}

/// Changes a node's specification: the whole of it is replaced under its version, so that what `change` leaves
/// alone goes back as it came. A version that moved meanwhile (the swarm writes a node's status under it too) is
/// read again.
///
/// # Errors
/// When the engine refuses for another reason, or the version kept moving for 30 s.
pub fn update_node(engine: &Engine, id: &str, change: impl Fn(&mut NodeSpec)) -> Result<(), EngineError> {
    wait_for(Duration::from_secs(30), EngineError::is_final, || {
        let node = engine.call("show the node", LOOK, engine.api().inspect_node(id))?;
        let version = node.version.and_then(|version| version.index).unwrap_or_default();
        let mut spec = node.spec.unwrap_or_default();
        change(&mut spec);
        let options =
            UpdateNodeOptionsBuilder::default().version(i64::try_from(version).unwrap_or(i64::MAX)).build();
        match engine.call("change the node", WRITE, engine.api().update_node(id, spec, options)) {
            // "rpc error: code = Unknown desc = update out of sequence"
            Err(error) if error.status() == Some(500) => Err(error),
            outcome => Ok(outcome),
        }
    })?
}
