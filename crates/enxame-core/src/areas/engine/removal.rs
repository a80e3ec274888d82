//! Taking off what enxame made of the engine: it runs on, installed, and is enxame's no more.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{config, package};
use crate::areas::machine::removal::file_differences;
use crate::change::Difference;
use crate::declare::{Declaration, Draft, View};
use crate::facts::FileFacts;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Keys of `daemon.json` get back what they were; those that were not there go. Not their values: they may hold secrets.
    Config {
        /// The keys.
        keys: Vec<String>,
    },
    /// The packages are free again, and the repository goes.
    Package {
        /// Packages to hold no more.
        unhold: Vec<String>,
        /// Files that get back what they were; where nothing was, they go.
        files: Vec<String>,
    },
    /// Accounts go out of the group `docker`.
    DockerGroup {
        /// The accounts.
        accounts: Vec<String>,
    },
}

pub(super) fn config(view: &View<'_>, wanted: &Map<String, Value>) -> Declaration {
    let Some(before) = &view.facts.before else { return Declaration::nothing() };
    let keys =
        |file: Option<&FileFacts>| config::read_keys(file.and_then(FileFacts::content).unwrap_or_default());
    let now = match keys(view.facts.files.get(config::PATH)) {
        Ok(now) => now,
        Err(error) => return config::refusal(view, &format!("is not a JSON object: {error}")),
    };
    let kept = before.files.get(config::PATH);
    let then = keys(kept).unwrap_or_default();
    // Nobody knows what an earlier build replaced: what is as it makes it, is its.
    let is_ours = |key: &str, made: &Value| match kept {
        Some(_) => now.get(key) != then.get(key),
        None => before.is_missing() && now.get(key) == Some(made),
    };
    let mut changed = Vec::new();
    let mut differences = Vec::new();
    for (key, made) in wanted.iter().filter(|(key, made)| is_ours(key, made)) {
        let field = format!("{} {key}", config::PATH).into();
        let old = now.get(key).map(|old| config::shown(old, made));
        differences.push(Difference { field, old, new: then.get(key).map(|new| config::shown(new, made)) });
        changed.push(key.clone());
    }
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let reason = "the keys are of enxame's making; docker runs on with them until it starts the next time";
    let draft = Draft::new("give the engine's configuration back", reason, Action::Config { keys: changed });
    draft.differing(differences).into()
}

pub(super) fn package(view: &View<'_>) -> Declaration {
    let Some(before) = &view.facts.before else { return Declaration::nothing() };
    let ours = package::engine_packages(view.config.engine.source, &view.facts.os);
    let is_ours =
        |name: &str| before.not_held.contains(name) || (before.is_missing() && ours.contains(&name));
    let held = view.facts.packages.iter().filter(|(name, package)| package.is_held && is_ours(name));
    let unhold: Vec<String> = held.map(|(name, _)| name.clone()).collect();
    let mut differences: Vec<Difference> =
        unhold.iter().map(|name| Difference::changed(format!("package {name}"), "held", "free")).collect();
    let seen = |path: &str| view.facts.files.get(path).and_then(FileFacts::content);
    let mut files = Vec::new();
    let mut of_file = |path: &str, found: Vec<Difference>| {
        if !found.is_empty() {
            differences.extend(found);
            files.push(path.to_owned());
        }
    };
    of_file(package::SOURCES, file_differences(view, package::SOURCES));
    let key = seen(package::KEYRING).map(|_| Difference::removed(package::KEYRING, "the repository's key"));
    of_file(package::KEYRING, key.into_iter().collect());
    for path in package::OTHER_SOURCES {
        let is_away = view.facts.files.get(path) == Some(&FileFacts::Absent);
        let there = before.text(path).filter(|_| is_away);
        let lines = there.map(|text| Difference::added(path, format!("{} lines", text.lines().count())));
        of_file(path, lines.into_iter().collect());
    }
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let reason = "the engine stays installed; upgrades reach it again, and may restart it";
    let action = Action::Package { unhold, files };
    Draft::new("let go of the engine's packages", reason, action).differing(differences).into()
}

pub(super) fn docker_group(view: &View<'_>) -> Declaration {
    let then = view.facts.before.as_ref().and_then(|before| before.docker_group.as_ref());
    let Some(then) = then else { return Declaration::nothing() };
    let now = view.facts.docker_group_members.as_deref().unwrap_or_default();
    let ours = view.config.engine.docker_group.iter();
    let accounts: Vec<String> =
        ours.filter(|account| now.contains(account) && !then.contains(account)).cloned().collect();
    if accounts.is_empty() {
        return Declaration::nothing();
    }
    let differences: Vec<Difference> =
        accounts.iter().map(|account| Difference::removed("group docker", account.as_str())).collect();
    let reason = "enxame put them in; whoever is in it is root";
    let draft = Draft::new("take accounts out of the group docker", reason, Action::DockerGroup { accounts });
    draft.differing(differences).into()
}
