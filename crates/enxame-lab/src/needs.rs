//! What the laboratory needs of the machine: root, and programs. All that is missing is said at once.

use std::{env, path::Path};

use anyhow::{Result, bail};

/// Programs and the Debian packages they come in.
const PROGRAMS: &[(&str, &str)] = &[
    ("apt-cacher-ng", "apt-cacher-ng"),
    ("ip", "iproute2"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mmdebstrap", "mmdebstrap"),
    ("nft", "nftables"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("tcpdump", "tcpdump"),
];

/// Fails with everything that is missing.
pub(crate) fn check() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the laboratory needs root, for network namespaces and disk images\nhint: run it with sudo, or as root"
        );
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let exists = |program: &str| {
        env::split_paths(&path)
            .any(|directory: std::path::PathBuf| Path::new(&directory).join(program).exists())
    };
    let mut packages: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !exists(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    if !packages.is_empty() {
        bail!(
            "the laboratory needs programs that are not installed\nhint: scripts/setup, or: apt-get install {}",
            packages.join(" ")
        );
    }
    Ok(())
}
