//! The file system of the shared files: whatever is mounted in their place, or a file that is made for them.
//!
//! It is one of its own because a client reaches all of the file system that an exported directory is in (`exports(5)`,
//! `subtree_check`), and because whoever fills it fills nothing else. Invariant: nothing is formatted but a file that was made
//! for it, and nothing is mounted over files.

use serde::{Deserialize, Serialize};

use super::{IMAGE_PATH, MOUNT_PATH, MOUNT_UNIT, ROOT, Wanted, texts};
use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{FactsQuery, MountFacts, PlaceFacts};
use crate::files::OwnedFile;

pub(crate) const KIND: Kind = Kind::of("storage_filesystem");
/// The root file system keeps this.
const LEFT_FREE_BYTES: u64 = 1 << 30;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The size of the file, in bytes. A file system that is there grows to it, and one that is not is made.
    pub bytes: u64,
    /// What mounts it.
    pub unit: OwnedFile,
}

/// See the module.
pub(crate) struct StorageFilesystem;

impl Declare for StorageFilesystem {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "4.1"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        &[]
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery {
            files: [MOUNT_PATH.to_owned()].into(),
            units: [MOUNT_UNIT.to_owned()].into(),
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        match Wanted::of(view.config) {
            Some(wanted) if wanted.server.name == view.node.name => declare(view, wanted),
            Some(_) | None => Declaration::nothing(),
        }
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // The files stay, and stay mounted.
        Declaration::nothing()
    }
}

fn refusal(view: &View<'_>, message: impl Into<String>, hint: impl Into<String>) -> Declaration {
    let finding = Finding::error("4.1", message, hint).on(&view.node.name);
    Declaration { drafts: Vec::new(), findings: vec![finding] }
}

fn declare(view: &View<'_>, wanted: Wanted<'_>) -> Declaration {
    let seen = &view.facts.storage;
    match (&seen.place, seen.image_bytes) {
        (PlaceFacts::Other(what), _) => {
            refusal(view, format!("{ROOT} cannot hold the shared files: {what}"), "see to it on the node")
        }
        (PlaceFacts::Mounted(mount), _) if mount.is_read_only => refusal(
            view,
            format!("{ROOT} is mounted read-only"),
            format!("see why on the node (dmesg): mount -o remount,rw {ROOT}"),
        ),
        // One of the user's own: its size is theirs.
        (PlaceFacts::Mounted(MountFacts { source, .. }), image) if !is_ours(source) || image.is_none() => {
            Declaration::nothing()
        }
        (PlaceFacts::Directory { entries: 1.. }, _) => over_files(view),
        (_, image) => ours(view, wanted, image),
    }
}

/// Whether a mount's source is a loop device, or the file as `mount` names it.
fn is_ours(source: &str) -> bool {
    source.starts_with("/dev/loop") || source == IMAGE_PATH
}

fn over_files(view: &View<'_>) -> Declaration {
    let message = format!("{ROOT} has files in it and is no file system of its own");
    let hint = format!(
        "stop what writes there, then: mv {ROOT} {ROOT}.before; apply; move what is to be shared below the directory of \
         its export (cp -a {ROOT}.before/... {ROOT}/NAME/). Or mount a file system there that has them"
    );
    refusal(view, message, hint)
}

fn ours(view: &View<'_>, wanted: Wanted<'_>, image: Option<u64>) -> Declaration {
    let free = view.facts.volatile.shared.as_ref().map_or(0, |shared| shared.around_bytes);
    let spare = free.saturating_sub(LEFT_FREE_BYTES);
    let Some(bytes) = wanted.storage.size_bytes.or(image) else {
        let message =
            format!("nothing is mounted at {ROOT}, and how large the shared files may grow is not written");
        let hint = format!(
            "write `storage.size`, e.g. {}: a file of that size is made for them ({} free). Or mount a file system there",
            in_words(spare / 2),
            in_words(free)
        );
        return refusal(view, message, hint);
    };
    let now = image.unwrap_or_default();
    if bytes < now {
        let message =
            format!("the shared files have {}, and `storage.size` says {}", in_words(now), in_words(bytes));
        return refusal(view, message, "they can grow and not shrink: write what they have");
    }
    if bytes - now > spare {
        let message = format!("`storage.size` is {}, and {} are free", in_words(bytes), in_words(free));
        let hint = format!("at most {}: the system keeps a GiB to itself", in_words(now + spare));
        return refusal(view, message, hint);
    }
    let unit = texts::mount();
    let mut differences = Vec::new();
    if bytes != now {
        let old = image.map(in_words);
        differences.push(Difference { field: IMAGE_PATH.into(), old, new: Some(in_words(bytes)) });
    }
    differences.extend(unit.differences(view.facts));
    let is_mounted = matches!(view.facts.storage.place, PlaceFacts::Mounted(_));
    if !is_mounted {
        differences.push(Difference::changed(ROOT, "not mounted", "mounted"));
    }
    if view.facts.units.get(MOUNT_UNIT).is_some_and(|unit| unit.exists && unit.enabled != "enabled") {
        differences.push(Difference::changed(MOUNT_UNIT, "not started at boot", "enabled"));
    }
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let reason = "a client reaches all of the file system that a shared directory is in, and whoever fills it must fill \
                  nothing else";
    Draft::new("give the shared files a file system of their own", reason, Action { bytes, unit })
        .differing(differences)
        .into()
}

/// A size as `storage.size` has it, and not more than there is.
fn in_words(bytes: u64) -> String {
    match bytes {
        0..0x4000_0000 => format!("{}M", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 30) || bytes >= 10 << 30 => format!("{}G", bytes >> 30),
        _ => format!("{}M", bytes >> 20),
    }
}
