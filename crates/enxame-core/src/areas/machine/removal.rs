//! Taking off what enxame made of the machine: its files go, and what it replaced comes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{hostname, hosts, sysctl};
use crate::change::Difference;
use crate::declare::{Declaration, Draft, Finding, SwarmFate, View};
use crate::facts::{EngineState, FileFacts};
use crate::files::{is_owned, line_differences, without_block};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The host name and its file get back what they were.
    Hostname {
        /// The name.
        name: String,
    },
    /// The nodes' names go out of the file.
    Hosts,
    /// A file gets back what it was; where nothing was, it goes.
    File {
        /// The file.
        path: String,
    },
    /// The same, and the live values with it.
    Sysctl {
        /// The file.
        path: String,
        /// The values that were live.
        live: BTreeMap<String, String>,
    },
}

/// What dockerd sets itself when it starts, and does not work without.
const OF_THE_ENGINE: [&str; 2] = ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"];

pub(super) fn hostname(view: &View<'_>) -> Declaration {
    let Some(before) = &view.facts.before else { return Declaration::nothing() };
    let Some(name) = &before.hostname else { return Declaration::nothing() };
    let mut differences = Vec::new();
    if view.facts.hostname != *name {
        differences.push(Difference::changed("kernel.hostname", &view.facts.hostname, name));
    }
    let text = |file: Option<&FileFacts>| file.and_then(FileFacts::content).unwrap_or_default().to_owned();
    let now = text(view.facts.files.get(hostname::PATH));
    differences.extend(line_differences(hostname::PATH, &now, &text(before.files.get(hostname::PATH))));
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let action = Action::Hostname { name: name.clone() };
    let reason = "it is the name the server came with";
    Draft::new(format!("give the host name back: {name}"), reason, action).differing(differences).into()
}

pub(super) fn hosts(view: &View<'_>) -> Declaration {
    let Some(now) = view.facts.files.get(hosts::PATH).and_then(FileFacts::content) else {
        return Declaration::nothing();
    };
    match without_block(now) {
        Ok(None) => Declaration::nothing(),
        Ok(Some(rest)) => {
            let reason = "the names of the nodes are of enxame's making; other lines stay";
            let draft = Draft::new("take the nodes' names out of /etc/hosts", reason, Action::Hosts);
            draft.differing(line_differences(hosts::PATH, now, &rest)).into()
        }
        Err(broken) => {
            let message = format!("{}: {broken}", hosts::PATH);
            let finding = Finding::error("2.1", message, "mend the file by hand, then uninstall again");
            Declaration { drafts: Vec::new(), findings: vec![finding.on(&view.node.name)] }
        }
    }
}

/// What gets a file back to what it was; empty where it is not of enxame's making.
pub(crate) fn file_differences(view: &View<'_>, path: &str) -> Vec<Difference> {
    let Some(now) = view.facts.files.get(path).and_then(FileFacts::content).filter(|now| is_owned(now))
    else {
        return Vec::new();
    };
    match view.facts.before.as_ref().and_then(|before| before.text(path)) {
        Some(then) => line_differences(path.to_owned(), now, then),
        None => {
            vec![Difference::removed(path.to_owned(), format!("{} lines", now.lines().count()))]
        }
    }
}

pub(super) fn file(view: &View<'_>, path: &str, summary: &str) -> Declaration {
    let differences = file_differences(view, path);
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let action = Action::File { path: path.to_owned() };
    Draft::new(summary, "the file is of enxame's making", action).differing(differences).into()
}

pub(super) fn sysctl(view: &View<'_>, swarm: SwarmFate) -> Declaration {
    let path = sysctl::PATH;
    let mut differences = Vec::new();
    let mut live = BTreeMap::new();
    let has_engine = view.facts.engine.state != EngineState::Absent;
    // The engine raises the floors once, when the first overlay network comes: below a swarm that stays they stay.
    let stays = |key: &str| {
        has_engine && OF_THE_ENGINE.contains(&key)
            || swarm == SwarmFate::Stays && view.facts.is_swarm_member() && sysctl::FLOORS.contains(&key)
    };
    let before = view.facts.before.iter().flat_map(|before| &before.sysctl);
    for (key, then) in before.filter(|(key, _)| !stays(key)) {
        let now = view.facts.sysctl.get(key).and_then(Option::as_deref).map(sysctl::normalised);
        let (Some(then), Some(now)) = (then.as_deref().map(sysctl::normalised), now) else { continue };
        if then != now {
            differences.push(Difference::changed(format!("{key} (live)"), now, &then));
            live.insert(key.clone(), then);
        }
    }
    differences.extend(file_differences(view, path));
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let reason = "the values are of enxame's making";
    let action = Action::Sysctl { path: path.to_owned(), live };
    Draft::new("give the kernel its values back", reason, action).differing(differences).into()
}
