//! What was there before enxame first touched it: kept once, before the first action that replaces it, until enxame is
//! taken off.
//!
//! Copies of files stand below `/var/lib/enxame/before` as they stood below `/`; how they were, and all else, is in an index.
//! Invariant: what is in the index is never written again, and is on the disk before the action begins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use enxame_core::areas::{Touched, Value};
use enxame_core::facts::{Before, Coverage, FileFacts};
use serde::{Deserialize, Serialize};

use crate::actuate::ActuateError;
use crate::host::{Command, Host, HostError};
use crate::{facts, journal};

const INDEX: &str = "/var/lib/enxame/before/index.json";
const COPIES: &str = "/var/lib/enxame/before/files";
/// What is kept may hold secrets.
const MODE: u32 = 0o600;

/// How a file was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Original {
    Absent,
    Copied { mode: u32, uid: u32, gid: u32 },
    Unreadable(String),
}

/// What the index holds; everything but the files' text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    record: Coverage,
    files: BTreeMap<String, Original>,
    hostname: Option<String>,
    sysctl: BTreeMap<String, Option<String>>,
    docker_group: Option<Vec<String>>,
    not_held: BTreeSet<String>,
}

fn copy_of(path: &str) -> PathBuf {
    Path::new(COPIES).join(path.trim_start_matches('/'))
}

fn index(host: &dyn Host) -> Result<Index, ActuateError> {
    match host.read(Path::new(INDEX)) {
        FileFacts::Text { content, .. } => Ok(serde_json::from_str(&content)?),
        FileFacts::Unreadable(why) => Err(ActuateError::wrong(format!("cannot read {INDEX}: {why}"), "")),
        // The index is made before the first change is done: where one was, and no index is, the build kept none.
        FileFacts::Absent => {
            let record = if journal::has_done_any(host) { Coverage::Missing } else { Coverage::FromTheStart };
            Ok(Index { record, ..Index::default() })
        }
    }
}

/// Keeps what is about to be replaced, unless it is kept already. An action that replaces nothing begins the record too: it
/// is about to be in the journal, and a journal without a record is that of a build that kept none.
///
/// # Errors
/// When it cannot be kept; the action must not begin then.
pub fn keep(host: &dyn Host, touched: &Touched) -> Result<(), ActuateError> {
    let then = index(host)?;
    let mut now = then.clone();
    // What is there now may be what that build made.
    if now.record == Coverage::FromTheStart {
        add(host, touched, &mut now)?;
    }
    if now == then && host.read(Path::new(INDEX)) != FileFacts::Absent {
        return Ok(());
    }
    Ok(host.write(Path::new(INDEX), &serde_json::to_string(&now)?, MODE)?)
}

fn add(host: &dyn Host, touched: &Touched, index: &mut Index) -> Result<(), HostError> {
    for path in &touched.files {
        if index.files.contains_key(path) {
            continue;
        }
        let kept = match host.read(Path::new(path)) {
            FileFacts::Absent => Original::Absent,
            FileFacts::Unreadable(why) => Original::Unreadable(why),
            FileFacts::Text { content, mode, uid, gid } => {
                host.write(&copy_of(path), &content, MODE)?;
                Original::Copied { mode, uid, gid }
            }
        };
        index.files.insert(path.clone(), kept);
    }
    let keys = touched.sysctl.iter().filter(|key| !index.sysctl.contains_key(*key)).cloned().collect();
    index.sysctl.extend(facts::sysctl_values(host, &keys));
    index.not_held.extend(touched.holds.iter().cloned());
    for value in &touched.values {
        match value {
            Value::Hostname => {
                index.hostname.get_or_insert_with(facts::hostname);
            }
            Value::DockerGroup => {
                index.docker_group.get_or_insert_with(|| facts::docker_group(host).unwrap_or_default());
            }
        }
    }
    Ok(())
}

/// All that is kept, with the files' text. What cannot be read is not known.
#[must_use]
pub fn look(host: &dyn Host) -> Before {
    let Ok(index) = index(host) else { return Before { record: Coverage::Missing, ..Before::default() } };
    let files = index.files.into_iter().map(|(path, kept)| {
        let file = as_it_was(host, &path, kept);
        (path, file)
    });
    Before {
        record: index.record,
        files: files.collect(),
        hostname: index.hostname,
        sysctl: index.sysctl,
        docker_group: index.docker_group,
        not_held: index.not_held,
    }
}

fn as_it_was(host: &dyn Host, path: &str, kept: Original) -> FileFacts {
    match kept {
        Original::Absent => FileFacts::Absent,
        Original::Unreadable(why) => FileFacts::Unreadable(why),
        Original::Copied { mode, uid, gid } => match host.read(&copy_of(path)) {
            FileFacts::Text { content, .. } => FileFacts::Text { content, mode, uid, gid },
            FileFacts::Absent => FileFacts::Unreadable("its copy is gone".to_owned()),
            unreadable @ FileFacts::Unreadable(_) => unreadable,
        },
    }
}

/// A file as it was; `None` where it was never touched or that is not known.
///
/// # Errors
/// When the index cannot be read.
pub fn file(host: &dyn Host, path: &str) -> Result<Option<FileFacts>, ActuateError> {
    let kept = index(host)?.files.remove(path);
    Ok(kept.map(|kept| as_it_was(host, path, kept)))
}

/// Gives a file back what it was; where nothing was, or nothing is known, it goes.
///
/// # Errors
/// [`ActuateError`], also when the copy cannot be read: then the file stays.
pub fn put_back(host: &dyn Host, path: &str) -> Result<(), ActuateError> {
    match file(host, path)? {
        None | Some(FileFacts::Absent) => Ok(host.remove(Path::new(path))?),
        Some(FileFacts::Unreadable(why)) => Err(ActuateError::wrong(
            format!("what {path} was cannot be read: {why}"),
            "mend the file by hand",
        )),
        Some(FileFacts::Text { content, mode, uid, gid }) => {
            host.write(Path::new(path), &content, mode)?;
            if (uid, gid) != (0, 0) {
                host.run_ok(&Command::new(["chown", "--", &format!("{uid}:{gid}"), path]))?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
