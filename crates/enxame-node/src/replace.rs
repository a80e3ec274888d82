//! Files are replaced whole: a temporary file in the same directory, fsync, rename, fsync of the directory.
//!
//! The one place that does it, for what enxame owns on a node and for what the operator asked to be written. Invariant:
//! at any moment, also after a power cut, the path holds all of the old file or all of the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The permission bits of a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// These.
    Exactly(u32),
    /// These, less what the umask takes away.
    LessTheUmask(u32),
}

/// A file that is about to take another one's place; dropped, it leaves nothing.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    mode: Mode,
}

impl Replacement {
    /// Makes the file beside the one it replaces. A symbolic link (e.g. to a file that a distribution keeps elsewhere)
    /// is followed, not replaced.
    ///
    /// # Errors
    /// When there is no such directory, or nobody may write into it.
    pub fn of(path: &Path, mode: Mode) -> io::Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let temporary = beside(&path)?;
        drop(fs::remove_file(&temporary));
        let at_first = match mode {
            Mode::Exactly(_) => 0o600,
            Mode::LessTheUmask(bits) => bits,
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(at_first).open(&temporary)?;
        Ok(Self { path, temporary, file, mode })
    }

    /// Fills it, and lets it take its place.
    ///
    /// # Errors
    /// When the disk is full, and the like; the old file is untouched then.
    pub fn fill(mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        if let Mode::Exactly(bits) = self.mode {
            self.file.set_permissions(fs::Permissions::from_mode(bits))?;
        }
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        File::open(directory_of(&self.path))?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Once it has taken its place there is nothing there; a left-over is replaced at the next write.
        drop(fs::remove_file(&self.temporary));
    }
}

/// Replaces a file; missing directories are made.
///
/// # Errors
/// As [`Replacement::of`] and [`Replacement::fill`].
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    fs::create_dir_all(directory_of(path))?;
    Replacement::of(path, Mode::Exactly(mode))?.fill(content)
}

/// Lets a path be another name of a file that is there already, on the same filesystem; missing directories are made.
///
/// # Errors
/// When the file is gone or on another filesystem.
pub fn replace_by_link(path: &Path, original: &Path) -> io::Result<()> {
    fs::create_dir_all(directory_of(path))?;
    let temporary = beside(path)?;
    drop(fs::remove_file(&temporary));
    let linked = fs::hard_link(original, &temporary).and_then(|()| fs::rename(&temporary, path));
    // Where both are names of one file already, rename(2) does nothing and leaves both.
    drop(fs::remove_file(&temporary));
    linked?;
    File::open(directory_of(path))?.sync_all()
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // Leading dot: programs that read whole directories (modules-load.d, sysctl.d) pass over it.
    Ok(path.with_file_name(format!(".{name}.enxame-{}", std::process::id())))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_replacement_that_is_not_filled_leaves_the_old_file_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "old").unwrap();
        drop(Replacement::of(&path, Mode::Exactly(0o600)).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        Replacement::of(&path, Mode::Exactly(0o640)).unwrap().fill(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_name_of_a_file_outlives_the_first_and_is_replaced_by_the_next() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let (one, two, stable) = (at("agent-1"), at("agent-2"), at("bin/enxame"));
        fs::write(&one, "one").unwrap();
        fs::write(&two, "two").unwrap();
        // The second time it is that file's name already.
        for _ in 0..2 {
            replace_by_link(&stable, &one).unwrap();
        }
        fs::remove_file(&one).unwrap();
        assert_eq!(fs::read_to_string(&stable).unwrap(), "one");
        replace_by_link(&stable, &two).unwrap();
        assert_eq!(fs::read_to_string(&stable).unwrap(), "two");
        assert_eq!(fs::read_dir(at("bin")).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(replace_by_link(&stable, &one).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read_to_string(&stable).unwrap(), "two");
    }
}
