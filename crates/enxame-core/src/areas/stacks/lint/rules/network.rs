//! What is reachable, and what is readable on the way.

use super::super::{Found, Scope, Severity};
use super::placement::candidates;
use crate::areas::stacks::compose::{Node, Service};
use crate::config::published_ports;

/// The severity of what only a cluster makes an error of.
fn in_cluster(scope: &Scope<'_>) -> Severity {
    if scope.cluster.is_some() { Severity::Error } else { Severity::Warning }
}

fn is_external(network: &Node) -> bool {
    network.get("external").is_some_and(|external| external.truth() != Some(false))
}

/// A network whose packets cross the Internet in clear.
pub(super) fn clear_network(scope: &Scope<'_>, found: &mut Found<'_>) {
    let hint = "driver: overlay, driver_opts: {encrypted: \"true\"}; or the network that enxame makes, by its name and `external: true`";
    for (key, network) in scope.file.section("networks") {
        let is_overlay = network.get("driver").is_none_or(|driver| driver.text() == Some("overlay"));
        if is_external(network) || !is_overlay {
            continue;
        }
        let encrypted = network.at_path(&["driver_opts", "encrypted"]);
        if encrypted.is_none_or(|value| value.truth() == Some(false)) {
            found.graded(in_cluster(scope)).at(
                key.at,
                format!("the network {} is not encrypted: what its services say to each other crosses the Internet in clear", key.name),
                hint,
            );
        }
    }
    if scope.file.entry("networks", "default").is_some() {
        return;
    }
    for service in scope.services() {
        if service.networks().is_none_or(|networks| networks.iter().any(|(_, name)| *name == "default")) {
            found.graded(in_cluster(scope)).of(
                service,
                service.key.at,
                "it is on the stack's default network, which is not encrypted",
                "networks: [NAME] at the service, and below `networks:` that one; or `networks: {default: {driver: overlay, driver_opts: {encrypted: \"true\"}}}`",
            );
        }
    }
}

/// A network of others that there is not.
pub(super) fn missing_network(scope: &Scope<'_>, found: &mut Found<'_>) {
    let Some(cluster) = scope.cluster else { return };
    for (key, network) in scope.file.section("networks") {
        if !is_external(network) {
            continue;
        }
        let named = network.get("name").or_else(|| network.at_path(&["external", "name"]));
        let Some(name) = named.map_or(Some(key.name.as_str()), Node::text) else { continue };
        match cluster.networks.get(name) {
            Some(true) => {}
            Some(false) => found.graded(Severity::Warning).at(
                key.at,
                format!(
                    "the network {name} is not encrypted: what is said there crosses the Internet in clear"
                ),
                "use it for what may be read by anybody, and nothing else",
            ),
            None if ["host", "bridge", "none"].contains(&name) => {}
            None => {
                let severity = if cluster.is_seen { Severity::Error } else { Severity::Warning };
                let known: Vec<&str> = cluster.networks.keys().map(String::as_str).collect();
                found.graded(severity).at(
                    key.at,
                    format!("there is no network {name}: deploying fails"),
                    format!("there are: {}", known.join(", ")),
                );
            }
        }
    }
}

fn is_dnsrr(service: Service<'_>) -> bool {
    service.text(&["deploy", "endpoint_mode"]) == Some("dnsrr")
}

fn is_host_mode(port: &Node) -> bool {
    port.get("mode").and_then(Node::text) == Some("host")
}

/// Docker refuses the service.
pub(super) fn dnsrr_ingress(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services().filter(|service| is_dnsrr(*service)) {
        if let Some(port) = service.ports().iter().find(|port| !is_host_mode(port)) {
            found.of(
                service,
                port.at,
                "endpoint_mode dnsrr has no port in the routing mesh: Docker refuses the service",
                "mode: host at the port, or endpoint_mode: vip",
            );
        }
    }
}

fn tcp_ports(port: &Node) -> Vec<u16> {
    let number = |key: &str| port.get(key).and_then(Node::written);
    let protocol = port.get("protocol").and_then(Node::text).map(str::to_owned);
    if let Some(short) = port.written() {
        return published_ports(&short);
    }
    let (Some(published), Some(target)) = (number("published"), number("target")) else { return Vec::new() };
    published_ports(&format!("{published}:{target}/{}", protocol.unwrap_or_else(|| "tcp".to_owned())))
}

/// A port that the firewall lets nobody in to.
pub(super) fn shut_port(scope: &Scope<'_>, found: &mut Found<'_>) {
    let Some(cluster) = scope.cluster else { return };
    for service in scope.services() {
        for port in service.ports() {
            let shut: Vec<String> = tcp_ports(port)
                .into_iter()
                .filter(|port| !cluster.public_ports.contains(port))
                .map(|port| port.to_string())
                .collect();
            if !shut.is_empty() {
                found.of(
                    service,
                    port.at,
                    format!("{} is published, and the firewall lets nobody in to it", shut.join(", ")),
                    "take it away: services on one network reach each other without; or add it to `firewall.public_ports`",
                );
            }
        }
    }
}

/// A database on the Internet.
pub(super) fn database_port(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services().filter(|service| service.is_database()) {
        if let Some(port) = service.ports().first() {
            found.of(
                service,
                port.at,
                "a database publishes a port: swarm opens it on every node, past ufw, to the whole Internet",
                "take it away: who needs it is on a network with it; from outside, a tunnel through SSH",
            );
        }
    }
}

/// Two tasks of one node cannot have one port.
pub(super) fn host_port_replicas(scope: &Scope<'_>, found: &mut Found<'_>) {
    let Some(cluster) = scope.cluster else { return };
    for service in scope.services() {
        let Some(replicas) = service.replicas() else { continue };
        let Some(port) = service.ports().iter().find(|port| is_host_mode(port)) else { continue };
        let nodes = candidates(cluster, service).len() as u64;
        if nodes > 0 && replicas > nodes {
            found.of(
                service,
                port.at,
                format!("{replicas} tasks want a port of their node, and {nodes} nodes fit: the others wait for ever"),
                "mode: global, fewer replicas, or a port in the routing mesh",
            );
        }
    }
}

/// IPVS forgets a connection that is silent for 15 minutes, and tells neither end.
pub(super) fn keepalive(scope: &Scope<'_>, found: &mut Found<'_>) {
    const FORGETS_AFTER: u64 = 900;
    for service in scope.services() {
        for pair in service.pairs(&["sysctls"]) {
            let seconds = pair.value.as_deref().and_then(|value| value.parse::<u64>().ok());
            if pair.name == "net.ipv4.tcp_keepalive_time"
                && seconds.is_some_and(|seconds| seconds >= FORGETS_AFTER)
            {
                found.of(
                    service,
                    pair.at,
                    "keepalives come after the mesh has forgotten a silent connection (900 s): it hangs",
                    "net.ipv4.tcp_keepalive_time: 600",
                );
            }
        }
    }
}
