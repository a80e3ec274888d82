//! From a recipe to a directory with a disk, a kernel and an initial RAM disk.
//!
//! Invariant: it is built beside its place and moved there whole, so that an interrupted build leaves no image.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{Kind, Recipe};
use crate::{
    home::Home,
    progress::Progress,
    tool::Tool,
    topology::{Namespace, OPERATOR},
};

const BUILD_DEADLINE: Duration = Duration::from_secs(900);
/// Apparent size of a node's disk. It is sparse: only what is written takes room.
const DISK_SIZE: &str = "16G";

/// An image that is there.
#[derive(Debug)]
pub(crate) struct Image {
    directory: PathBuf,
}

impl Image {
    /// The image of that name.
    pub(crate) fn of(home: &Home, key: &str) -> Self {
        Self { directory: home.inner("images").join(key) }
    }

    /// The kernel, started directly by the emulator.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The initial RAM disk without any node's seed.
    pub(crate) fn initrd(&self) -> PathBuf {
        self.directory.join("initrd")
    }
}

/// The image of a recipe, built now unless it exists. The proxy on the operator's place must be up.
pub(crate) fn ensure(home: &Home, recipe: &Recipe, progress: &Progress) -> Result<Image> {
    let image = Image::of(home, &recipe.key());
    if image.directory.exists() {
        return Ok(image);
    }
    progress.step(&format!("building the image {} ({} packages named)", recipe.key(), recipe.packages.len()));
    let partial = image.directory.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    let tree = partial.join("tree");
    fs::create_dir_all(&tree)?;
    install(recipe, &partial, &tree).with_context(|| format!("cannot build the image {}", recipe.key()))?;
    configure(recipe, &tree)?;

    progress.step("writing the image's disk");
    move_boot_file(&tree, "vmlinuz-", &partial.join("vmlinuz"))?;
    move_boot_file(&tree, "initrd.img-", &partial.join("initrd"))?;
    let disk = partial.join("disk.raw");
    Tool::new("truncate").args(["--size", DISK_SIZE]).arg(&disk).run()?;
    Tool::new("mkfs.ext4")
        .args(["-q", "-F", "-L", "root", "-E", "lazy_itable_init=1", "-d"])
        .args([&tree, &disk])
        .deadline(BUILD_DEADLINE)
        .run()?;
    fs::remove_dir_all(&tree)?;
    fs::rename(&partial, &image.directory).context("cannot move the image to its place")?;
    Ok(image)
}

fn install(recipe: &Recipe, partial: &Path, tree: &Path) -> Result<()> {
    let extras = partial.join("extras");
    for extra in recipe.extras {
        write(&extras, extra.path, extra.content, extra.mode)?;
    }
    Tool::within(Namespace::Operator, "mmdebstrap")
        .args(["--mode=root", "--variant=apt", "--architectures=amd64", "--quiet"])
        .arg(format!("--include={}", recipe.packages.join(",")))
        .arg(format!("--aptopt=Acquire::http::Proxy \"{}\"", recipe.proxy))
        // The laboratory's own repository is a directory of that proxy, which takes no detour over itself.
        .arg(format!("--aptopt=Acquire::http::Proxy::{OPERATOR} \"DIRECT\""))
        // The disk is thrown away after a power cut here anyway; waiting for it costs a third of the build.
        .arg("--dpkgopt=force-unsafe-io")
        .arg("--dpkgopt=path-exclude=/usr/share/man/*")
        .arg(format!("--setup-hook=sync-in '{}' /", extras.display()))
        .arg(recipe.flavour.release.to_string())
        .arg(tree)
        .args(recipe.sources())
        .env("LC_ALL", "C.UTF-8")
        .deadline(BUILD_DEADLINE)
        .run()?;
    fs::remove_dir_all(&extras).context("cannot remove the image's extra files")
}

/// What every node of the flavour has besides its packages.
fn configure(recipe: &Recipe, tree: &Path) -> Result<()> {
    let chroot = |program: &str| Tool::new("chroot").arg(tree).arg(program);
    for user in ["admin", "nosudo"] {
        chroot("useradd").args(["--create-home", "--shell", "/bin/bash", user]).run()?;
    }
    write(tree, "etc/sudoers.d/admin", "admin ALL=(ALL) NOPASSWD: ALL\n", 0o440)?;
    let (ssh, other) = match recipe.flavour.kind {
        Kind::Bare | Kind::Prepared => ("ssh.service", "ssh.socket"),
        // One process for each connection is Debian's way with a socket; Ubuntu's, since 22.10, hands it on.
        Kind::UbuntuLike => ("ssh.socket", "ssh.service"),
    };
    chroot("systemctl").args(["disable", other]).run()?;
    chroot("systemctl").args(["enable", "systemd-networkd.service", ssh]).run()?;
    let units = tree.join("usr/lib/systemd/system");
    let silenced = recipe.silenced.iter().filter(|unit| units.join(unit).exists());
    chroot("systemctl").arg("disable").args(silenced).run()?;

    // Each node gets its own from its seed; the build must not leave this machine's behind either.
    for entry in fs::read_dir(tree.join("etc/ssh"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
            fs::remove_file(entry.path())?;
        }
    }
    for extra in recipe.extras {
        fs::remove_file(tree.join(extra.path))?;
    }
    for file in recipe.files {
        write(tree, file.path, file.content, file.mode)?;
    }
    write(tree, "etc/hostname", "debian\n", 0o644)?;
    write(tree, "etc/resolv.conf", "", 0o644)?;
    write(tree, "etc/fstab", "LABEL=root / ext4 rw,discard,errors=remount-ro 0 1\n", 0o644)?;
    write(tree, "etc/default/locale", "LANG=C.UTF-8\n", 0o644)
}

fn move_boot_file(tree: &Path, prefix: &str, to: &Path) -> Result<()> {
    for entry in fs::read_dir(tree.join("boot"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            // The node keeps its own: a server without a kernel in /boot would not be a realistic one.
            fs::copy(entry.path(), to)?;
            return Ok(());
        }
    }
    anyhow::bail!("the image has no /boot/{prefix}*")
}

fn write(below: &Path, path: &str, content: &str, mode: u32) -> Result<()> {
    let path = below.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    // A link (as /etc/resolv.conf can be) is replaced, never followed out of the tree.
    if path.is_symlink() {
        fs::remove_file(&path)?;
    }
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}
