//! What a container is given of its node, and how it is looked after.

use std::path::Path;

use super::super::{Found, Scope, Severity};
use super::placement::candidates;
use crate::areas::stacks::compose::{Mount, MountKind, Node, Service};

const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

fn binds(service: Service<'_>) -> impl Iterator<Item = (Mount, String)> {
    service.mounts().into_iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind(source) => {
            let source = source.clone();
            Some((mount, source))
        }
        _ => None,
    })
}

/// Who has the engine's socket is root on every server of the swarm.
pub(super) fn docker_socket(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        for (mount, source) in binds(service) {
            if SOCKETS.contains(&source.as_str()) {
                found.of(
                    service,
                    mount.at,
                    format!("{source} makes whoever breaks into this service root on its node, and on a manager of the whole swarm; `ro` changes nothing"),
                    "put a filtering proxy between, which passes on the requests that are needed",
                );
            }
        }
    }
}

/// A directory that the node itself lives in.
pub(super) fn host_path(scope: &Scope<'_>, found: &mut Found<'_>) {
    const SYSTEM: [&str; 8] = ["/", "/etc", "/root", "/home", "/boot", "/usr", "/var", "/var/lib/docker"];
    for service in scope.services() {
        for (mount, source) in binds(service) {
            let source = if source.len() > 1 { source.trim_end_matches('/') } else { &source };
            if !SYSTEM.contains(&source) {
                continue;
            }
            let (severity, how) = if mount.is_read_only {
                (Severity::Warning, "reads everything below")
            } else {
                (Severity::Error, "can write everywhere below")
            };
            found.graded(severity).of(
                service,
                mount.at,
                format!("{source} is the node's own: whoever breaks into this service {how}"),
                "mount the one file or directory that is needed, with :ro where it is only read",
            );
        }
    }
}

/// A directory of whichever node the task happens to run on.
pub(super) fn unpinned_bind(scope: &Scope<'_>, found: &mut Found<'_>) {
    // What every machine has of its own, and means.
    const EVERYWHERE: [&str; 8] =
        ["/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/var/log", "/var/lib/docker"];
    for service in scope.services() {
        if service.get(&["deploy", "mode"]).is_some_and(|mode| mode.text() == Some("global"))
            || is_pinned(scope, service)
        {
            continue;
        }
        for (mount, source) in binds(service) {
            let path = Path::new(&source);
            // Of a path of the operator's the other rule tells.
            if source == "/"
                || source.starts_with('.')
                || EVERYWHERE.iter().any(|known| path.starts_with(known))
            {
                continue;
            }
            found.of(
                service,
                mount.at,
                format!("{source} is the one of whichever node the task runs on, and where there is none the task is refused"),
                "pin the service with a placement constraint, or use a volume: shared files, or a config for a file",
            );
        }
    }
}

/// A path of the machine that the stack is deployed from.
pub(super) fn relative_bind(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        for (mount, source) in binds(service).filter(|(_, source)| source.starts_with('.')) {
            // By itself it may be one of those that are deployed on the only node, from there.
            let severity = if scope.cluster.is_some() { Severity::Error } else { Severity::Warning };
            found.graded(severity).of(
                service,
                mount.at,
                format!("{source} is a path of the machine that deploys, and no server's"),
                "a config for a file, a volume of shared files for a directory, or an absolute path of the server",
            );
        }
    }
}

/// Whether its tasks can run on one node only; without a cluster: whether a constraint of its own says where.
fn is_pinned(scope: &Scope<'_>, service: Service<'_>) -> bool {
    if let Some(cluster) = scope.cluster {
        return candidates(cluster, service).len() <= 1;
    }
    let says_where = |text: &str| {
        ["node.hostname", "node.id", "node.labels."].iter().any(|key| text.trim().starts_with(key))
    };
    service.constraints().iter().filter_map(Node::text).any(says_where)
}

/// A service that can take all the memory there is, the node's and its managers' too.
pub(super) fn no_memory_limit(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        if service.get(&["deploy", "resources", "limits", "memory"]).is_none() {
            found.of(
                service,
                service.key.at,
                "nothing limits its memory: a leak takes the whole node down, with the swarm's manager on it",
                "deploy.resources.limits.memory, e.g. 512M",
            );
        }
    }
}

/// Without one an update goes on as soon as the process has started, whether it works or not.
pub(super) fn no_healthcheck(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        let is_off = |check: &Node| check.get("disable").and_then(Node::truth) == Some(true);
        if !service.is_job() && service.get(&["healthcheck"]).is_none_or(is_off) {
            found.of(
                service,
                service.key.at,
                "nothing says when it works: an update goes on, and requests come, as soon as its process has started",
                "healthcheck: with a test that asks the service itself (an image may bring one, which counts too)",
            );
        }
    }
}

/// Logs that fill the disk.
pub(super) fn unbounded_logs(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        let Some(logging) = service.get(&["logging"]) else { continue };
        let is_json = logging.get("driver").is_none_or(|driver| driver.text() == Some("json-file"));
        if is_json && logging.get("driver").is_some() && logging.at_path(&["options", "max-size"]).is_none() {
            found.of(
                service,
                logging.at,
                "json-file without max-size: the log grows until the disk is full",
                "options: {max-size: 10m, max-file: \"3\"}, or no `logging` at all: the engines' default has limits",
            );
        }
    }
}

/// A service that is not started again after it ended.
pub(super) fn restart_condition(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        if service.is_job() {
            continue;
        }
        let policy = service.get(&["deploy", "restart_policy", "condition"]);
        let Some(condition) =
            policy.filter(|condition| matches!(condition.text(), Some("none" | "on-failure")))
        else {
            continue;
        };
        found.of(
            service,
            condition.at,
            format!(
                "{}: a task that ends with 0, as many do at a shutdown of their node, is not started again",
                condition.text().unwrap_or_default()
            ),
            "condition: any; what is to run once is a job: deploy.mode: replicated-job",
        );
    }
}
