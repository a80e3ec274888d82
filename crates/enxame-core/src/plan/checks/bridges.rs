//! Bridges of the engine's that hide somebody else from containers. Docker looks for such at the moment at which it makes a
//! bridge (moby, libnetwork: `FindAvailableNetwork`), in the main table alone; a VPN or a private network may come later.

use super::Findings;
use crate::config::NodeConfig;
use crate::declare::Severity;
use crate::facts::{NodeFacts, Occupant, OccupiedNetwork};

/// The bridges' names: Docker's two, and those of networks (moby, `drivers/bridge`: the first 12 digits of their ids).
fn is_bridge(one: &OccupiedNetwork) -> bool {
    let Occupant::Interface(name) = &one.by else { return false };
    let of_network = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    ["docker0", "docker_gwbridge"].contains(&name.as_str())
        || name.strip_prefix("br-").is_some_and(of_network)
}

pub(super) fn look(node: &NodeConfig, facts: &NodeFacts, found: &mut Findings) {
    let (bridges, others): (Vec<_>, Vec<_>) = facts.volatile.occupied.iter().partition(|one| is_bridge(one));
    for bridge in bridges {
        let hides = |other: &&&OccupiedNetwork| bridge.network.contains(&other.network);
        let hidden: Vec<String> = others.iter().filter(hides).map(ToString::to_string).collect();
        if !hidden.is_empty() {
            let message =
                format!("containers do not reach {}: {bridge} is a bridge of docker's", hidden.join(", "));
            let hint = "remove that network and make it again, Docker then takes what is free; docker0 moves by `bip` in \
                        /etc/docker/daemon.json";
            found.add(Severity::Warning, (Some(&node.name), "5.1"), message, hint);
        }
    }
}
