//! What is read from servers, for `fuzz/`, which knows no private word of this crate.

use std::collections::BTreeSet;
use std::path::Path;

use enxame_core::areas::firewall::ufw_rules::Family;

use crate::areas::engine::look::unit;
use crate::areas::machine::look::{accounts, modules, packages, sysctl, system};
use crate::areas::storage::look as storage;
use crate::facts::{parse_saved, rivals_of};

/// `os-release(5)`.
pub fn os_release(text: &str) {
    let _ = system::operating_system(text);
}

/// What `iptables-save` prints.
pub fn iptables_save(text: &str) {
    for family in Family::ALL {
        let _ = parse_saved(text, family);
    }
}

/// dpkg's status.
pub fn dpkg_status(text: &str) {
    let wanted = ["docker.io", "ufw", ""].map(str::to_owned);
    let found = packages::packages(text, &wanted.into());
    assert!(found.keys().all(|name| ["docker.io", "ufw", ""].contains(&name.as_str())));
}

/// `/etc/group` and `/etc/passwd`, one behind the other.
pub fn accounts(text: &str) {
    let (group, passwd) = text.split_once("\n\n").unwrap_or((text, text));
    let _ = accounts::members_of("docker", group, passwd);
}

/// Files of `modprobe.d`, `sysctl.d`, units and scripts below a directory.
pub fn below(root: &Path) {
    let _ = modules::barred_by(root, &["esp4", "vxlan"]);
    let _ = sysctl::settings(root, &BTreeSet::from(["net.ipv4.ip_forward".to_owned()]));
    let _ = unit::flags(root);
    let _ = rivals_of(root);
}

/// `mountinfo`, the sockets' table, the table of exports, a client of the server's.
pub fn shared_files(text: &str) {
    storage::read_all(text);
}
