//! Saved states: the memory, devices and disks of all three nodes at one moment.
//!
//! The state itself is inside the nodes' disk files (QEMU's internal snapshots); `.lab/states/NAME.json` says
//! in which set. Invariant: a name is written only after all three nodes are saved.

use std::{collections::BTreeMap, fmt, fs, str::FromStr, thread};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    disks::{DiskSet, children},
    home::{Home, replace_file},
    qmp::Monitor,
    topology::{NODES, Node},
};

/// A name that is safe as a file name and as an argument of the emulator's monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateName(String);

impl FromStr for StateName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > 40 || text.starts_with('-') || !text.bytes().all(sound) {
            bail!(
                "{text:?} cannot name a state\nhint: up to 40 lower-case letters, digits and hyphens, like `after-apply`"
            );
        }
        // A number alone would be taken for a snapshot's number.
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("{text:?} cannot name a state\nhint: begin with a letter");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    disks: String,
}

fn file(home: &Home, name: &str) -> std::path::PathBuf {
    home.inner("states").join(format!("{name}.json"))
}

/// Saves all nodes, which stand still meanwhile so that the three belong together.
pub(crate) fn save(home: &Home, disks: &DiskSet, name: &StateName) -> Result<()> {
    for_all_nodes(|node| Monitor::connect(node)?.command("stop", &json!({})).map(drop))?;
    let saved = for_all_nodes(|node| Monitor::connect(node)?.human_command(&format!("savevm {name}")));
    // Whatever happened, the nodes go on.
    for_all_nodes(|node| Monitor::connect(node)?.command("cont", &json!({})).map(drop))?;
    saved?;
    replace_file(&file(home, &name.0), &serde_json::to_vec(&Saved { disks: disks.to_string() })?)
}

/// The disks that hold a saved state.
pub(crate) fn find(home: &Home, name: &StateName) -> Result<DiskSet> {
    let known = all(home)?;
    let Some(disks) = known.get(&name.0) else {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let names = if names.is_empty() {
            "none is".to_owned()
        } else {
            format!("those that are: {}", names.join(", "))
        };
        bail!("no state is saved under the name {name}\nhint: {names}");
    };
    if !disks.exists(home) {
        bail!(
            "the disks of the saved state {name} are gone\nhint: make it again and save it under the same name"
        );
    }
    Ok(disks.clone())
}

/// Every saved state and the disks it is in.
pub(crate) fn all(home: &Home) -> Result<BTreeMap<String, DiskSet>> {
    let mut states = BTreeMap::new();
    for name in children(&home.inner("states"))?.iter().filter_map(|it| it.strip_suffix(".json")) {
        let path = file(home, name);
        let saved: Saved = serde_json::from_slice(&fs::read(&path)?)
            .with_context(|| format!("cannot read {}", path.display()))?;
        states.insert(name.to_owned(), DiskSet::named(saved.disks)?);
    }
    Ok(states)
}

/// The same for every node, at the same time. The first failure in the nodes' order is returned.
pub(crate) fn for_all_nodes<F>(work: F) -> Result<()>
where
    F: Fn(&'static Node) -> Result<()> + Sync,
{
    thread::scope(|scope| {
        let running: Vec<_> = NODES.iter().map(|node| scope.spawn(|| work(node))).collect();
        running
            .into_iter()
            .map(|it| it.join().unwrap_or_else(|_| bail!("a node's thread panicked")))
            .collect::<Vec<_>>()
            .into_iter()
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        for name in ["", "../up", "a b", "-x", "7", "Ready", "a/b"] {
            let error = name.parse::<StateName>().unwrap_err().to_string();
            assert!(error.contains("cannot name a state"), "{name}: {error}");
        }
        assert_eq!("after-apply-2".parse::<StateName>().unwrap().to_string(), "after-apply-2");
    }

    #[test]
    fn an_unknown_state_is_answered_with_those_that_exist() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        replace_file(&file(&home, "clean"), br#"{"disks":"trixie-bare-0/1"}"#).unwrap();
        let error = find(&home, &"dirty".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("those that are: clean"), "{error}");
    }
}
