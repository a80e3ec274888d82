//! Where tasks can run.

use super::super::{Found, Scope, Severity};
use crate::areas::stacks::cluster::{Candidate, Cluster};
use crate::areas::stacks::compose::{Node, Service, bytes};
use crate::areas::swarm::{Constraint, Resources};

/// The nodes that its constraints allow; where that cannot be told of one, it counts.
pub(super) fn candidates<'c>(cluster: &'c Cluster, service: Service<'_>) -> Vec<&'c Candidate> {
    let is_fit = |node: &&Candidate| {
        service.constraints().iter().filter_map(Node::text).all(|text| {
            Constraint::parse(text).and_then(|one| one.is_met_by(node.attributes())).unwrap_or(true)
        })
    };
    cluster.nodes.iter().filter(is_fit).collect()
}

/// A constraint that no node meets, or that is none.
pub(super) fn no_fitting_node(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        let mut is_told = false;
        for node in service.constraints() {
            let Some(text) = node.text() else { continue };
            let Some(constraint) = Constraint::parse(text) else {
                is_told = true;
                found.of(
                    service,
                    node.at,
                    format!("`{text}` is no constraint: Docker refuses the service"),
                    "KEY==VALUE or KEY!=VALUE, e.g. node.labels.db==true",
                );
                continue;
            };
            let Some(cluster) = scope.cluster else { continue };
            if cluster.nodes.iter().any(|one| constraint.is_met_by(one.attributes()) != Some(false)) {
                continue;
            }
            is_told = true;
            let hint = if constraint.key == "node.role" {
                "every node here is a manager: use a label, e.g. node.labels.role!=db".to_owned()
            } else {
                format!("the nodes: {}", described(cluster, constraint.key))
            };
            // A label that cluster.yaml does not tell of may be there all the same.
            found.graded(severity(cluster, constraint.key)).of(
                service,
                node.at,
                format!("no node meets `{text}`: its tasks wait for ever"),
                hint,
            );
        }
        let Some(cluster) = scope.cluster else { continue };
        if !is_told && !cluster.nodes.is_empty() && candidates(cluster, service).is_empty() {
            found.of(
                service,
                service.key.at,
                "no node meets all its constraints: its tasks wait for ever",
                "let one node meet them all",
            );
        }
    }
}

fn severity(cluster: &Cluster, key: &str) -> Severity {
    let label = key.strip_prefix("node.labels.");
    let is_known = |label: &str| cluster.nodes.iter().any(|node| node.labels.contains_key(label));
    match label {
        Some(label) if !cluster.is_seen && !is_known(label) => Severity::Warning,
        _ => Severity::Error,
    }
}

fn described(cluster: &Cluster, key: &str) -> String {
    let nodes = cluster.nodes.iter().map(|node| {
        let value = key
            .strip_prefix("node.labels.")
            .map(|label| node.labels.get(label).map_or("none", String::as_str));
        value.map_or_else(|| node.hostname.clone(), |value| format!("{} has {value}", node.hostname))
    });
    nodes.collect::<Vec<String>>().join(", ")
}

/// More tasks than the nodes may have.
pub(super) fn too_many_replicas(scope: &Scope<'_>, found: &mut Found<'_>) {
    let Some(cluster) = scope.cluster else { return };
    for service in scope.services() {
        let (Some(replicas), Some(most)) = (service.replicas(), service.max_per_node()) else { continue };
        let nodes = candidates(cluster, service).len() as u64;
        if nodes > 0 && replicas > most * nodes {
            let at = service.get(&["deploy", "replicas"]).map_or(service.key.at, |node| node.at);
            found.of(
                service,
                at,
                format!(
                    "{replicas} replicas, and {nodes} nodes may have {most} each: the others wait for ever"
                ),
                format!("at most {} replicas, or mode: global for one on every node", most * nodes),
            );
        }
    }
}

fn reserved(service: Service<'_>) -> Resources {
    let at = |key: &str| service.get(&["deploy", "resources", "reservations", key]).and_then(Node::written);
    let cpus = at("cpus").and_then(|cpus| cpus.parse::<f64>().ok()).filter(|cpus| (0.0..1e6).contains(cpus));
    Resources {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 10^15")]
        nano_cpus: cpus.map_or(0, |cpus| (cpus * 1e9) as u64),
        memory_bytes: at("memory").and_then(|memory| bytes(&memory)).unwrap_or_default(),
    }
}

/// A reservation that no node has.
pub(super) fn over_capacity(scope: &Scope<'_>, found: &mut Found<'_>) {
    let Some(cluster) = scope.cluster else { return };
    for service in scope.services() {
        let wanted = reserved(service);
        let fitting = candidates(cluster, service);
        let capacities: Option<Vec<Resources>> = fitting.iter().map(|node| node.capacity).collect();
        let Some(capacities) = capacities.filter(|all| !all.is_empty()) else { continue };
        if capacities.iter().all(|capacity| !capacity.holds(wanted)) {
            let at =
                service.get(&["deploy", "resources", "reservations"]).map_or(service.key.at, |node| node.at);
            let most =
                capacities.iter().map(|capacity| capacity.memory_bytes >> 20).max().unwrap_or_default();
            found.of(
                service,
                at,
                "no node that may run it has what it reserves: its tasks wait for ever",
                format!("the largest of them has {most} MiB; a reservation is what is kept free, not what may be used"),
            );
        }
    }
}
