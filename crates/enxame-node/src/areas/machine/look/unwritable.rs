//! Files that root cannot replace: immutable ones (chattr(1)), in directories that are, and on what is mounted read-only.
//!
//! A file is replaced by a rename, which the file's own flags forbid as well as its directory's (rename(2), `EPERM`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use enxame_core::facts::Obstacle;
use rustix::fs::{IFlags, OFlags, StatVfsMountFlags, ioctl_getflags, statvfs};

/// What is in the way, by file.
pub(crate) fn look(root: &Path, files: &BTreeSet<String>) -> BTreeMap<String, Obstacle> {
    let mut directories = BTreeMap::<PathBuf, Option<Obstacle>>::new();
    let mut obstacle = |file: &str| {
        let path = root.join(file.trim_start_matches('/'));
        let path = fs::canonicalize(&path).unwrap_or(path);
        let directory = path.ancestors().skip(1).find(|directory| directory.is_dir())?.to_owned();
        let of_directory = directories.entry(directory.clone()).or_insert_with(|| of_directory(&directory));
        of_directory.clone().or_else(|| is_locked(&path).then(|| Obstacle::Immutable(shown(&path))))
    };
    files.iter().filter_map(|file| Some((file.clone(), obstacle(file)?))).collect()
}

fn of_directory(directory: &Path) -> Option<Obstacle> {
    if is_locked(directory) {
        return Some(Obstacle::Immutable(shown(directory)));
    }
    let filesystem = statvfs(directory).ok()?;
    let is_read_only = filesystem.f_flag.contains(StatVfsMountFlags::RDONLY);
    is_read_only.then(|| Obstacle::ReadOnly(shown(mount_point(directory))))
}

/// Where what a directory is on begins: the last ancestor on the same device.
fn mount_point(directory: &Path) -> &Path {
    let device = |path: &Path| fs::metadata(path).map(|about| about.dev()).ok();
    let own = device(directory);
    directory.ancestors().take_while(|ancestor| device(ancestor) == own).last().unwrap_or(directory)
}

/// Not every filesystem has flags, and nothing but a file or a directory is opened.
fn is_locked(path: &Path) -> bool {
    let is_plain = fs::metadata(path).is_ok_and(|about| about.is_file() || about.is_dir());
    let opened = || {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        OpenOptions::new().read(true).custom_flags(flags).open(path)
    };
    is_plain
        && opened().is_ok_and(|file| {
            ioctl_getflags(&file).is_ok_and(|flags| flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND))
        })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use rustix::fs::ioctl_setflags;

    use super::*;
    use crate::testing::namespace::{inside, is_inside, run};

    fn of(root: &Path, files: &[&str]) -> BTreeMap<String, Obstacle> {
        look(root, &files.iter().map(|file| (*file).to_owned()).collect())
    }

    #[test]
    fn files_that_can_be_replaced_and_those_that_are_not_there_are_not_told() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("hosts"), "").unwrap();
        assert_eq!(of(root.path(), &["/hosts", "/no/such/file"]), BTreeMap::new());
    }

    #[test]
    fn what_is_mounted_read_only_is_told() {
        if !is_inside() {
            return inside("areas::machine::look::unwritable::tests::what_is_mounted_read_only_is_told");
        }
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let root = tempfile::tempdir().unwrap();
        let mount = root.path().join("etc");
        fs::create_dir(&mount).unwrap();
        run(&format!("mount -t tmpfs none {}", mount.display()));
        fs::create_dir(mount.join("docker")).unwrap();
        assert_eq!(of(root.path(), &["/etc/docker/daemon.json"]), BTreeMap::new());
        run(&format!("mount -o remount,ro {}", mount.display()));
        let told = of(root.path(), &["/etc/docker/daemon.json"]);
        assert_eq!(told["/etc/docker/daemon.json"], Obstacle::ReadOnly(shown(&mount)));
        run(&format!("umount {}", mount.display()));
    }

    #[test]
    fn what_is_immutable_or_in_an_immutable_directory_is_told() {
        // Where tests are run may have no such flags; `/var/tmp` is mostly on a disk.
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let (file, directory) = (root.path().join("hosts"), root.path().join("default"));
        fs::write(&file, "").unwrap();
        fs::create_dir(&directory).unwrap();
        let set = |path: &Path, flags| ioctl_setflags(fs::File::open(path).unwrap(), flags);
        if let Err(error) = set(&file, IFlags::IMMUTABLE) {
            eprintln!("SKIPPED: this filesystem has no immutable files: {error}");
            return;
        }
        set(&directory, IFlags::APPEND).unwrap();
        let told = of(root.path(), &["/hosts", "/default/ufw", "/other"]);
        set(&file, IFlags::empty()).unwrap();
        set(&directory, IFlags::empty()).unwrap();
        let expected = [
            ("/default/ufw".to_owned(), Obstacle::Immutable(shown(&directory))),
            ("/hosts".to_owned(), Obstacle::Immutable(shown(&file))),
        ];
        assert_eq!(told, expected.into());
    }
}
