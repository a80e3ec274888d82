//! Who of the configuration is a member of the swarm.

use std::net::{IpAddr, SocketAddr};

use crate::config::NodeConfig;
use crate::declare::View;
use crate::facts::{EngineState, SwarmNodeFacts};

/// What the executing manager knows of a node of the configuration; `None` where that is no member.
///
/// A node that cannot say its id (its engine does not answer, or it does not) is known by its address; one without an
/// engine is new.
#[must_use]
pub fn member<'a>(view: &View<'a>, node: &NodeConfig) -> Option<&'a SwarmNodeFacts> {
    let seen = &view.facts.engine.swarm()?.nodes;
    let by_address = || view.facts.engine.swarm()?.member_at(node.address);
    match view.all.get(&node.name).map(|facts| &facts.engine.state) {
        Some(EngineState::Running { swarm, .. }) => seen.iter().find(|seen| seen.id == swarm.node_id),
        Some(EngineState::NotAnswering(_)) | None => by_address(),
        Some(EngineState::Absent) => None,
    }
}

/// `address:port`, with the brackets that IPv6 needs.
#[must_use]
pub fn endpoint(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}
