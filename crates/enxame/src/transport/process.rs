//! The `ssh` process of one channel.

use std::ffi::OsStr;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::greeting::Greeting;
use super::heard::{End, Heard, Lines, Words};
use super::{OwnBinary, Sharing, Target, TransportError};

/// How much of a line is read at once, in bytes.
const LONGEST_LINE: u64 = 4096;

/// A process that runs, and what it says on its standard error.
#[derive(Debug)]
pub(super) struct Process {
    child: Mutex<Child>,
    words: Arc<Mutex<Words>>,
    /// Keeps `words` until nobody can say any more.
    hearing: Mutex<JoinHandle<()>>,
}

/// Starts `program`, which is OpenSSH's client or stands for it.
pub(super) fn start(
    program: &OsStr,
    target: &Target,
    sharing: Sharing,
    own: &OwnBinary,
) -> Result<(Process, ChildStdin, BufReader<ChildStdout>), TransportError> {
    let mut child = Command::new(program)
        .args(target.arguments(sharing))
        .arg(own.remote_command())
        // The user's configuration may have it start anything (`ProxyCommand`) or send variables on (`SendEnv`).
        .env_remove(crate::edge::TOKEN_VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C at the terminal is for enxame, which ends its agents in order.
        .process_group(0)
        .spawn()
        .map_err(TransportError::NoSsh)?;
    let lost = || TransportError::Channel(io::ErrorKind::BrokenPipe.into());
    let stdin = child.stdin.take().ok_or_else(lost)?;
    let stdout = BufReader::new(child.stdout.take().ok_or_else(lost)?);
    let stderr = child.stderr.take().ok_or_else(lost)?;
    let words: Arc<Mutex<Words>> = Arc::default();
    let hearing = Mutex::new(tokio::spawn(hear(stderr, Arc::clone(&words))));
    Ok((Process { child: Mutex::new(child), words, hearing }, stdin, stdout))
}

impl Process {
    /// What a broken channel means: mostly that ssh ended, and why.
    pub(super) async fn broken(&self, error: io::Error, greeting: Greeting) -> TransportError {
        let has_closed = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe);
        if !has_closed {
            return TransportError::Channel(error);
        }
        let ended = timeout(Duration::from_secs(5), async { self.child.lock().await.wait().await });
        let code = ended.await.ok().and_then(Result::ok).and_then(|status| status.code());
        let mut hearing = self.hearing.lock().await;
        if !hearing.is_finished() {
            // A master of shared connections keeps it open: what came until then counts.
            drop(timeout(Duration::from_secs(1), &mut *hearing).await);
        }
        self.ended(code.map_or(End::Closed, End::Exit), greeting).await
    }

    /// What was heard until an end that is known.
    pub(super) async fn ended(&self, end: End, greeting: Greeting) -> TransportError {
        let words = self.words.lock().await.clone();
        let printed = Lines::of(&greeting.printed);
        TransportError::Ended(Box::new(Heard { stage: greeting.stage, end, printed, words }))
    }

    /// Waits until it has ended.
    pub(super) async fn end(&self) {
        // Whatever it ends with, it has.
        drop(self.child.lock().await.wait().await);
    }
}

async fn hear(stderr: impl AsyncRead + Unpin, words: Arc<Mutex<Words>>) {
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    // Lines are cut where nobody would read on, so that one without an end takes no memory.
    while let Ok(1..) = (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
        words.lock().await.hear(line.trim_ascii_end());
        line.clear();
    }
}
