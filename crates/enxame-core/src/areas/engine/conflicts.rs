//! What of the engine's configuration keeps it from starting, or from being of a swarm: said before there is an engine too.

use crate::declare::{Finding, View};
use crate::facts::EngineState;
use serde_json::{Map, Value};

use super::config::PATH;

/// Flags whose key in the file is called otherwise (moby, `cmd/dockerd/config.go`): those that may be given more than once.
const KEYS: [(&str, &str); 13] = [
    ("H", "hosts"),
    ("host", "hosts"),
    ("authorization-plugin", "authorization-plugins"),
    ("cdi-spec-dir", "cdi-spec-dirs"),
    ("default-address-pool", "default-address-pools"),
    ("default-network-opt", "default-network-opts"),
    ("default-ulimit", "default-ulimits"),
    ("exec-opt", "exec-opts"),
    ("insecure-registry", "insecure-registries"),
    ("label", "labels"),
    ("log-opt", "log-opts"),
    ("registry-mirror", "registry-mirrors"),
    ("storage-opt", "storage-opts"),
];
/// What makes a swarm's node useless, by key and value: there is no other way to mend it than to take it out.
const EXCLUDING: [(&str, &str, &str); 3] = [
    ("iptables", "false", "without the engine's rules no port is published and nothing is encrypted"),
    ("live-restore", "true", "swarm mode excludes it"),
    ("firewall-backend", "nftables", "swarm mode excludes it"),
];

/// What stands in the way of an engine with these keys in its file; `added` are those that enxame adds.
pub(super) fn findings(
    view: &View<'_>,
    keys: &Map<String, Value>,
    added: &Map<String, Value>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut error = |message: String, hint: String| {
        found.push(Finding::error("5.1", message, hint).on(&view.node.name));
    };
    // One that runs says so itself.
    let runs = matches!(view.facts.engine.state, EngineState::Running { .. });
    for (key, value, why) in EXCLUDING {
        if runs && key == "live-restore" {
            continue;
        }
        let is_it = |given: &Value| given.as_str().map_or_else(|| given.to_string(), str::to_owned) == value;
        if keys.get(key).is_some_and(is_it) {
            error(format!("{PATH} sets `{key}` to {value}: {why}"), format!("take `{key}` out of it"));
        }
        for flag in view.facts.engine.flags.iter().filter(|flag| flag.name == key) {
            if flag.value.as_deref().unwrap_or("true") == value {
                let message = format!("{} starts dockerd with --{key}={value}: {why}", flag.place);
                error(message, "take the flag out of the line".to_owned());
            }
        }
    }
    // What the packages' unit says, where there is none yet.
    let no_unit = view.facts.engine.state == EngineState::Absent && view.facts.engine.flags.is_empty();
    if no_unit && keys.contains_key("hosts") {
        error(
            format!(
                "{PATH} has `hosts`, and the engine's unit starts dockerd with -H: with both dockerd refuses to start"
            ),
            "take `hosts` out of it".to_owned(),
        );
    }
    for flag in &view.facts.engine.flags {
        let key = KEYS.iter().find(|(name, _)| *name == flag.name).map_or(flag.name.as_str(), |(_, key)| key);
        let dashes = if flag.name.len() == 1 { "-" } else { "--" };
        let (name, place) = (&flag.name, &flag.place);
        if keys.contains_key(key) {
            error(
                format!(
                    "{place} starts dockerd with {dashes}{name}, and {PATH} has `{key}` too: dockerd refuses to start"
                ),
                "say it in one of the two".to_owned(),
            );
        } else if added.contains_key(key) {
            error(
                format!(
                    "{place} starts dockerd with {dashes}{name}, which enxame sets in {PATH}: with both dockerd refuses to start"
                ),
                "take the flag out of the line, and say what you want under `engine:` in cluster.yaml"
                    .to_owned(),
            );
        }
    }
    found
}
