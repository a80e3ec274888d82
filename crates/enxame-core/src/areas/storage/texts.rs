//! The files of the shared files: the server's settings, its exports, and what mounts their file system.

use std::fmt::Write;
use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use super::{IMAGE_PATH, ROOT, Wanted};
use crate::areas::tunnel;
use crate::config::{ExportConfig, NFS_PORT, Squash};
use crate::files::{HEADER, OwnedFile};
use crate::names::NodeName;

/// The server's settings, on every node: where they are, enxame has masked what `NFSv4` does without (`nfs.conf(5)`).
pub const CONF_PATH: &str = "/etc/nfs.conf.d/enxame.conf";
/// What is exported (`exports(5)`).
pub const EXPORTS_PATH: &str = "/etc/exports.d/enxame.exports";
/// When the server starts.
pub const DROP_IN_PATH: &str = "/etc/systemd/system/nfs-server.service.d/enxame.conf";
/// What mounts the file that holds them (`systemd-escape --path`).
pub const MOUNT_UNIT: &str = "srv-nfs-swarm_data.mount";
/// Its file.
pub const MOUNT_PATH: &str = "/etc/systemd/system/srv-nfs-swarm_data.mount";

/// Where an export's files are.
#[must_use]
pub fn directory(name: &NodeName) -> String {
    format!("{ROOT}/{}", name.as_str())
}

/// What only mounts: no line of the server's.
pub(super) fn client_conf() -> OwnedFile {
    OwnedFile::new(CONF_PATH, format!("{HEADER}# rpcbind and rpc-statd are masked: NFSv4 needs neither.\n"))
}

/// The one port of `NFSv4`, at the address in the tunnels alone. 4.0 has a hole (CVE-2026-31402) and makes clients wait for the
/// whole grace period.
pub(super) fn server_conf(address: Ipv4Addr) -> OwnedFile {
    let client = client_conf();
    let text = format!(
        "{}[nfsd]\nhost={address}\nport={NFS_PORT}\ntcp=y\nudp=n\nvers2=n\nvers3=n\nvers4=y\nvers4.0=n\nvers4.1=y\n\
         vers4.2=y\n",
        client.content
    );
    OwnedFile { content: text, ..client }
}

/// Nothing is served while the file system is not mounted (`mp`). What is above the exports is the kernel's own pseudo root,
/// through which nobody gets to what is not exported to him. The manual's `fsid=0` on the directory above would let every node
/// read in it what is exported to another alone (nfsd, `nfsd_cross_mnt`).
pub(super) fn exports(wanted: Wanted<'_>) -> OwnedFile {
    let mut text = HEADER.to_owned();
    for (path, client, options) in lines(wanted) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{path} {client}({})", options.join(","));
    }
    OwnedFile::new(EXPORTS_PATH, text)
}

/// What is exported to whom, and how.
pub(super) fn lines(wanted: Wanted<'_>) -> Vec<(String, Ipv4Addr, Vec<String>)> {
    let mut lines = Vec::new();
    for export in &wanted.storage.exports {
        let options = options(export);
        let clients = wanted.clients(export);
        lines.extend(clients.map(|client| (directory(&export.name), client, options.clone())));
    }
    for (_, _, options) in &mut lines {
        options.extend(words(["sync", "no_subtree_check"]));
        options.push(format!("mountpoint={ROOT}"));
    }
    lines
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

fn options(export: &ExportConfig) -> Vec<String> {
    let mut options = words(["rw"]);
    options.push(format!("fsid={}", fsid(&export.name)));
    match export.squash {
        Squash::All => {
            options.extend(words(["root_squash", "all_squash"]));
            options.push(format!("anonuid={}", export.uid));
            options.push(format!("anongid={}", export.gid));
        }
        Squash::Root => options.extend(words(["root_squash", "no_all_squash"])),
        Squash::None => options.extend(words(["no_root_squash", "no_all_squash"])),
    }
    options
}

/// What clients know an export by: of its name, so that another disk or restored files are the same one to them.
fn fsid(name: &NodeName) -> String {
    let digest = hex::encode(Sha256::digest(format!("enxame export {}", name.as_str())));
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// The server comes after the address that it listens at and the files that it serves, and is there before containers that mount
/// them; at shutdown the other way round.
pub(super) fn drop_in() -> OwnedFile {
    let text = format!(
        "{HEADER}[Unit]\nRequiresMountsFor={ROOT}\nWants={tunnel}\nAfter={tunnel}\nBefore=docker.service\n",
        tunnel = tunnel::UNIT
    );
    OwnedFile::new(DROP_IN_PATH, text)
}

/// A file that is not there keeps nobody from booting.
pub(super) fn mount() -> OwnedFile {
    let text = format!(
        "{HEADER}[Unit]\nDescription=Shared files\n\n[Mount]\nWhat={IMAGE_PATH}\nWhere={ROOT}\nType=ext4\n\
         Options=loop,nodev,nosuid,noatime,nofail\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    OwnedFile::new(MOUNT_PATH, text)
}
