//! A node in memory, for unit tests: files in a map, commands answered from a script and remembered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use enxame_core::facts::FileFacts;
use enxame_core::files::{bytes_of, text_of};

use super::{Command, Finished, Host, HostError};

/// A node in memory.
#[derive(Debug, Default)]
pub struct FakeHost {
    state: Mutex<State>,
    engine: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, (Vec<u8>, u32)>,
    answers: Vec<(String, Finished)>,
    ran: Vec<Command>,
}

impl FakeHost {
    /// Puts a file there.
    #[must_use]
    pub fn with_file(self, path: &str, content: &str) -> Self {
        self.state().files.insert(path.into(), (content.as_bytes().to_vec(), 0o644));
        self
    }

    /// Scripts the answer to commands whose line begins with `prefix`; others are not found.
    #[must_use]
    pub fn answering(self, prefix: &str, finished: Finished) -> Self {
        self.state().answers.push((prefix.to_owned(), finished));
        self
    }

    /// Lets its engine listen there.
    #[must_use]
    pub fn with_engine_at(mut self, socket: &Path) -> Self {
        self.engine = Some(socket.to_owned());
        self
    }

    /// Every file that is there, with its text and its permission bits.
    pub fn files(&self) -> BTreeMap<PathBuf, (String, u32)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let files = self.state().files.clone();
        files.into_iter().map(|(path, (bytes, mode))| (path, (text(&bytes), mode))).collect()
    }

    /// The commands that were run, in order.
    pub fn ran(&self) -> Vec<Command> {
        self.state().ran.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for FakeHost {
    fn read(&self, path: &Path) -> FileFacts {
        match self.state().files.get(path) {
            None => FileFacts::Absent,
            Some((bytes, mode)) => FileFacts::Text { content: text_of(bytes), mode: *mode, uid: 0, gid: 0 },
        }
    }

    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), HostError> {
        self.state().files.insert(path.to_owned(), (bytes_of(text), mode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), HostError> {
        self.state().files.remove(path);
        Ok(())
    }

    fn run(&self, command: &Command) -> Result<Finished, HostError> {
        let line = command.to_string();
        let mut state = self.state();
        state.ran.push(command.clone());
        let answer =
            state.answers.iter().find(|(prefix, _)| line.starts_with(prefix)).map(|(_, a)| a.clone());
        answer.ok_or_else(|| HostError::Start { command: line, source: std::io::ErrorKind::NotFound.into() })
    }
    fn engine_socket(&self) -> &Path {
        // Nobody listens where no test does.
        self.engine.as_deref().unwrap_or(Path::new("/dev/null"))
    }
}
