//! What happens at an update.

use std::time::Duration;

use super::super::{Found, Scope, Severity};
use super::placement::candidates;
use crate::areas::stacks::compose::{MountKind, Node};

/// Swarm's default is to stop in the middle.
pub(super) fn no_rollback(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services().filter(|service| !service.is_job()) {
        // Without a check of its own nothing fails that could be gone back from.
        if service.get(&["healthcheck"]).is_none() {
            continue;
        }
        let action = service.get(&["deploy", "update_config", "failure_action"]);
        if action.is_none_or(|action| matches!(action.text(), Some("pause" | "continue"))) {
            let at = action.map_or(service.key.at, |action| action.at);
            found.of(
                service,
                at,
                "an update that fails stops half-way and stays so: some tasks are new, and some are not",
                "deploy.update_config.failure_action: rollback",
            );
        }
    }
}

/// The time in which a failure still counts ends before the health check can fail.
pub(super) fn short_monitor(scope: &Scope<'_>, found: &mut Found<'_>) {
    const MONITOR: Duration = Duration::from_secs(5);
    const INTERVAL: Duration = Duration::from_secs(30);
    for service in scope.services() {
        if service.text(&["deploy", "update_config", "failure_action"]) != Some("rollback") {
            continue;
        }
        let Some(check) = service.get(&["healthcheck"]).filter(|check| check.get("test").is_some()) else {
            continue;
        };
        let time = |key: &str, otherwise: Duration| match check.get(key) {
            None => Some(otherwise),
            Some(_) => service.duration(&["healthcheck", key]),
        };
        let written = service.get(&["deploy", "update_config", "monitor"]);
        let monitor = match written {
            None => Some(MONITOR),
            Some(_) => service.duration(&["deploy", "update_config", "monitor"]),
        };
        let retries = check
            .get("retries")
            .map_or(Some(3), Node::integer)
            .and_then(|retries| u32::try_from(retries).ok());
        let (Some(monitor), Some(interval), Some(start), Some(retries)) =
            (monitor, time("interval", INTERVAL), time("start_period", Duration::ZERO), retries)
        else {
            continue;
        };
        let fails_after = start.saturating_add(interval.saturating_mul(retries.max(1)));
        if monitor < fails_after {
            found.of(
                service,
                written.map_or(service.key.at, |node| node.at),
                format!(
                    "a failure counts for {} s after the start, and the health check fails after {} s at the earliest: nothing is rolled back",
                    monitor.as_secs(),
                    fails_after.as_secs()
                ),
                format!("deploy.update_config.monitor: {}s, or a faster check", fails_after.as_secs() + 5),
            );
        }
    }
}

/// Two at a time of what can only be one.
pub(super) fn start_first_writer(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        let Some(order) = service.starts_first() else { continue };
        let host_port =
            service.ports().iter().any(|port| port.get("mode").and_then(Node::text) == Some("host"));
        if host_port {
            found.of(
                service,
                order.at,
                "start-first with a port of the node: the new task waits for the port, which the old one keeps",
                "order: stop-first",
            );
        } else if service.is_database()
            && service.mounts().iter().any(|mount| {
                matches!(mount.kind, MountKind::Volume(_) | MountKind::Bind(_)) && !mount.is_read_only
            })
        {
            found.of(
                service,
                order.at,
                "start-first with a database: for a moment two of them write into the same files",
                "order: stop-first",
            );
        }
    }
}

/// A new task that has nowhere to go while the old ones are there.
pub(super) fn start_first_no_room(scope: &Scope<'_>, found: &mut Found<'_>) {
    let Some(cluster) = scope.cluster else { return };
    for service in scope.services() {
        let Some(order) = service.starts_first() else { continue };
        let (Some(replicas), Some(most)) = (service.replicas(), service.max_per_node()) else { continue };
        let nodes = candidates(cluster, service).len() as u64;
        if nodes > 0 && replicas == most * nodes {
            found.graded(Severity::Error).of(
                service,
                order.at,
                format!("{nodes} nodes may have {most} each, and have: a new task finds no room, and the update never ends"),
                "mode: global, order: stop-first, or fewer replicas",
            );
        }
    }
}
