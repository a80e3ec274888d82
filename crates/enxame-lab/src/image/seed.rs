//! What makes a node out of a copy of the image: its name, addresses, keys and machine identity.
//!
//! The seed rides in the initial RAM disk (a second cpio archive behind the image's own, which the kernel
//! unpacks too) and is put on the disk at the node's first boot. Invariant: later boots leave the disk alone.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{Kind, hex};
use crate::{
    access,
    home::Home,
    topology::{Node, ROUTER, ROUTER6},
};

/// The bytes of an initial RAM disk followed by that node's seed.
pub(crate) fn initrd_with_seed(initrd: &Path, home: &Home, node: &Node, seeded: Seeded) -> Result<Vec<u8>> {
    let mut bytes = fs::read(initrd).with_context(|| format!("cannot read {}", initrd.display()))?;
    // A following archive starts at a multiple of four (kernel, early-userspace/buffer-format).
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(cpio("seed.tar", &seed(home, node, seeded)?));
    Ok(bytes)
}

/// Who makes a node of what the seed brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seeded {
    /// Nobody: the files are in their places.
    AsFiles,
    /// cloud-init, with its data source `NoCloud`.
    ByCloudInit,
}

impl Seeded {
    /// The way of a flavour, by its name.
    pub(crate) fn of(flavour: &str) -> Self {
        if flavour.ends_with(&Kind::UbuntuLike.to_string()) { Self::ByCloudInit } else { Self::AsFiles }
    }
}

fn seed(home: &Home, node: &Node, seeded: Seeded) -> Result<Vec<u8>> {
    let host_key = access::host_key(home, node);
    let private =
        fs::read_to_string(&host_key).with_context(|| format!("cannot read {}", host_key.display()))?;
    let [operator, lab] = [home.operator_key(), home.lab_key()].map(|key| access::public_key(&key));
    let (operator, lab) = (operator?, lab?);
    let name = node.provider_hostname();

    let mut seed = Seed(tar::Builder::new(Vec::new()));
    seed.file("etc/machine-id", 0o444, &format!("{}\n", machine_id(node)))?;
    seed.file("etc/ssh/ssh_host_ed25519_key", 0o600, &private)?;
    seed.file("etc/ssh/ssh_host_ed25519_key.pub", 0o644, &(access::public_key(&host_key)? + "\n"))?;
    match seeded {
        Seeded::AsFiles => {
            seed.file("etc/hostname", 0o644, &format!("{name}\n"))?;
            let hosts = format!(
                "127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
            );
            seed.file("etc/hosts", 0o644, &hosts)?;
            seed.file("etc/systemd/network/10-internet.network", 0o644, &network(node))?;
            let authorized = format!("{operator}\n{lab}\n");
            // useradd numbers users from 1000 in the order of the image's recipe.
            for (directory, owner) in [("root", 0), ("home/admin", 1000), ("home/nosudo", 1001)] {
                seed.authorize(directory, owner, &authorized)?;
            }
        }
        Seeded::ByCloudInit => {
            // cloud-init adds the operator's, with the command that names the other account.
            seed.authorize("root", 0, &format!("{lab}\n"))?;
            let data = [
                ("meta-data", format!("instance-id: {name}\nlocal-hostname: {name}\n")),
                ("user-data", format!("#cloud-config\nssh_authorized_keys:\n  - {operator}\n")),
                ("network-config", netplan(node)),
            ];
            for (file, content) in data {
                seed.file(&format!("var/lib/cloud/seed/nocloud/{file}"), 0o600, &content)?;
            }
        }
    }
    seed.finish()
}

fn machine_id(node: &Node) -> String {
    hex(Sha256::digest(format!("enxame-lab/{}", node.name)).iter().take(16))
}

fn network(node: &Node) -> String {
    format!(
        "[Match]\nName=en* eth*\n\n[Network]\nAddress={}/24\nAddress={}/64\nGateway={ROUTER}\nGateway={ROUTER6}\n\
         IPv6AcceptRA=no\nLinkLocalAddressing=ipv6\n",
        node.address(),
        node.address6(),
    )
}

/// The same for netplan (`NoCloud`'s `network-config`, version 2).
fn netplan(node: &Node) -> String {
    format!(
        "version: 2\nethernets:\n  internet:\n    match: {{name: \"en*\"}}\n    accept-ra: false\n    addresses: [\"{}/24\", \
         \"{}/64\"]\n    routes:\n      - {{to: default, via: \"{ROUTER}\"}}\n      - {{to: \"::/0\", via: \"{ROUTER6}\"}}\n",
        node.address(),
        node.address6(),
    )
}

/// A tar archive in the making.
struct Seed(tar::Builder<Vec<u8>>);

impl Seed {
    fn file(&mut self, path: &str, mode: u32, content: &str) -> Result<()> {
        self.entry(path, mode, 0, Some(content))
    }

    /// Whose keys let in to the account whose home is `directory`.
    fn authorize(&mut self, directory: &str, owner: u64, keys: &str) -> Result<()> {
        self.entry(&format!("{directory}/.ssh"), 0o700, owner, None)?;
        self.entry(&format!("{directory}/.ssh/authorized_keys"), 0o600, owner, Some(keys))
    }

    /// A directory if there is no content.
    fn entry(&mut self, path: &str, mode: u32, owner: u64, content: Option<&str>) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(content.map_or(tar::EntryType::Directory, |_| tar::EntryType::Regular));
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(now_seconds()?);
        let content = content.unwrap_or_default();
        header.set_size(content.len().try_into()?);
        self.0
            .append_data(&mut header, path, content.as_bytes())
            .with_context(|| format!("cannot add {path} to the seed"))
    }

    fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner().context("cannot finish the seed")
    }
}

fn now_seconds() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("this machine's clock is before 1970")?.as_secs())
}

/// A "newc" cpio archive of one file (kernel documentation, early-userspace/buffer-format).
fn cpio(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, mode, content) in [(name, 0o100_600, content), ("TRAILER!!!", 0, [].as_slice())] {
        // inode, mode, uid, gid, links, mtime, size, device and rdevice twice each, name's length with its NUL, check
        let fields = [0, mode, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        archive.extend(b"070701");
        archive.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        archive.extend(name.bytes().chain([0]));
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::NODES;

    #[test]
    fn the_archive_has_the_layout_the_kernel_reads() {
        let archive = cpio("f", b"hello");
        let text = String::from_utf8_lossy(&archive);
        assert!(
            text.starts_with("070701") && text.contains("f\0") && text.contains("hello\0\0\x00070701"),
            "{text:?}"
        );
        assert!(text.contains("TRAILER!!!"));
        assert_eq!(archive.len() % 4, 0);
    }

    #[test]
    fn machine_ids_are_stable_valid_and_different() {
        let ids: Vec<String> = NODES.iter().map(machine_id).collect();
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }
}
