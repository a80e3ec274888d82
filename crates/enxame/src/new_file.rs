//! Files that the user asked for, made before anything is done for them: what was there stays until all of the new one is.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use enxame_node::replace::{Mode, Replacement};
use serde::Serialize;

/// What a file that was not there gets, less the umask.
const MODE: u32 = 0o644;

/// A file that is about to be written.
pub(crate) struct NewFile {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// Beside the file, which it takes the place of.
    Beside(Replacement),
    /// A pipe or a device, which nothing takes the place of.
    Stream(File),
}

impl NewFile {
    /// Makes sure that it can be written. A link is followed.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) fn make(path: &Path) -> anyhow::Result<Self> {
        let attempt = || format!("cannot write {}", path.display());
        let there = fs::metadata(path).ok();
        if there.as_ref().is_some_and(fs::Metadata::is_dir) {
            bail!("cannot write {}: it is a directory", path.display());
        }
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            let stream = OpenOptions::new().write(true).open(path).with_context(attempt)?;
            return Ok(Self { path: path.to_owned(), place: Place::Stream(stream) });
        }
        let mode =
            there.map_or(Mode::LessTheUmask(MODE), |there| Mode::Exactly(there.permissions().mode() & 0o777));
        let new = Replacement::of(path, mode).with_context(attempt)?;
        Ok(Self { path: path.to_owned(), place: Place::Beside(new) })
    }

    /// Writes a value as pretty-printed JSON, and lets it take its place.
    ///
    /// # Errors
    /// When the disk is full, and the like.
    pub(crate) fn keep_json(self, value: &impl Serialize) -> anyhow::Result<()> {
        let attempt = || format!("cannot write {}", self.path.display());
        let json = serde_json::to_vec_pretty(value)?;
        match self.place {
            Place::Stream(mut stream) => stream.write_all(&json).with_context(attempt),
            Place::Beside(new) => new.fill(&json).with_context(attempt),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_was_there_stays_until_all_of_the_new_one_is() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("plan"), directory.path().join("link"));
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        symlink(&path, &link).unwrap();
        let new = NewFile::make(&link).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        drop(new);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left of it");
        NewFile::make(&link).unwrap().keep_json(&[1]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[\n  1\n]");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_device_is_written_to_and_a_directory_is_refused_at_once() {
        NewFile::make(Path::new("/dev/null")).unwrap().keep_json(&[1]).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let directory = tempfile::tempdir().unwrap();
        let refused = NewFile::make(directory.path()).err().unwrap();
        assert!(refused.to_string().ends_with("it is a directory"), "{refused}");
    }
}
