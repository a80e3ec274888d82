//! What `docker stack deploy` makes of the keys: refuses, ignores, or reads (docker/cli, `cli/compose/schema` 3.13 and
//! `cli/compose/types`).

use super::super::{Found, Scope, Severity};
use crate::areas::stacks::compose::{Key, MountKind, Node, Service};

/// What may stand below a key.
enum Keys {
    /// These, and what begins with `x-` where it says so.
    These(&'static [(&'static str, Keys)], Extensions),
    /// Any names, with this below each.
    Named(&'static Keys),
    /// A list, with this in each mapping of it.
    Each(&'static Keys),
    /// Not looked at.
    Any,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extensions {
    Allowed,
    No,
}

use Extensions::{Allowed, No};
use Keys::{Any, Each, Named, These};

const RESOURCES: Keys = These(
    &[
        ("limits", These(&[("cpus", Any), ("memory", Any), ("pids", Any)], No)),
        ("reservations", These(&[("cpus", Any), ("memory", Any), ("generic_resources", Any)], No)),
    ],
    No,
);
const ROLLOUT: Keys = These(
    &[
        ("parallelism", Any),
        ("delay", Any),
        ("failure_action", Any),
        ("monitor", Any),
        ("max_failure_ratio", Any),
        ("order", Any),
    ],
    No,
);
const DEPLOY: Keys = These(
    &[
        ("mode", Any),
        ("endpoint_mode", Any),
        ("replicas", Any),
        ("labels", Any),
        ("rollback_config", ROLLOUT),
        ("update_config", ROLLOUT),
        ("resources", RESOURCES),
        (
            "restart_policy",
            These(&[("condition", Any), ("delay", Any), ("max_attempts", Any), ("window", Any)], No),
        ),
        (
            "placement",
            These(
                &[
                    ("constraints", Any),
                    ("preferences", Each(&These(&[("spread", Any)], No))),
                    ("max_replicas_per_node", Any),
                ],
                No,
            ),
        ),
    ],
    No,
);
const HEALTHCHECK: Keys = These(
    &[
        ("disable", Any),
        ("interval", Any),
        ("retries", Any),
        ("test", Any),
        ("timeout", Any),
        ("start_period", Any),
        ("start_interval", Any),
    ],
    No,
);
const PORT: Keys = These(&[("mode", Any), ("target", Any), ("published", Any), ("protocol", Any)], No);
const MOUNT: Keys = These(
    &[
        ("type", Any),
        ("source", Any),
        ("target", Any),
        ("read_only", Any),
        ("consistency", Any),
        ("bind", Any),
        ("volume", Any),
        ("tmpfs", Any),
        ("cluster", Any),
        ("image", Any),
    ],
    No,
);
const SERVICE: Keys = These(
    &[
        ("build", Any),
        ("cap_add", Any),
        ("cap_drop", Any),
        ("cgroup_parent", Any),
        ("cgroupns_mode", Any),
        ("command", Any),
        ("configs", Any),
        ("container_name", Any),
        ("credential_spec", Any),
        ("depends_on", Any),
        ("deploy", DEPLOY),
        ("devices", Any),
        ("dns", Any),
        ("dns_search", Any),
        ("domainname", Any),
        ("entrypoint", Any),
        ("env_file", Any),
        ("environment", Any),
        ("expose", Any),
        ("external_links", Any),
        ("extra_hosts", Any),
        ("healthcheck", HEALTHCHECK),
        ("hostname", Any),
        ("image", Any),
        ("init", Any),
        ("ipc", Any),
        ("isolation", Any),
        ("labels", Any),
        ("links", Any),
        ("logging", These(&[("driver", Any), ("options", Any)], No)),
        ("mac_address", Any),
        ("network_mode", Any),
        (
            "networks",
            Named(&These(
                &[("aliases", Any), ("driver_opts", Any), ("ipv4_address", Any), ("ipv6_address", Any)],
                No,
            )),
        ),
        ("oom_score_adj", Any),
        ("pid", Any),
        ("ports", Each(&PORT)),
        ("privileged", Any),
        ("read_only", Any),
        ("restart", Any),
        ("secrets", Any),
        ("security_opt", Any),
        ("shm_size", Any),
        ("stdin_open", Any),
        ("stop_grace_period", Any),
        ("stop_signal", Any),
        ("sysctls", Any),
        ("tmpfs", Any),
        ("tty", Any),
        ("ulimits", Any),
        ("user", Any),
        ("userns_mode", Any),
        ("volumes", Each(&MOUNT)),
        ("working_dir", Any),
    ],
    Allowed,
);
const NETWORK: Keys = These(
    &[
        ("name", Any),
        ("driver", Any),
        ("driver_opts", Any),
        ("ipam", These(&[("driver", Any), ("config", Each(&These(&[("subnet", Any)], No)))], No)),
        ("external", Any),
        ("internal", Any),
        ("attachable", Any),
        ("labels", Any),
    ],
    Allowed,
);
const VOLUME: Keys = These(
    &[("name", Any), ("driver", Any), ("driver_opts", Any), ("external", Any), ("labels", Any)],
    Allowed,
);
const SECRET: Keys = These(
    &[
        ("name", Any),
        ("file", Any),
        ("external", Any),
        ("labels", Any),
        ("driver", Any),
        ("driver_opts", Any),
        ("template_driver", Any),
    ],
    Allowed,
);
const CONFIG: Keys = These(
    &[("name", Any), ("file", Any), ("external", Any), ("labels", Any), ("template_driver", Any)],
    Allowed,
);
const ROOT: Keys = These(
    &[
        ("version", Any),
        ("services", Named(&SERVICE)),
        ("networks", Named(&NETWORK)),
        ("volumes", Named(&VOLUME)),
        ("secrets", Named(&SECRET)),
        ("configs", Named(&CONFIG)),
    ],
    Allowed,
);

/// What many files have of `docker compose`, and what says the same here.
fn instead(key: &str) -> &'static str {
    match key {
        "name" => "the stack's name is given to `docker stack deploy`: take the line away",
        "include" => "name every file in `stacks`, or put them together",
        "profiles" => "there are no profiles here: a service that is not to run goes into a stack of its own",
        "pull_policy" => "nodes pull what they do not have: take the line away",
        "platform" => "the image's own platforms decide: take the line away",
        "extends" => "write the keys out, or use a YAML anchor (`x-…: &name`, `<<: *name`)",
        "mem_limit" | "memswap_limit" | "mem_reservation" | "cpus" | "cpu_quota" | "cpu_shares"
        | "cpuset" | "pids_limit" => "`deploy.resources` has the limits and the reservations",
        "scale" => "`deploy.replicas`",
        "volumes_from" | "volume_driver" => {
            "name the volume below `volumes:`, and in each service that mounts it"
        }
        "develop" | "annotations" | "attach" | "runtime" | "gpus" => {
            "`docker stack deploy` has nothing like it: take it away"
        }
        _ => {
            "compare with the Compose file format 3.13: `docker stack config --compose-file FILE` reads it as deploying does"
        }
    }
}

/// A key that `docker stack deploy` refuses, and so the whole file.
pub(super) fn unknown_key(scope: &Scope<'_>, found: &mut Found<'_>) {
    below(&scope.file.root, &ROOT, &mut Vec::new(), &mut |path, key| {
        let place = path.join(".");
        let of = if place.is_empty() { String::new() } else { format!(" below {place}") };
        found.at(
            key.at,
            format!("`docker stack deploy` refuses the key {}{of}", key.name),
            instead(&key.name),
        );
    });
    let Some(version) = scope.file.root.get("version") else { return };
    let known = |text: &str| {
        text == "3"
            || text
                .strip_prefix("3.")
                .and_then(|minor| minor.parse().ok())
                .is_some_and(|minor: u32| minor <= 13)
    };
    if version.text().is_some_and(|text| !known(text)) {
        let written = version.text().unwrap_or_default();
        found.at(
            version.at,
            format!("`docker stack deploy` does not know a Compose file of version {written}"),
            "take the line away: the newest that it knows is meant",
        );
    }
}

fn below<'a>(node: &'a Node, keys: &Keys, path: &mut Vec<&'a str>, refuse: &mut impl FnMut(&[&str], &Key)) {
    match keys {
        Any => {}
        Each(keys) => node.items().iter().for_each(|item| below(item, keys, path, refuse)),
        Named(keys) => {
            for (key, value) in node.entries() {
                if key.name.starts_with("x-") {
                    continue;
                }
                path.push(&key.name);
                below(value, keys, path, refuse);
                path.pop();
            }
        }
        These(known, extensions) => {
            for (key, value) in node.entries() {
                if *extensions == Allowed && key.name.starts_with("x-") {
                    continue;
                }
                match known.iter().find(|(name, _)| *name == key.name) {
                    Some((_, keys)) => {
                        path.push(&key.name);
                        below(value, keys, path, refuse);
                        path.pop();
                    }
                    None => refuse(path, key),
                }
            }
        }
    }
}

/// A value of a shape that only `docker compose` reads.
pub(super) fn wrong_type(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        for port in service.ports() {
            for key in ["published", "target"] {
                if let Some(number) = port.get(key).filter(|number| number.text().is_some()) {
                    // What a variable stands for is made a number.
                    if is_as_written(scope, number) {
                        found.of(
                            service,
                            number.at,
                            format!("`{key}` is a text, and `docker stack deploy` wants a number"),
                            "write it without quotes",
                        );
                    }
                }
            }
        }
        let listed = ["depends_on", "env_file", "cap_add", "cap_drop", "devices"];
        for key in listed {
            let Some(node) = service.get(&[key]) else { continue };
            let is_list =
                node.entries().is_empty() && node.items().iter().all(|item| item.entries().is_empty());
            if !is_list {
                found.of(
                    service,
                    node.at,
                    format!("`docker stack deploy` reads {key} as a list of names and nothing else"),
                    format!("{key}: [NAME, …]; what else stood there only `docker compose` knows"),
                );
            }
        }
        for path in
            [&["deploy", "resources", "limits", "cpus"][..], &["deploy", "resources", "reservations", "cpus"]]
        {
            if let Some(cpus) = service.get(path).filter(|cpus| cpus.text().is_none() && !cpus.is_unknown()) {
                found.of(
                    service,
                    cpus.at,
                    "`cpus` is a number, and `docker stack deploy` wants a text",
                    "write it in quotes: cpus: \"0.5\"",
                );
            }
        }
    }
    let version = scope.file.root.get("version");
    if let Some(version) = version.filter(|version| version.text().is_none() && !version.is_unknown()) {
        found.at(
            version.at,
            "`version` is a number, and `docker stack deploy` wants a text",
            "take the line away, or write it in quotes",
        );
    }
}

/// Whether no variable stands there.
fn is_as_written(scope: &Scope<'_>, node: &Node) -> bool {
    let span = node.at.span();
    let written = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
        let start = usize::try_from(start).ok()?;
        scope.file.text.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    });
    written.is_none_or(|text| !text.contains('$'))
}

/// Keys that it warns of, in a line that nobody reads, and does nothing with.
pub(super) fn ignored_key(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        for (key, _) in service.node.entries() {
            let hint = match key.name.as_str() {
                "build" if service.get(&["image"]).is_some() => {
                    "the nodes pull the image: build it and push it before, then take this away"
                }
                "container_name" => {
                    "tasks have names of their own; other services find this one by its service's name"
                }
                "expose" => "services on one network reach each other on every port: take it away",
                "links" | "external_links" => "services on one network find each other by name: take it away",
                "restart" if service.get(&["deploy", "restart_policy"]).is_some() => {
                    "`deploy.restart_policy` decides: take it away"
                }
                "shm_size" => {
                    "mount a tmpfs of that size at /dev/shm: {type: tmpfs, target: /dev/shm, tmpfs: {size: …}}"
                }
                "domainname" | "mac_address" | "cgroup_parent" | "cgroupns_mode" | "userns_mode" => {
                    "services have nothing like it: take it away"
                }
                _ => continue,
            };
            found.of(service, key.at, format!("{} is ignored by `docker stack deploy`", key.name), hint);
        }
    }
}

/// Privileges that are asked for in vain: the service runs, and lacks what it needs.
pub(super) fn privileges_ignored(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        for (key, value) in service.node.entries() {
            let is_asked = match key.name.as_str() {
                "privileged" => value.truth() == Some(true),
                "devices" | "security_opt" => !value.items().is_empty(),
                "network_mode" | "pid" | "ipc" => value.text().is_some_and(|text| !text.is_empty()),
                _ => false,
            };
            if is_asked {
                found.of(
                    service,
                    key.at,
                    format!("{} is ignored by `docker stack deploy`: the service runs without it", key.name),
                    "what needs it runs outside the swarm, or does with `cap_add`",
                );
            }
        }
    }
}

/// An order that swarm does not keep.
pub(super) fn depends_on(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        if let Some((key, _)) = service.node.entries().iter().find(|(key, _)| key.name == "depends_on") {
            found.of(
                service,
                key.at,
                "depends_on is ignored: services start in any order, and each again by itself",
                "let the service try again until what it needs answers, then take this away",
            );
        }
    }
}

/// Variables that nothing sets: Docker puts nothing in their place, without a word.
pub(super) fn unset_variable(scope: &Scope<'_>, found: &mut Found<'_>) {
    for (at, unset) in &scope.file.unset {
        let name = &unset.name;
        let hint = format!("set it in the environment, or write what else it is: ${{{name}:-…}}");
        if unset.is_refused {
            found.at(*at, format!("${{{name}}} is not set: Docker refuses the file"), hint);
        } else {
            // Whoever deploys may set it.
            let message = format!("${{{name}}} is not set: Docker would put nothing in its place");
            found.graded(Severity::Warning).at(*at, message, hint);
        }
    }
    for at in &scope.file.malformed {
        found.at(
            *at,
            "this `$` begins no variable: Docker refuses the file",
            "write `$$` where a `$` is meant",
        );
    }
}

/// Names that nothing below the root defines.
pub(super) fn undefined_reference(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        for mount in service.mounts() {
            if let MountKind::Volume(name) = &mount.kind
                && scope.file.entry("volumes", name).is_none()
            {
                undefined(found, service, mount.at, "volume", name);
            }
        }
        for (at, name) in service.networks().into_iter().flatten() {
            if name != "default" && scope.file.entry("networks", name).is_none() {
                undefined(found, service, at, "network", name);
            }
        }
        for (section, kind) in [("secrets", "secret"), ("configs", "config")] {
            for item in service.get(&[section]).map_or(&[][..], Node::items) {
                let Some(source) = item.get("source").unwrap_or(item).text() else { continue };
                if scope.file.entry(section, source).is_none() {
                    undefined(found, service, item.at, kind, source);
                }
            }
        }
    }
}

fn undefined(
    found: &mut Found<'_>,
    service: Service<'_>,
    at: serde_saphyr::Location,
    kind: &str,
    name: &str,
) {
    found.graded(Severity::Error).of(
        service,
        at,
        format!("there is no {kind} {name} below `{kind}s:`"),
        format!("define it there: `{kind}s: {{{name}: …}}`"),
    );
}
