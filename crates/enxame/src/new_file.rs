//! Files that the user asked for, made before anything is done for them: what was there stays until all of the new one is.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use tempfile::NamedTempFile;

/// A file that is about to be written.
pub(crate) struct NewFile<'a> {
    path: &'a Path,
    new: NamedTempFile,
}

impl<'a> NewFile<'a> {
    /// Makes sure that it can be written, beside where it will be.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) fn make(path: &'a Path) -> anyhow::Result<Self> {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let new = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory.unwrap_or(Path::new(".")))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, new })
    }

    /// Writes a value as pretty-printed JSON, and lets it take its place.
    ///
    /// # Errors
    /// When the disk is full, and the like.
    pub(crate) fn keep_json(mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let attempt = || format!("cannot write {}", self.path.display());
        self.new.write_all(&serde_json::to_vec_pretty(value)?).with_context(attempt)?;
        self.new.as_file().sync_all().with_context(attempt)?;
        self.new.persist(self.path).with_context(attempt)?;
        Ok(())
    }
}
