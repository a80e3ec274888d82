//! The machine itself.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use enxame_core::facts::FileFacts;
use enxame_core::files::{bytes_of, text_of};
use enxame_core::limits::MAX_TEXT_BYTES;

use super::{Command, Finished, Host, HostError};
use crate::replace::replace;

/// How long a pipe may stay open after the command has ended: a service that it started may have inherited it.
const AFTER_THE_END: Duration = Duration::from_secs(2);

/// The machine, or a directory that stands for its root.
#[derive(Clone, Debug)]
pub struct RealHost {
    root: PathBuf,
}

impl RealHost {
    /// The machine.
    #[must_use]
    pub fn new() -> Self {
        Self::rooted("/")
    }

    /// A machine whose files live below `root`; commands are the machine's all the same.
    pub fn rooted(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Default for RealHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Host for RealHost {
    fn read(&self, path: &Path) -> FileFacts {
        match read_text(&self.at(path)) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => FileFacts::Absent,
            Err(error) => FileFacts::Unreadable(error.to_string()),
        }
    }

    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), HostError> {
        replace(&self.at(path), &bytes_of(text), mode).map_err(|source| failed("write", path, source))
    }

    fn remove(&self, path: &Path) -> Result<(), HostError> {
        match fs::remove_file(self.at(path)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, source)),
            _ => Ok(()),
        }
    }

    fn run(&self, command: &Command) -> Result<Finished, HostError> {
        let start = |source| HostError::Start { command: command.to_string(), source };
        let (program, arguments) = command
            .argv
            .split_first()
            .ok_or_else(|| start(io::Error::new(io::ErrorKind::InvalidInput, "an empty command line")))?;
        let mut child = std::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", super::PATH)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/root")
            .envs(command.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that a deadline ends its children too.
            .process_group(0)
            .spawn()
            .map_err(start)?;
        watch(&mut child, command)
    }
}

fn failed(verb: &'static str, path: &Path, source: io::Error) -> HostError {
    HostError::File { verb, path: path.display().to_string(), source }
}

fn read_text(path: &Path) -> io::Result<FileFacts> {
    let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(FileFacts::Unreadable("not a regular file".to_owned()));
    }
    if about.len() > MAX_TEXT_BYTES {
        return Ok(FileFacts::Unreadable(format!(
            "{} bytes, over the limit of {MAX_TEXT_BYTES}",
            about.len()
        )));
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(MAX_TEXT_BYTES).read_to_end(&mut bytes)?;
    Ok(FileFacts::Text {
        content: text_of(&bytes),
        mode: about.mode() & 0o7777,
        uid: about.uid(),
        gid: about.gid(),
    })
}

/// Feeds and drains a child on threads of their own, and ends its whole group at the deadline.
fn watch(child: &mut Child, command: &Command) -> Result<Finished, HostError> {
    let failed = |source| HostError::Start { command: command.to_string(), source };
    let input = command.stdin.clone();
    let stdin = child.stdin.take();
    // Ends with the pipe, which a child that reads nothing closes when it ends.
    thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(&input)));
    let stdout = Drain::start(child.stdout.take());
    let stderr = Drain::start(child.stderr.take());
    let end = Instant::now() + command.deadline;
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() >= end {
            end_group(child);
            return Err(HostError::TimedOut { command: command.to_string(), after: command.deadline });
        }
        // A child that is about to end closes its output, which is no end yet.
        pause = match stdout.ended.recv_timeout(pause) {
            Ok(()) => Duration::from_millis(1),
            Err(RecvTimeoutError::Timeout) => pause * 2,
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(pause);
                pause * 2
            }
        }
        .min(Duration::from_millis(50));
    };
    Ok(Finished { code: status.code(), stdout: stdout.text(), stderr: stderr.text() })
}

/// What a child writes into one of its pipes.
struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Drain {
    fn start(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = channel();
        let kept = Arc::clone(&bytes);
        let mut pipe = pipe;
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            // What came before an error is still worth having.
            while let Some(count) = pipe_read(&mut pipe, &mut buffer) {
                lock(&kept).extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
            // Nobody may wait any more.
            let _ = end.send(());
        });
        Self { bytes, ended }
    }

    /// All of it; or, where something that the child has started keeps the pipe open, what came soon after its end.
    fn text(self) -> String {
        // Both ways the waiting is over.
        let _ = self.ended.recv_timeout(AFTER_THE_END);
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }
}

/// How many bytes came; `None` at the end.
fn pipe_read(pipe: &mut Option<impl Read>, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match pipe.as_mut()?.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome.ok().filter(|count| *count > 0),
        }
    }
}

/// The bytes are whole even where a thread panicked that held them.
fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end_group(child: &mut Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        let group = nix::unistd::Pid::from_raw(id);
        // A group that has ended by itself meanwhile is as good.
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    drop(child.wait());
}
