//! The node as resources see it: files, commands, nothing else.
//!
//! [`RealHost`] is the machine; with a root directory other than `/` its files live below that directory, which is
//! what tests use. [`FakeHost`] keeps files in memory and answers commands from a script. Both are held to the same
//! behaviour by the same test.

mod command;
mod fake;
mod real;

use std::fs;
use std::path::Path;
use std::time::Duration;

use enxame_core::facts::FileFacts;
use enxame_core::files::OwnedFile;

pub use command::{Command, Finished};
pub use fake::FakeHost;
pub use real::RealHost;

/// Where programs are looked for.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why something on the host did not work.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file could not be read or written.
    #[error("cannot {verb} {path}")]
    File {
        /// `read`, `write`, `remove`.
        verb: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A command could not be started or watched.
    #[error("cannot run `{command}`")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A command said no.
    #[error("`{command}` ended with {status}: {message}")]
    Refused {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote to its standard error, or output.
        message: String,
    },
    /// A command did not end in time and was killed.
    #[error("`{command}` did not end within {} s and was killed", after.as_secs())]
    TimedOut {
        /// The command line.
        command: String,
        /// How long it was given.
        after: Duration,
    },
}

/// A node.
pub trait Host: Sync {
    /// Reads a file. Absence is an answer, not an error.
    fn read(&self, path: &Path) -> FileFacts;

    /// Replaces a file atomically: temporary file in the same directory, fsync, rename, fsync of the directory.
    /// Missing directories are made (0755). Owner is root. Bytes of another encoding than UTF-8 go back as they were read
    /// ([`bytes_of`](enxame_core::files::bytes_of)).
    ///
    /// # Errors
    /// [`HostError::File`]; the old file is untouched then.
    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), HostError>;

    /// Removes a file; one that is absent already is fine.
    ///
    /// # Errors
    /// [`HostError::File`].
    fn remove(&self, path: &Path) -> Result<(), HostError>;

    /// Runs a command to its end or its deadline.
    ///
    /// # Errors
    /// [`HostError::Start`] and [`HostError::TimedOut`]; a non-zero exit is in [`Finished`].
    fn run(&self, command: &Command) -> Result<Finished, HostError>;

    /// Where the engine listens.
    fn engine_socket(&self) -> &Path {
        Path::new(crate::engine::SOCKET)
    }
}

impl dyn Host + '_ {
    /// Writes a file that enxame owns whole.
    ///
    /// # Errors
    /// As [`Host::write`].
    pub fn write_owned(&self, file: &OwnedFile) -> Result<(), HostError> {
        self.write(Path::new(&file.path), &file.content, file.mode)
    }

    /// A file's text; empty when it is not there or not text.
    pub(crate) fn text(&self, path: &str) -> String {
        match self.read(Path::new(path)) {
            FileFacts::Text { content, .. } => content,
            FileFacts::Absent | FileFacts::Unreadable(_) => String::new(),
        }
    }

    /// A file's text however long it is: dpkg's status and the module lists may exceed what [`Host::read`] takes.
    pub(crate) fn long_text(&self, path: &str) -> String {
        match self.read(Path::new(path)) {
            FileFacts::Text { content, .. } => content,
            FileFacts::Absent => String::new(),
            FileFacts::Unreadable(_) => {
                fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
            }
        }
    }

    /// Whether anything is at that path, be it a file, a directory or a socket.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.read(Path::new(path)) != FileFacts::Absent
    }

    /// Runs a command that must succeed and gives its standard output.
    ///
    /// # Errors
    /// As [`Host::run`], and [`HostError::Refused`] when it exits with another code than 0.
    pub fn run_ok(&self, command: &Command) -> Result<String, HostError> {
        let finished = self.run(command)?;
        if finished.succeeded() {
            Ok(finished.stdout)
        } else {
            Err(HostError::Refused {
                command: command.to_string(),
                status: finished.status_text(),
                message: finished.last_words(),
            })
        }
    }
}

#[cfg(test)]
mod tests;
