//! `.lab/`, the laboratory's files in the project that uses it.
//!
//! Owns where things are; others own what is in them. Invariant: nothing outside this directory outlives
//! the laboratory, except its record in `/run`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The directory of one laboratory. Its path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    directory: PathBuf,
}

impl Home {
    /// The directory given, or `.lab` of the project around the working directory.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self> {
        let here = std::env::current_dir().context("the working directory is gone")?;
        let directory = match given {
            Some(directory) => here.join(directory),
            None => project_around(&here)?.join(".lab"),
        };
        fs::create_dir_all(directory.join("log"))
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let directory =
            directory.canonicalize().with_context(|| format!("cannot resolve {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// The directory itself.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The cluster file that `exec` names in `ENXAME_CONFIG`.
    pub(crate) fn cluster_file(&self) -> PathBuf {
        self.directory.join("cluster.yaml")
    }

    /// For OpenSSH's `-F`.
    pub(crate) fn ssh_config(&self) -> PathBuf {
        self.directory.join("ssh_config")
    }

    /// The operator's private key; the public one is beside it.
    pub(crate) fn operator_key(&self) -> PathBuf {
        self.directory.join("id_ed25519")
    }

    /// The laboratory's own key to root, for what it does itself; the operator's may be refused.
    pub(crate) fn lab_key(&self) -> PathBuf {
        self.directory.join("lab_ed25519")
    }

    /// The nodes' host keys, as OpenSSH looks them up.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.directory.join("known_hosts")
    }

    /// Consoles, emulators and the package proxy write here.
    pub(crate) fn log(&self, of: &str) -> PathBuf {
        self.directory.join("log").join(format!("{of}.log"))
    }

    /// A directory or file of the laboratory's inner workings.
    pub(crate) fn inner(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

fn project_around(here: &Path) -> Result<PathBuf> {
    for directory in here.ancestors() {
        if directory.join(".lab").is_dir() {
            return Ok(directory.to_owned());
        }
        let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
        if manifest.lines().any(|line| line.trim() == "[workspace]") {
            return Ok(directory.to_owned());
        }
    }
    bail!(
        "{} is in no project: neither it nor a directory above it has a workspace's Cargo.toml or a .lab\n\
         hint: name the laboratory's directory with --dir or ENXAME_LAB_DIR",
        here.display()
    )
}

/// Writes a whole file so that it is never seen half-written.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().context("a file has a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let temporary = path.with_extension("new");
    fs::write(&temporary, content).with_context(|| format!("cannot write {}", temporary.display()))?;
    fs::rename(&temporary, path).with_context(|| format!("cannot replace {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_found_from_a_directory_inside_it() {
        let project = tempfile::tempdir().unwrap();
        fs::write(project.path().join("Cargo.toml"), "[workspace]\n").unwrap();
        let inside = project.path().join("crates/one");
        fs::create_dir_all(&inside).unwrap();
        fs::write(inside.join("Cargo.toml"), "[package]\n").unwrap();
        assert_eq!(project_around(&inside).unwrap(), project.path());
    }

    #[test]
    fn outside_of_any_project_the_hint_names_the_option() {
        let nowhere = tempfile::tempdir().unwrap();
        let error = project_around(nowhere.path()).unwrap_err().to_string();
        assert!(error.contains("--dir"), "{error}");
    }
}
