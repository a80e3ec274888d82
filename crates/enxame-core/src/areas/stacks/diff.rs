//! What deploying a stack would change, field by field: what `docker stack deploy` would write against what the engine has.
//!
//! Fields are called as a compose file calls them, where it has a word. Invariant: right after a stack was deployed, nothing
//! differs; what the engine fills in where nobody says anything is no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::conversion::{Conversion, Target};
use super::lint::sounds_secret;
use crate::change::Difference;
use crate::names::ObjectName;

/// What would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackDifference {
    /// The stack.
    pub stack: ObjectName,
    /// Its services that would change, by name.
    pub services: Vec<ServiceDifference>,
    /// What would be made beside them, e.g. `network web_default`.
    pub made: Vec<String>,
    /// Configs that have another content, which Docker refuses to change.
    pub refused: Vec<String>,
    /// Images that no registry told the digest of, so that each node takes what it finds under that name.
    pub undigested: Vec<String>,
    /// Services that run and are no longer in the file.
    pub left: Vec<String>,
    /// What the command said.
    pub said: Vec<String>,
}

/// What would change of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceDifference {
    /// Its name.
    pub name: String,
    /// Whether there is none yet.
    pub is_new: bool,
    /// What becomes of its tasks.
    pub tasks: TasksFate,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// What becomes of a service's tasks (swarmkit, manager/orchestrator/task.go: `IsTaskDirty`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TasksFate {
    /// They run on.
    Kept,
    /// Those where they may no longer be are replaced.
    ReplacedWhereUnfit,
    /// All of them are replaced.
    Replaced,
}

impl TasksFate {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Kept => "its tasks run on",
            Self::ReplacedWhereUnfit => "its tasks on nodes that no longer fit are replaced",
            Self::Replaced => "its tasks are replaced",
        }
    }
}

impl StackDifference {
    /// Compares.
    #[must_use]
    pub fn of(conversion: &Conversion) -> Self {
        let text = |value: &Value, at: &str| {
            value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let running: BTreeMap<String, &Value> =
            conversion.services.iter().map(|service| (text(service, "/Spec/Name"), service)).collect();
        let (mut services, mut made, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let (mut written, mut undigested) = (BTreeSet::new(), BTreeSet::new());
        for write in &conversion.writes {
            let name = write.name();
            match write.target() {
                Some(Target::New("services") | Target::Known("services", _)) => {
                    written.insert(name.to_owned());
                    let image = text(&write.body, "/TaskTemplate/ContainerSpec/Image");
                    undigested.extend(Some(image).filter(|image| !image.contains("@sha256:")));
                    let old = running.get(name).and_then(|service| service.get("Spec"));
                    services.extend(service(name, old, &write.body, &conversion.networks));
                }
                Some(Target::New(kind)) => made.push(format!("{} {name}", kind.trim_end_matches('s'))),
                Some(Target::Known("configs", id)) => {
                    let same = conversion.configs.iter().find(|config| text(config, "/ID") == id);
                    let data = same.and_then(|config| config.pointer("/Spec/Data"));
                    if data.is_some_and(|data| Some(data) != write.body.get("Data")) {
                        refused.push(name.to_owned());
                    }
                }
                // A secret's content cannot be compared: the engine does not tell it.
                Some(Target::Known(..)) | None => {}
            }
        }
        services.sort_by(|a, b| a.name.cmp(&b.name));
        made.sort();
        let left = running.into_keys().filter(|name| !written.contains(name)).collect();
        Self {
            stack: conversion.stack.clone(),
            services,
            made,
            refused,
            undigested: undigested.into_iter().collect(),
            left,
            // That is told of every image, and not only where a service is updated.
            said: conversion.said.iter().filter(|line| !line.contains(NO_DIGEST)).cloned().collect(),
        }
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.made.is_empty() && self.refused.is_empty()
    }
}

/// Of Docker's words on it (moby, `client/service_create.go`).
const NO_DIGEST: &str = "could not be accessed on a registry to record its digest";

fn service(
    name: &str,
    old: Option<&Value>,
    new: &Value,
    networks: &BTreeMap<String, String>,
) -> Option<ServiceDifference> {
    let fields = |spec: &Value| {
        let mut fields = BTreeMap::new();
        flatten(spec, &mut Vec::new(), networks, &mut fields);
        fields
    };
    let (before, after) = (old.map(fields).unwrap_or_default(), fields(new));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = || paths.iter().filter(|path| before.get(**path) != after.get(**path));
    let tasks = differing().map(|path| fate(path)).max_by_key(|fate| match fate {
        TasksFate::Kept => 0,
        TasksFate::ReplacedWhereUnfit => 1,
        TasksFate::Replaced => 2,
    });
    let tasks = if old.is_none() { TasksFate::Kept } else { tasks? };
    let differences = differing().filter(|path| !is_dull(path, old.is_none())).map(|path| {
        let told = |side: &BTreeMap<String, String>| side.get(*path).map(|value| told(path, value));
        let field = field(path);
        match (told(&before), told(&after)) {
            // What is not shown has changed all the same.
            (Some(old), Some(new)) if old == new => {
                Difference::changed(field, old, format!("{new}, another"))
            }
            (old, new) => Difference { field: field.into(), old, new },
        }
    });
    Some(ServiceDifference {
        name: name.to_owned(),
        is_new: old.is_none(),
        tasks,
        differences: differences.collect(),
    })
}

/// What a new service has by being one of a stack's is not told of each.
fn is_dull(path: &str, is_new: bool) -> bool {
    is_new
        && (path.starts_with("Labels.com.docker.stack.")
            || path.starts_with("TaskTemplate.ContainerSpec.Labels.com.docker.stack.")
            || path.starts_with("TaskTemplate.Placement.Platforms")
            || path.contains(".Networks.") && path.ends_with(".Aliases")
            || path == "Name")
}

const NOT_SHOWN: &str = "(not shown)";

/// Nobody shows a password on a screen: neither a variable's, nor an option's, nor an address's.
fn told(path: &str, value: &str) -> String {
    if path.strip_prefix("TaskTemplate.ContainerSpec.Env.").is_some_and(sounds_secret) {
        return NOT_SHOWN.to_owned();
    }
    let words = value.split(' ').map(|word| {
        let option = word
            .split_once('=')
            .filter(|(name, _)| sounds_secret(&name.trim_start_matches('-').replace(['-', '.'], "_")));
        if let Some((name, _)) = option {
            return format!("{name}={NOT_SHOWN}");
        }
        let credentials = word.split_once("://").and_then(|(scheme, rest)| {
            let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
            let (user, host) = authority.rsplit_once('@')?;
            let behind = rest.strip_prefix(authority)?;
            let (user, _) = user.split_once(':')?;
            Some(format!("{scheme}://{user}:{NOT_SHOWN}@{host}{behind}"))
        });
        credentials.unwrap_or_else(|| word.to_owned())
    });
    words.collect::<Vec<_>>().join(" ")
}

fn fate(path: &str) -> TasksFate {
    let placement = "TaskTemplate.Placement.";
    if path.starts_with(placement) && !path.starts_with("TaskTemplate.Placement.Platforms") {
        TasksFate::ReplacedWhereUnfit
    } else if path.starts_with("TaskTemplate.") || path.starts_with("EndpointSpec.") {
        TasksFate::Replaced
    } else {
        TasksFate::Kept
    }
}

/// What the engine has where nobody said anything; all that is empty, zero or false besides. Sources: docker/cli,
/// cli/compose/convert; moby, daemon/cluster/convert; swarmkit, api/defaults.
const DEFAULTS: [(&str, &str); 16] = [
    ("EndpointSpec.Mode", "vip"),
    ("Mode.Replicated.Replicas", "1"),
    ("TaskTemplate.ContainerSpec.Isolation", "default"),
    ("TaskTemplate.ContainerSpec.StopGracePeriod", "10s"),
    ("TaskTemplate.RestartPolicy.Condition", "any"),
    ("TaskTemplate.RestartPolicy.Delay", "5s"),
    ("TaskTemplate.Runtime", "container"),
    ("UpdateConfig.FailureAction", "pause"),
    ("UpdateConfig.Monitor", "5s"),
    ("UpdateConfig.Order", "stop-first"),
    ("UpdateConfig.Parallelism", "1"),
    ("RollbackConfig.FailureAction", "pause"),
    ("RollbackConfig.Monitor", "5s"),
    ("RollbackConfig.Order", "stop-first"),
    ("RollbackConfig.Parallelism", "1"),
    ("Name", ""),
];

/// The same of each port.
const DEFAULTS_OF_PORTS: [(&str, &str); 2] = [("Protocol", "tcp"), ("PublishMode", "ingress")];

/// Numbers that are nanoseconds.
const DURATIONS: [&str; 8] =
    ["Delay", "Monitor", "Window", "StopGracePeriod", "Interval", "Timeout", "StartPeriod", "StartInterval"];

/// Every value below, by its path; lists by what tells their items apart.
fn flatten(
    value: &Value,
    path: &mut Vec<String>,
    networks: &BTreeMap<String, String>,
    fields: &mut BTreeMap<String, String>,
) {
    let mut put = |path: &[String], text: String| {
        let is_default_port = path.iter().any(|part| part == "Ports")
            && path.last().is_some_and(|last| DEFAULTS_OF_PORTS.contains(&(last.as_str(), text.as_str())));
        let path = path.join(".");
        if !text.is_empty() && !is_default_port && !DEFAULTS.contains(&(path.as_str(), text.as_str())) {
            fields.insert(path, text);
        }
    };
    match value {
        Value::Null | Value::Bool(false) => {}
        Value::Bool(true) => put(path, "true".to_owned()),
        Value::Number(number) => {
            let is_duration = path.last().is_some_and(|last| DURATIONS.contains(&last.as_str()));
            match number.as_u64() {
                Some(0) => {}
                Some(nanoseconds) if is_duration => put(path, duration(nanoseconds)),
                _ => put(path, number.to_string()),
            }
        }
        Value::String(text) => {
            let is_network = path.last().is_some_and(|last| last == "Target")
                && path.iter().any(|part| part == "Networks");
            let known = networks.get(text).filter(|_| is_network);
            put(path, known.unwrap_or(text).clone());
        }
        Value::Object(map) => {
            for (key, value) in map {
                path.push(key.clone());
                flatten(value, path, networks, fields);
                path.pop();
            }
        }
        Value::Array(items) => list(items, path, networks, fields),
    }
}

fn list(
    items: &[Value],
    path: &mut Vec<String>,
    networks: &BTreeMap<String, String>,
    fields: &mut BTreeMap<String, String>,
) {
    let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    let is_environment = path.last().is_some_and(|last| last == "Env");
    let keyed: Option<Vec<(String, &Value)>> =
        items.iter().map(|item| Some((key_of(item, networks)?, item))).collect();
    match (texts, keyed) {
        (Some(texts), _) if is_environment => {
            for text in texts {
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                // Empty is something else than absent.
                let value = if value.is_empty() { "\"\"" } else { value };
                fields.insert(format!("{}.{name}", path.join(".")), value.to_owned());
            }
        }
        (Some(mut texts), _) => {
            // In which order a command's words are counts; constraints and aliases are sets.
            let is_set = ["Constraints", "Aliases", "CapabilityAdd", "CapabilityDrop"];
            if path.last().is_some_and(|last| is_set.contains(&last.as_str())) {
                texts.sort_unstable();
            }
            if !texts.is_empty() {
                fields.insert(path.join("."), texts.join(" "));
            }
        }
        (None, Some(keyed)) => {
            for (key, item) in keyed {
                path.push(key);
                flatten(item, path, networks, fields);
                path.pop();
            }
        }
        (None, None) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                flatten(item, path, networks, fields);
                path.pop();
            }
        }
    }
}

/// What tells an item of a list from the others.
fn key_of(item: &Value, networks: &BTreeMap<String, String>) -> Option<String> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    if let Some(port) = item.get("TargetPort") {
        let protocol = text("Protocol").unwrap_or("tcp");
        return Some(format!("{port}/{protocol}"));
    }
    let name = ["SecretName", "ConfigName", "Target", "Name"].iter().find_map(|key| text(key))?;
    Some(networks.get(name).map_or(name, String::as_str).to_owned())
}

/// As a compose file has it.
fn duration(nanoseconds: u64) -> String {
    let whole = Duration::from_nanos(nanoseconds);
    let (seconds, rest) = (whole.as_secs(), whole.subsec_nanos());
    match (seconds, rest) {
        (0, rest) if rest % 1_000_000 == 0 => format!("{}ms", rest / 1_000_000),
        (seconds, 0) if seconds >= 60 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{nanoseconds}ns"),
    }
}

/// What compose files call what the API calls otherwise, longest first.
const WORDS: [(&str, &str); 26] = [
    ("TaskTemplate.ContainerSpec.Image", "image"),
    ("TaskTemplate.ContainerSpec.Env", "environment"),
    ("TaskTemplate.ContainerSpec.Labels", "labels"),
    ("TaskTemplate.ContainerSpec.Command", "entrypoint"),
    ("TaskTemplate.ContainerSpec.Args", "command"),
    ("TaskTemplate.ContainerSpec.Mounts", "volumes"),
    ("TaskTemplate.ContainerSpec.Secrets", "secrets"),
    ("TaskTemplate.ContainerSpec.Configs", "configs"),
    ("TaskTemplate.ContainerSpec.Healthcheck", "healthcheck"),
    ("TaskTemplate.ContainerSpec.StopGracePeriod", "stop_grace_period"),
    ("TaskTemplate.ContainerSpec.StopSignal", "stop_signal"),
    ("TaskTemplate.ContainerSpec.CapabilityAdd", "cap_add"),
    ("TaskTemplate.ContainerSpec.CapabilityDrop", "cap_drop"),
    ("TaskTemplate.ContainerSpec.ReadOnly", "read_only"),
    ("TaskTemplate.ContainerSpec.Sysctls", "sysctls"),
    ("TaskTemplate.ContainerSpec", "container"),
    ("TaskTemplate.Networks", "networks"),
    ("TaskTemplate.LogDriver", "logging"),
    ("TaskTemplate.Resources", "deploy.resources"),
    ("TaskTemplate.Placement", "deploy.placement"),
    ("TaskTemplate.RestartPolicy", "deploy.restart_policy"),
    ("Mode.Replicated.Replicas", "deploy.replicas"),
    ("UpdateConfig", "deploy.update_config"),
    ("RollbackConfig", "deploy.rollback_config"),
    ("EndpointSpec.Ports", "ports"),
    ("Labels", "deploy.labels"),
];

fn field(path: &str) -> String {
    for (api, word) in WORDS {
        let Some(rest) = path.strip_prefix(api) else { continue };
        if rest.is_empty() || rest.starts_with('.') {
            return format!("{word}{}", if keeps_case(word) { rest.to_owned() } else { snake_case(rest) });
        }
    }
    snake_case(path)
}

/// Names below these are the user's.
fn keeps_case(word: &str) -> bool {
    ["environment", "labels", "deploy.labels", "sysctls"].contains(&word)
}

/// `FailureAction` as `failure_action`.
fn snake_case(text: &str) -> String {
    let mut written = String::new();
    let mut before = '.';
    for one in text.chars() {
        if one.is_ascii_uppercase() && before.is_ascii_lowercase() {
            written.push('_');
        }
        written.push(one.to_ascii_lowercase());
        before = one;
    }
    written
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::areas::stacks::Write;

    fn spec() -> Value {
        json!({
            "Name": "web_app",
            "Labels": {"com.docker.stack.namespace": "web", "traefik.enable": "true"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "nginx:1.29@sha256:aa",
                    "Env": ["A=1", "DB_PASSWORD=geheim", "EMPTY="],
                    "Args": ["serve", "--token=geheim", "pg://u:geheim@db/x"],
                    "Mounts": [{"Type": "volume", "Source": "data", "Target": "/data"}],
                    "StopGracePeriod": 10_000_000_000u64
                },
                "Placement": {"Constraints": ["node.labels.b == 1", "node.labels.a == 1"]},
                "Networks": [{"Target": "web_default", "Aliases": ["app"]}],
                "Resources": {}
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "UpdateConfig": {"Parallelism": 1, "Monitor": 5_000_000_000u64, "Order": "stop-first"},
            "EndpointSpec": {"Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 80, "PublishMode": "ingress"}]}
        })
    }

    fn conversion(running: Option<Value>, wanted: Value) -> Conversion {
        let path = if running.is_some() { "/services/1/update" } else { "/services/create" };
        Conversion {
            stack: ObjectName::new("web").unwrap(),
            writes: vec![Write { path: path.to_owned(), body: wanted }],
            said: Vec::new(),
            services: running.map(|spec| json!({"ID": "1", "Spec": spec})).into_iter().collect(),
            configs: Vec::new(),
            networks: [("n1".to_owned(), "web_default".to_owned())].into(),
        }
    }

    /// What differs when `at` becomes `value`, and what becomes of the tasks.
    fn changed(at: &str, value: Value) -> (Vec<String>, TasksFate) {
        let mut wanted = spec();
        *wanted.pointer_mut(at).unwrap() = value;
        let found = StackDifference::of(&conversion(Some(spec()), wanted));
        let service = &found.services[0];
        let told = service.differences.iter().map(|one| {
            let side = |side: &Option<String>| side.clone().unwrap_or("-".to_owned());
            format!("{}: {} > {}", one.field, side(&one.old), side(&one.new))
        });
        (told.collect(), service.tasks)
    }

    #[test]
    fn what_the_engine_makes_of_an_entry_is_no_difference() {
        let mut running = spec();
        running["TaskTemplate"]["Networks"][0]["Target"] = json!("n1");
        running["TaskTemplate"]["Placement"]["Constraints"] =
            json!(["node.labels.a == 1", "node.labels.b == 1"]);
        running["TaskTemplate"]["Runtime"] = json!("container");
        running["TaskTemplate"]["ForceUpdate"] = json!(0);
        running["TaskTemplate"]["ContainerSpec"]["Isolation"] = json!("default");
        running["EndpointSpec"]["Mode"] = json!("vip");
        running["TaskTemplate"]["ContainerSpec"].as_object_mut().unwrap().remove("StopGracePeriod");
        assert!(StackDifference::of(&conversion(Some(running), spec())).is_empty());
    }

    #[test]
    fn a_difference_is_called_as_in_a_compose_file_and_says_what_becomes_of_the_tasks() {
        let container = "/TaskTemplate/ContainerSpec";
        for (at, value, told, tasks) in [
            (
                format!("{container}/Image"),
                json!("nginx:1.30@sha256:bb"),
                "image: nginx:1.29@sha256:aa > nginx:1.30@sha256:bb",
                TasksFate::Replaced,
            ),
            (
                "/Labels/traefik.enable".to_owned(),
                json!("false"),
                "deploy.labels.traefik.enable: true > false",
                TasksFate::Kept,
            ),
            ("/Mode/Replicated/Replicas".to_owned(), json!(3), "deploy.replicas: - > 3", TasksFate::Kept),
            (
                "/UpdateConfig/Monitor".to_owned(),
                json!(90_000_000_000u64),
                "deploy.update_config.monitor: - > 90s",
                TasksFate::Kept,
            ),
            (
                "/TaskTemplate/Placement/Constraints".to_owned(),
                json!(["node.labels.a == 1"]),
                "deploy.placement.constraints: node.labels.a == 1 node.labels.b == 1 > node.labels.a == 1",
                TasksFate::ReplacedWhereUnfit,
            ),
            (
                "/EndpointSpec/Ports/0/PublishedPort".to_owned(),
                json!(8080),
                "ports.80/tcp.published_port: 80 > 8080",
                TasksFate::Replaced,
            ),
            (
                format!("{container}/Mounts/0/Source"),
                json!("other"),
                "volumes./data.source: data > other",
                TasksFate::Replaced,
            ),
        ] {
            assert_eq!(changed(&at, value), (vec![told.to_owned()], tasks));
        }
    }

    #[test]
    fn a_secret_that_changed_is_told_and_not_shown() {
        let env = json!(["A=1", "DB_PASSWORD=other", "EMPTY="]);
        let (told, _) = changed("/TaskTemplate/ContainerSpec/Env", env);
        assert_eq!(told, ["environment.DB_PASSWORD: (not shown) > (not shown), another"]);
        let args = json!(["serve", "--token=other", "pg://u:other@db/x", "-v"]);
        let (told, _) = changed("/TaskTemplate/ContainerSpec/Args", args);
        assert!(!told[0].contains("geheim") && !told[0].contains("other@"), "{told:?}");
        assert!(told[0].ends_with("serve --token=(not shown) pg://u:(not shown)@db/x -v"), "{told:?}");
        let (told, tasks) = changed("/TaskTemplate/ContainerSpec/Env", json!(["A=1", "EMPTY="]));
        assert_eq!(
            (told[0].as_str(), tasks),
            ("environment.DB_PASSWORD: (not shown) > -", TasksFate::Replaced)
        );
    }

    #[test]
    fn what_is_new_what_is_left_and_what_docker_refuses_are_told() {
        let mut all = conversion(None, spec());
        all.services = vec![json!({"ID": "2", "Spec": {"Name": "web_old"}})];
        let write = |path: &str, body: Value| Write { path: path.to_owned(), body };
        all.writes.insert(0, write("/networks/create", json!({"Name": "web_default"})));
        all.writes.insert(1, write("/configs/c1/update", json!({"Name": "page", "Data": "bmV3"})));
        all.writes.insert(1, write("/configs/c2/update", json!({"Name": "same", "Data": "b2xk"})));
        all.configs = vec![
            json!({"ID": "c1", "Spec": {"Name": "page", "Data": "b2xk"}}),
            json!({"ID": "c2", "Spec": {"Name": "same", "Data": "b2xk"}}),
        ];
        let found = StackDifference::of(&all);
        assert_eq!(found.made, ["network web_default"]);
        assert_eq!(found.refused, ["page"]);
        assert_eq!(found.left, ["web_old"]);
        assert!(found.services[0].is_new && found.services[0].tasks == TasksFate::Kept);
        let fields: Vec<&str> = found.services[0].differences.iter().map(|one| one.field.as_ref()).collect();
        assert!(
            fields.contains(&"image") && !fields.iter().any(|field| field.contains("namespace")),
            "{fields:?}"
        );
    }
}
