//! How the routing mesh's network and the others are made.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::{InspectNetworkOptionsBuilder, ListNetworksOptions};
use enxame_core::areas::firewall::guard::PLAINTEXT_VNI;
use enxame_core::areas::swarm::overlay::WantedNetwork;

use crate::actuate::{ActuateError, wait_for};
use crate::engine::{Engine, EngineError};
use crate::swarm;

/// The option moby looks for; its value does not matter, `false` encrypts too.
const ENCRYPTED: &str = "encrypted";
/// The MTU of the underlay: moby takes 50 bytes off for VXLAN and, when encrypted, 26 for ESP.
const MTU: &str = "com.docker.network.driver.mtu";
/// The VXLAN identifiers to use, for each subnet (moby, `libnetwork/drivers/overlay/ovmanager/ovmanager.go`).
const IDENTIFIERS: &str = "com.docker.network.driver.overlay.vxlanid_list";
/// How long after founding a swarm its own ingress network may take to come.
const INGRESS_APPEARS: Duration = Duration::from_secs(20);
/// All nodes let go of a network after its removal.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(90);

fn request(network: &WantedNetwork) -> NetworkCreateRequest {
    let mut options = HashMap::from([(MTU.to_owned(), network.underlay_mtu_bytes.to_string())]);
    if network.is_encrypted {
        options.insert(ENCRYPTED.to_owned(), String::new());
    } else {
        // The guard must know its packets before there are any.
        options.insert(IDENTIFIERS.to_owned(), PLAINTEXT_VNI.to_string());
    }
    NetworkCreateRequest {
        name: network.name.clone(),
        driver: Some("overlay".to_owned()),
        ingress: Some(network.is_ingress),
        attachable: Some(network.is_attachable),
        options: Some(options),
        ..NetworkCreateRequest::default()
    }
}

/// Makes the network, instead of one of the same name that may be there, and waits until it can be seen.
///
/// # Errors
/// When something still uses the old one, or the engine refuses.
pub(super) fn make(network: &WantedNetwork, engine: &Engine) -> Result<(), ActuateError> {
    if is_as_wanted(network, engine)? {
        return Ok(());
    }
    if network.is_ingress {
        wait_for_ingress(engine);
    }
    remove(engine, &network.name)?;
    // The manager refuses while it still lets go of the old one.
    wait_for(REMOVAL_DEADLINE, EngineError::is_final, || {
        let attempt = format!("make the network {}", network.name);
        match engine.call(&attempt, swarm::WRITE, engine.api().create_network(request(network))) {
            Ok(_) => Ok(()),
            Err(_) if is_as_wanted(network, engine).unwrap_or(false) => Ok(()),
            Err(error) => Err(error),
        }
    })?;
    wait_for(swarm::WRITE, ActuateError::is_final, || {
        let why = "it was made and is not as it was asked for";
        is_as_wanted(network, engine)?.then_some(()).ok_or_else(|| {
            ActuateError::wrong(
                format!("network {}: {why}", network.name),
                "see `journalctl -u docker` on the node",
            )
        })
    })
}

/// Whether it is there, as it must be. A look that failed says nothing of it.
fn is_as_wanted(network: &WantedNetwork, engine: &Engine) -> Result<bool, EngineError> {
    // The swarm's own record: a node keeps what it has of a removed network for some seconds.
    let of_the_swarm = InspectNetworkOptionsBuilder::new().scope("swarm").build();
    let inspect = engine.api().inspect_network(&network.name, Some(of_the_swarm));
    let there = match engine.call("show the network", swarm::LOOK, inspect) {
        Err(error) if error.status() == Some(404) => return Ok(false),
        outcome => outcome?,
    };
    let options = there.options.unwrap_or_default();
    let mtu = options.get(MTU).and_then(|text| text.parse().ok()).unwrap_or(1500);
    Ok(options.contains_key(ENCRYPTED) == network.is_encrypted
        && mtu == network.underlay_mtu_bytes
        && (network.is_ingress || there.attachable == Some(network.is_attachable)))
}

/// The manager makes the routing mesh's network by itself a moment after the swarm is founded: one that came after
/// ours would stand beside it, in clear. Where somebody has removed it, none comes.
fn wait_for_ingress(engine: &Engine) {
    let is_there = || {
        let networks = engine.api().list_networks(None::<ListNetworksOptions>);
        let networks = engine.call("list the networks", swarm::LOOK, networks).ok()?;
        networks.iter().any(|network| network.ingress == Some(true)).then_some(())
    };
    // Its absence at the end is no error: there is nothing to remove then.
    let _ = wait_for(INGRESS_APPEARS, |()| false, || is_there().ok_or(()));
}

/// Removes the swarm's network of that name and waits until the manager has let go of it. A node's own is left alone.
fn remove(engine: &Engine, name: &str) -> Result<(), ActuateError> {
    let of_the_swarm = InspectNetworkOptionsBuilder::new().scope("swarm").build();
    let inspect = engine.api().inspect_network(name, Some(of_the_swarm));
    let id = match engine.call("show the network", swarm::LOOK, inspect) {
        Err(error) if error.status() == Some(404) => return refuse_local(engine, name),
        outcome => outcome?.id.unwrap_or_default(),
    };
    let attempt = format!("remove the network {name}");
    let refusal = match engine.call(&attempt, swarm::WRITE, engine.api().remove_network(&id)) {
        Err(error) if error.status() == Some(404) => return Ok(()),
        // A network that the swarm has no more and the node still has, e.g. after an apply that was cut off.
        Err(error) if error.says_not_found() => Some(error),
        outcome => {
            outcome?;
            None
        }
    };
    let gone = wait_for(REMOVAL_DEADLINE, ActuateError::is_final, || {
        let networks = engine.api().list_networks(None::<ListNetworksOptions>);
        let networks = engine.call("list the networks", swarm::LOOK, networks)?;
        if networks.iter().any(|network| network.id.as_deref() == Some(&id)) {
            return Err(ActuateError::wrong(
                format!("network {name} is still there after its removal"),
                "something on a node holds it: `docker network inspect` names the containers",
            ));
        }
        Ok(())
    });
    gone.map_err(|still_there| refusal.map_or(still_there, ActuateError::from))
}

/// A network that only this node has, of a name that the swarm's is to have.
fn refuse_local(engine: &Engine, name: &str) -> Result<(), ActuateError> {
    let networks = engine.api().list_networks(None::<ListNetworksOptions>);
    let networks = engine.call("list the networks", swarm::LOOK, networks)?;
    let is_local = |network: &bollard::models::Network| {
        network.name.as_deref() == Some(name) && network.scope.as_deref() != Some("swarm")
    };
    if networks.iter().any(is_local) {
        return Err(ActuateError::wrong(
            format!("the node has a network {name} of its own, which is not the swarm's"),
            "remove it (`docker network rm`), or give the swarm's another name in `networks:`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::engine::scripted;

    const LISTED: &str = r#"[{"Id": "abc", "Name": "ingress", "Scope": "swarm", "Ingress": true}]"#;
    /// As dockerd 26.1.5 answers for some seconds after the swarm's record has gone.
    const GONE_FROM_THE_SWARM: (&str, &str) =
        ("500 Internal Server Error", r#"{"message": "network abc not found"}"#);

    fn removing(answers: &[(&str, &str)]) -> (Result<(), ActuateError>, Vec<String>) {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let (removed, asked) =
            scripted(&socket, answers, || remove(&Engine::at(&socket).expect("an engine"), "ingress"));
        (removed, asked.into_iter().map(|asked| asked.line).collect())
    }

    #[test]
    fn a_network_that_the_swarm_has_no_more_is_waited_for_until_the_node_lets_go_of_it() {
        let network = r#"{"Id": "abc", "Name": "ingress", "Scope": "swarm"}"#;
        let (removed, asked) =
            removing(&[("200 OK", network), GONE_FROM_THE_SWARM, ("200 OK", LISTED), ("200 OK", "[]")]);
        removed.expect("removed");
        assert_eq!(
            asked,
            [
                "GET /networks/ingress?verbose=false&scope=swarm",
                "DELETE /networks/abc",
                "GET /networks",
                "GET /networks",
            ]
        );
    }

    #[test]
    fn a_swarm_without_a_leader_has_removed_nothing() {
        let network = r#"{"Id": "abc", "Name": "ingress", "Scope": "swarm"}"#;
        let no_leader = r#"{"message": "rpc error: the swarm does not have a leader"}"#;
        let (removed, asked) = removing(&[("200 OK", network), ("500 Internal Server Error", no_leader)]);
        assert!(
            format!("{:?}", removed.expect_err("no leader").failure()).contains("does not have a leader")
        );
        assert_eq!(asked.len(), 2);
    }

    #[test]
    fn a_network_in_use_is_refused_at_once() {
        let network = r#"{"Id": "abc", "Name": "ingress", "Scope": "swarm"}"#;
        let in_use = r#"{"message": "rpc error: network abc is in use by service web"}"#;
        let (removed, asked) = removing(&[("200 OK", network), ("400 Bad Request", in_use)]);
        let error = removed.expect_err("in use").failure();
        assert!(format!("{error:?}").contains("in use by service web"), "{error:?}");
        assert_eq!(asked.len(), 2);
    }
}
