//! The files that a change replaces: kept as copies beside themselves, and put back by a rename.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use enxame_core::facts::{NotPutBack, WhatItWas};
use serde::{Deserialize, Serialize};

use super::system;
use crate::actuate::ActuateError;

/// What is there until the machine stops (file-hierarchy(7)).
const RUNTIME: &str = "/run";

/// A file and what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    path: PathBuf,
    /// Its copy; `None` where there was no such file.
    copy: Option<PathBuf>,
}

impl Kept {
    /// Copies a file beside itself.
    pub(super) fn of(path: &Path) -> Result<Self, ActuateError> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let Some(name) = path.file_name() else {
            return Err(system(format!("keep {}", path.display()))(io::ErrorKind::InvalidInput.into()));
        };
        let copy = path.with_file_name(format!(".{}.enxame-before", name.to_string_lossy()));
        let directory = path.parent().unwrap_or(Path::new("/"));
        let copied = fs::copy(&path, &copy)
            .and_then(|_| File::open(&copy)?.sync_all())
            .and_then(|()| File::open(directory)?.sync_all());
        match copied {
            Ok(()) => Ok(Self { path, copy: Some(copy) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { path, copy: None }),
            Err(error) => {
                drop(fs::remove_file(&copy));
                Err(system(format!("keep a copy of {}", path.display()))(error))
            }
        }
    }

    /// Whether a boot takes it away, with its copy: nothing of the change is left of it then, and whoever needs it makes it.
    pub(super) fn ends_with_a_boot(&self) -> bool {
        self.path.starts_with(RUNTIME)
    }

    /// Makes the file what it was. Can be done again at any point.
    pub(super) fn restore(&self) -> io::Result<()> {
        // The change may not have come as far as this file, which then may stay what keeps it from being written.
        if self.is_as_it_was() {
            self.forget();
            return Ok(());
        }
        let outcome = match &self.copy {
            Some(copy) => fs::rename(copy, &self.path),
            None => fs::remove_file(&self.path),
        };
        match outcome {
            // Done already, by a run that was cut short; or the copy is gone, and its directory may be too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.copy.is_some() && !is_there(&self.path) {
                    return Err(error);
                }
            }
            outcome => outcome?,
        }
        // On the disk before the manifest goes, which may be on another one.
        match File::open(self.path.parent().unwrap_or(Path::new("/"))) {
            Ok(directory) => directory.sync_all(),
            // The change did not get as far as making it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_as_it_was(&self) -> bool {
        let Some(copy) = &self.copy else { return !is_there(&self.path) };
        let about = |path: &Path| {
            let about = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
            Some((about.mode(), fs::read(path).ok()?))
        };
        about(&self.path).is_some_and(|now| about(copy).as_ref() == Some(&now))
    }

    /// That it could not be restored, for whoever has to.
    pub(super) fn not_put_back(&self, change: &str, why: &io::Error) -> NotPutBack {
        let what_it_was = match &self.copy {
            Some(copy) if is_there(copy) => WhatItWas::InCopy(copy.display().to_string()),
            Some(_) => WhatItWas::Lost,
            None => WhatItWas::NoFile,
        };
        let path = self.path.display().to_string();
        NotPutBack { change: change.to_owned(), path, what_it_was, why: why.to_string() }
    }

    /// Removes the copy.
    pub(super) fn forget(&self) {
        if let Some(copy) = &self.copy {
            // A copy too many does no harm: the next one takes its place.
            drop(fs::remove_file(copy));
        }
    }
}

/// Whether anything is at a path; what cannot be looked at may be there.
pub(super) fn is_there(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_back_is_what_was_there_whatever_the_change_had_done_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        // The change did not even make the directory.
        Kept { path: path("none/new"), copy: None }.restore().unwrap();
        // It made the file, and it was killed before.
        fs::write(path("new"), "changed").unwrap();
        let new = Kept { path: path("new"), copy: None };
        for _ in 0..2 {
            new.restore().unwrap();
            assert!(!path("new").exists());
        }
        // It changed the file; going back was cut short once.
        fs::write(path("old"), "before").unwrap();
        let old = Kept::of(&path("old")).unwrap();
        fs::write(path("old"), "changed").unwrap();
        for _ in 0..2 {
            old.restore().unwrap();
            assert_eq!(fs::read_to_string(path("old")).unwrap(), "before");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no copy is left");
    }

    #[test]
    fn a_file_that_is_as_it_was_is_put_back_although_it_cannot_be_written() {
        use rustix::fs::{IFlags, ioctl_setflags};
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = directory.path().join("ufw");
        fs::write(&path, "before").unwrap();
        let kept = Kept::of(&path).unwrap();
        let set = |flags| ioctl_setflags(File::open(&path).unwrap(), flags);
        if let Err(error) = set(IFlags::IMMUTABLE) {
            eprintln!("SKIPPED: this filesystem has no immutable files: {error}");
            return;
        }
        let restored = kept.restore();
        set(IFlags::empty()).unwrap();
        restored.unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no copy is left");
    }

    #[test]
    fn a_file_that_is_gone_with_its_copy_is_not_taken_for_put_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ufw/user.rules");
        fs::create_dir(directory.path().join("ufw")).unwrap();
        fs::write(&path, "before").unwrap();
        let kept = Kept::of(&path).unwrap();
        fs::remove_dir_all(directory.path().join("ufw")).unwrap();
        assert_eq!(kept.restore().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
