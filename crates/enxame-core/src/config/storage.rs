//! The checks of `storage`.

use std::collections::BTreeMap;

use serde_saphyr::Spanned;

use super::error::Problems;
use super::model::{ExportConfig, StorageConfig};
use super::v1::{ClusterFile, ExportFile};
use super::words::Role;
use crate::names::NodeName;

/// Below it ext4 has more of its own than room.
const SMALLEST_BYTES: u64 = 64 << 20;
/// `(uid_t) -1`, which is nobody to every call that takes one.
const NO_ID: u32 = u32::MAX;

pub(super) fn check(file: &ClusterFile, found: &mut Problems<'_>) -> Option<StorageConfig> {
    let at = file.storage.as_ref()?;
    let storage = &at.value;
    let holders = file.nodes.value.iter().filter(|node| node.roles.contains(&Role::Storage));
    match holders.map(|node| node.name.value.as_str()).collect::<Vec<_>>().as_slice() {
        [_] => {}
        [] => {
            let hint = "give the one with the most room `roles: [storage]`";
            found.add(
                at.referenced,
                "no node has the role `storage`, so nobody holds the shared files",
                hint,
            );
        }
        several => {
            let message = format!("{} have the role `storage`", several.join(" and "));
            found.add(
                at.referenced,
                message,
                "one node holds the shared files: take the role from the others",
            );
        }
    }
    if storage.exports.value.is_empty() {
        found.add(storage.exports.referenced, "nothing is shared", "name a directory: `- name: web`");
    }
    let mut names: BTreeMap<&str, u64> = BTreeMap::new();
    for export in &storage.exports.value {
        let line = export.name.referenced.line();
        if let Some(first) = names.insert(&export.name.value, line) {
            let message = format!("`{}` is shared on line {first} already", export.name.value);
            found.add(export.name.referenced, message, "each needs a name of its own");
        }
    }
    let exports: Vec<Option<ExportConfig>> =
        storage.exports.value.iter().map(|one| export(file, one, found)).collect();
    Some(StorageConfig {
        size_bytes: storage.size.as_ref().and_then(|size| bytes(size, found)),
        profile: storage.profile,
        exports: exports.into_iter().flatten().collect(),
    })
}

fn export(file: &ClusterFile, one: &ExportFile, found: &mut Problems<'_>) -> Option<ExportConfig> {
    let name = NodeName::new(one.name.value.as_str());
    if name.is_err() {
        let message = format!("`{}` is no name of a shared directory", one.name.value);
        let hint = if one.name.value.contains('/') {
            "one directory below /srv/nfs/swarm_data, not a path: share the upper one, or give the inner one a name of its own"
        } else {
            "lower-case letters, digits and hyphens, as a host name"
        };
        found.add(one.name.referenced, message, hint);
    }
    for id in [Some(&one.uid), one.gid.as_ref()].into_iter().flatten().filter(|id| id.value == NO_ID) {
        found.add(id.referenced, format!("{NO_ID} is nobody's id"), "0 to 4294967294");
    }
    let mode = u32::from_str_radix(&one.mode.value, 8).ok().filter(|mode| (0o001..=0o7777).contains(mode));
    if mode.is_none() {
        let message = format!("`{}` are no permission bits", one.mode.value);
        found.add(one.mode.referenced, message, "octal digits, e.g. \"0750\"");
    }
    for client in one.clients.iter().flatten() {
        if !file.nodes.value.iter().any(|node| node.name.value == client.value) {
            found.add(client.referenced, format!("`{}` is no node", client.value.as_str()), "see `nodes`");
        }
    }
    if one.clients.as_ref().is_some_and(Vec::is_empty) {
        found.add(one.name.referenced, "nobody may mount it", "without `clients`, every node may");
    }
    Some(ExportConfig {
        name: name.ok()?,
        uid: one.uid.value,
        gid: one.gid.as_ref().map_or(one.uid.value, |gid| gid.value),
        mode: mode?,
        squash: one.squash,
        clients: one.clients.as_ref().map(|all| all.iter().map(|one| one.value.clone()).collect()),
    })
}

/// A size as truncate(1) and LVM write it: powers of 1024.
fn bytes(size: &Spanned<String>, found: &mut Problems<'_>) -> Option<u64> {
    let text = size.value.trim();
    let unit = [('M', 20), ('G', 30), ('T', 40)];
    let parsed = unit
        .into_iter()
        .find_map(|(letter, shift)| text.strip_suffix(letter)?.parse::<u64>().ok()?.checked_mul(1 << shift));
    let parsed = parsed.filter(|bytes| *bytes >= SMALLEST_BYTES);
    if parsed.is_none() {
        found.add(size.referenced, format!("`{text}` is no size of a file system"), "64M or more, e.g. 20G");
    }
    parsed
}
