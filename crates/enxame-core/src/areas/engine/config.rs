//! `/etc/docker/daemon.json` (the manual is silent): log rotation and address pools. Keys of the user's own stay.

use crate::change::{Difference, Kind, Risk};
use crate::config::{AddressPool, Config, EngineConfig, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, SwarmFate, View};
use crate::facts::{EngineState, FactsQuery, FileFacts};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(crate) const KIND: Kind = Kind::of("engine_config");
/// The file.
pub const PATH: &str = "/etc/docker/daemon.json";

/// See the module.
pub(crate) struct EngineConfigFile;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Only enxame's own keys: the user's may hold passwords of proxies, which do not belong into a plan.
    pub keys: Map<String, Value>,
    /// Whether the engine reads the file anew.
    pub restart: bool,
    /// Whether the node is a member that has to come back.
    pub in_swarm: bool,
}

fn wanted(engine: &EngineConfig) -> Map<String, Value> {
    let pool = |pool: &AddressPool| json!({"base": pool.base.to_string(), "size": pool.size});
    let log = json!({"max-size": engine.log_max_size, "max-file": engine.log_max_files.to_string()});
    Map::from_iter([
        ("log-driver".to_owned(), json!("json-file")),
        ("log-opts".to_owned(), log),
        ("default-address-pools".to_owned(), engine.address_pools.iter().map(pool).collect()),
    ])
}

/// What is there, as far as it is enxame's: options of the user's own logging driver may be secrets.
pub(super) fn shown(old: &Value, new: &Value) -> String {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let own: Map<String, Value> = old
                .iter()
                .filter(|(key, _)| new.contains_key(*key))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            let others = old.keys().filter(|key| !new.contains_key(*key));
            let others: String = others.flat_map(|key| [" and ", key.as_str()]).collect();
            format!("{}{others}", Value::Object(own))
        }
        _ => old.to_string(),
    }
}

/// The keys of the file.
///
/// # Errors
/// When it is no JSON object.
pub fn read_keys(text: &str) -> Result<Map<String, Value>, serde_json::Error> {
    if text.trim().is_empty() { Ok(Map::new()) } else { serde_json::from_str(text) }
}

impl Declare for EngineConfigFile {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "5.1"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        &[]
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery { files: [PATH.to_owned()].into(), ..FactsQuery::default() }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let old = match view.facts.files.get(PATH) {
            Some(FileFacts::Text { content, .. }) => content.as_str(),
            Some(FileFacts::Unreadable(why)) => return refusal(view, &format!("cannot be read: {why}")),
            Some(FileFacts::Absent) | None => "",
        };
        let now = match read_keys(old) {
            Ok(keys) => keys,
            Err(error) => return refusal(view, &format!("is not a JSON object: {error}")),
        };
        let keys = wanted(&view.config.engine);
        let conflicts = super::conflicts::findings(view, &now, &keys);
        if conflicts.iter().any(|finding| finding.severity == Severity::Error) {
            return Declaration { drafts: Vec::new(), findings: conflicts };
        }
        let differences: Vec<Difference> = keys
            .iter()
            .filter(|(key, value)| now.get(*key) != Some(value))
            .map(|(key, value)| Difference {
                field: format!("{PATH} {key}").into(),
                old: now.get(key).map(|old| shown(old, value)),
                new: Some(value.to_string()),
            })
            .chain(unfinished(view))
            .collect();
        if differences.is_empty() {
            return Declaration { drafts: Vec::new(), findings: conflicts };
        }
        let is_there = view.facts.engine.state != EngineState::Absent;
        let in_swarm = view.facts.is_swarm_member();
        let risk = match (is_there, in_swarm) {
            (false, _) => Risk::Safe,
            (true, false) => Risk::Restarts("docker".to_owned()),
            (true, true) => {
                Risk::Disruptive("docker restarts, and the containers on this node with it".to_owned())
            }
        };
        let reason =
            "logs of containers grow until the disk is full; the engine reads the file when it starts";
        let action = Action { keys, restart: is_there, in_swarm };
        let draft = Draft::new("configure the engine", reason, action).differing(differences).risking(risk);
        Declaration { drafts: vec![draft], findings: conflicts }
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::config(view, &wanted(&view.config.engine))
    }
}

/// A run that was cut off between the file and the restart: the file is as wanted and the engine has not read it.
fn unfinished(view: &View<'_>) -> Option<Difference> {
    let id = format!("{}/{KIND}", view.node.name);
    let is_open = view.facts.interrupted.iter().any(|open| open.change == id);
    is_open.then(|| Difference::changed("docker.service", "may not have read its file", "restarted"))
}

pub(super) fn refusal(view: &View<'_>, why: &str) -> Declaration {
    let finding = Finding::error("5.1", format!("{PATH} {why}"), "mend the file by hand, then plan again")
        .on(&view.node.name);
    Declaration { drafts: Vec::new(), findings: vec![finding] }
}
