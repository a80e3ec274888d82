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

/// Every key that a dockerd from 20.10 to 29 has (moby, `daemon/config`), and those that it only ignores.
const KNOWN: &[&str] = &[
    "allow-direct-routing",
    "allow-nondistributable-artifacts",
    "api-cors-header",
    "authorization-plugins",
    "bip",
    "bip6",
    "bridge",
    "bridge-accept-fwmark",
    "builder",
    "cdi-spec-dirs",
    "cgroup-parent",
    "cluster-advertise",
    "cluster-store",
    "cluster-store-opts",
    "containerd",
    "containerd-namespace",
    "containerd-plugin-namespace",
    "containerd-plugins-namespace",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cri-containerd",
    "data-root",
    "debug",
    "default-address-pools",
    "default-cgroupns-mode",
    "default-gateway",
    "default-gateway-v6",
    "default-init",
    "default-ipc-mode",
    "default-network-opts",
    "default-runtime",
    "default-shm-size",
    "default-ulimits",
    "deprecated-key-path",
    "dns",
    "dns-opts",
    "dns-search",
    "exec-opts",
    "exec-root",
    "experimental",
    "features",
    "firewall-backend",
    "fixed-cidr",
    "fixed-cidr-v6",
    "group",
    "host-gateway-ip",
    "host-gateway-ips",
    "hosts",
    "http-proxy",
    "https-proxy",
    "icc",
    "init",
    "init-path",
    "insecure-registries",
    "ip",
    "ip-forward",
    "ip-forward-no-drop",
    "ip-masq",
    "ip6tables",
    "iptables",
    "ipv6",
    "labels",
    "live-restore",
    "log-driver",
    "log-format",
    "log-level",
    "log-opts",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "metrics-addr",
    "min-api-version",
    "mtu",
    "network-control-plane-mtu",
    "network-diagnostic-port",
    "no-new-privileges",
    "no-proxy",
    "node-generic-resources",
    "oom-score-adjust",
    "pidfile",
    "proxies",
    "raw-logs",
    "registry-mirrors",
    "resolv-conf",
    "rootless",
    "runtimes",
    "seccomp-profile",
    "selinux-enabled",
    "shutdown-timeout",
    "storage-driver",
    "storage-opts",
    "swarm-default-advertise-addr",
    "swarm-raft-election-tick",
    "swarm-raft-heartbeat-tick",
    "tls",
    "tlscacert",
    "tlscert",
    "tlskey",
    "tlsverify",
    "userland-proxy",
    "userland-proxy-path",
    "userns-remap",
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
    if view.facts.engine.socket_is_directory {
        error(
            "/var/run/docker.sock is a directory, where the engine makes its socket: dockerd refuses to start".to_owned(),
            "a container that was to mount the socket of an engine that did not run made it: rmdir /var/run/docker.sock".to_owned(),
        );
    }
    // An engine that is there is asked itself (`dockerd --validate`), before its file is replaced.
    if view.facts.engine.state == EngineState::Absent {
        for key in keys.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
            error(
                format!(
                    "{PATH} has `{key}`, which is no key of dockerd's from 20.10 to 29: it refuses to start with it"
                ),
                "take it out; where a newer engine has it, install that one first".to_owned(),
            );
        }
    }
    for flag in view.facts.engine.flags.iter().filter(|flag| flag.name == "config-file") {
        if flag.value.as_deref() != Some(PATH) {
            let elsewhere = flag.value.as_deref().unwrap_or("another file");
            error(
                format!(
                    "{} has dockerd read {elsewhere}: what enxame writes to {PATH} is nothing to it",
                    flag.place
                ),
                format!("move what is wanted of it to {PATH}, and take --config-file out of the line"),
            );
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
    if keys.contains_key("userns-remap")
        || view.facts.engine.flags.iter().any(|flag| flag.name == "userns-remap")
    {
        let message = "the engine maps users (`userns-remap`): it keeps a swarm's state in a directory of each mapping's own, and \
                       services have been reported not to reach each other (moby#39722, moby#26106)";
        let hint =
            "take it out before the node joins; to set or change it later takes the node out of the swarm";
        found.push(Finding::warning("5.1", message, hint).on(&view.node.name));
    }
    found
}
