//! How a stack mounts shared files: by Docker's local driver, from the volume's own entry.
//!
//! The engine keeps a volume's options for good, and gives whoever writes others the old ones without a word.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::Ipv4Addr;

use super::{Wanted, directory};
use crate::config::{Config, ExportConfig, MountProfile};
use crate::declare::{Finding, View};
use crate::names::NodeName;

/// A volume's entry.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// The export.
    pub export: NodeName,
    /// What is mounted.
    pub device: String,
    /// With which options.
    pub options: String,
}

/// Every export's entry.
#[must_use]
pub fn entries(config: &Config) -> Vec<Entry> {
    let Some(wanted) = Wanted::of(config) else { return Vec::new() };
    wanted.storage.exports.iter().map(|export| entry(wanted, export)).collect()
}

fn entry(wanted: Wanted<'_>, export: &ExportConfig) -> Entry {
    Entry {
        export: export.name.clone(),
        device: format!(":{}", directory(&export.name)),
        options: options(wanted.address, wanted.storage.profile),
    }
}

/// Version 4.2 by its name: `4` means 4.0 to mount(2). What is hard waits for a server that restarts for as long as that takes;
/// the kernel asks again after `timeo` tenths of a second, and says so after `retrans` times.
fn options(address: Ipv4Addr, profile: MountProfile) -> String {
    let how = match profile {
        MountProfile::Hard => "hard,timeo=100,retrans=2",
        MountProfile::Manual => "soft,timeo=14,rsize=8192,wsize=8192",
    };
    format!("addr={address},nfsvers=4.2,{how}")
}

/// What stands in a stack's file: the volumes, and how a service mounts the first of them.
#[must_use]
pub fn yaml(entries: &[Entry]) -> String {
    let mut text = String::new();
    if let [first, ..] = entries {
        let name = first.export.as_str();
        text = format!(
            "services:\n  SERVICE:\n    volumes:\n      - type: volume\n        source: {name}\n        target: /DIRECTORY\n        \
             volume: {{nocopy: true}}\nvolumes:\n"
        );
    }
    for Entry { export, device, options } in entries {
        let name = export.as_str();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "  {name}:\n    driver: local\n    driver_opts:\n      type: nfs\n      device: \"{device}\"\n      o: \"{options}\"\n"
        );
    }
    text
}

/// Volumes of this node that mount an export otherwise than its entry says; and what the manual's profile can lose.
pub(super) fn findings(view: &View<'_>, wanted: Wanted<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let of_option = |text: &str| text.split(',').map(str::trim).map(str::to_owned).collect::<BTreeSet<_>>();
    for (name, volume) in &view.facts.storage.volumes {
        let mut exports = wanted.storage.exports.iter().map(|export| entry(wanted, export));
        let Some(entry) = exports.find(|entry| entry.device == volume.device) else { continue };
        if of_option(&entry.options) == of_option(&volume.options) {
            continue;
        }
        let message = format!(
            "the volume {name} mounts {} with `{}`, and its entry is `{}`",
            volume.device, volume.options, entry.options
        );
        let hint = format!(
            "a volume's options never change: give it another name in the stack's file, e.g. {name}-2, with the entry that \
             `enxame storage status` prints, deploy, then: docker volume rm {name}"
        );
        found.push(Finding::warning("4.2", message, hint).on(&view.node.name));
    }
    if wanted.storage.profile == MountProfile::Manual && view.node.name == wanted.server.name {
        let message =
            "the manual's mounts are soft: a write that is not answered in time fails, and may be lost";
        found.push(Finding::warning("4.2", message, "`storage.profile: hard` waits instead"));
    }
    found
}
