//! One agent per node, over one SSH channel each.
//!
//! The user's own OpenSSH makes the connection: its configuration, agent, jump hosts and known hosts count. One `ssh`
//! process, one channel, one remote command; nothing else is opened, in the first run and in every other.

mod bootstrap;
mod ssh;

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use enxame_core::protocol::{
    Failure, Hello, KEEP_ALIVE, PROTOCOL, Reply, Request, STILL_HERE, checked_length, encode,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

pub(crate) use bootstrap::OwnBinary;
pub(crate) use ssh::{Sharing, Target};

/// From starting `ssh` to the agent's first word.
const CONNECT_DEADLINE: Duration = Duration::from_secs(60);
/// The same when the binary has to be copied first.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(300);
/// How much of what ssh and the remote side write to their standard error is kept.
const KEPT_LINES: usize = 20;

/// Why an agent could not be reached or did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The `ssh` program could not be started.
    #[error("cannot start ssh")]
    NoSsh(#[source] io::Error),
    /// The channel closed before the agent answered.
    #[error("{}", ended(*status, words))]
    Ended {
        /// How ssh ended, when it did.
        status: Option<ExitStatus>,
        /// The last lines of its standard error.
        words: String,
    },
    /// The agent did not answer in time.
    #[error("no answer within {} s while trying to {attempt}", after.as_secs())]
    TimedOut {
        /// What was asked.
        attempt: &'static str,
        /// How long it was given.
        after: Duration,
    },
    /// The channel carried what nobody understands.
    #[error("the channel to the agent broke")]
    Channel(#[source] io::Error),
    /// The agent is another build than this one.
    #[error("the agent on the node is another build ({0})")]
    OtherBuild(String),
    /// The agent did not do what it was asked.
    #[error("{}", .0.causes.join(": "))]
    Failed(Failure),
    /// An earlier request was never answered.
    #[error("the agent was given up after an earlier request")]
    Lost,
    /// The agent answered something else than what was asked.
    #[error("the agent answered out of turn")]
    OutOfTurn,
}

impl TransportError {
    /// What to do about it.
    #[must_use]
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Ended { words, .. } if words.contains("sudo:") => {
                Some("give the account passwordless sudo (a line in /etc/sudoers.d), or use root".to_owned())
            }
            Self::Ended { words, .. } if words.contains("HAS CHANGED") => Some(
                "the server shows another key than before: unless you have just reinstalled it, stop here"
                    .to_owned(),
            ),
            Self::Ended { words, .. } if words.contains("Host key verification failed") => Some(
                "`ssh HOST` once by hand, and compare the key's fingerprint with your provider's console"
                    .to_owned(),
            ),
            Self::Ended { words, .. } if words.contains("Permission denied") => {
                Some("`ssh HOST true` must work without a question: load the key into ssh-agent".to_owned())
            }
            Self::Ended { status, .. } if status.and_then(|status| status.code()) == Some(255) => {
                Some("try the same by hand: ssh HOST true".to_owned())
            }
            Self::NoSsh(_) => Some("install OpenSSH's client (`apt install openssh-client`)".to_owned()),
            Self::Channel(_) => Some(
                "a login script that prints text (.bashrc) breaks it: `ssh HOST true` must print nothing"
                    .to_owned(),
            ),
            Self::Failed(failure) => failure.hint.clone(),
            _ => None,
        }
    }
}

fn ended(status: Option<ExitStatus>, words: &str) -> String {
    let code = status.and_then(|status| status.code());
    let how = match code {
        Some(255) => "ssh could not connect".to_owned(),
        Some(code) => format!("the remote side ended with exit code {code}"),
        None => "the connection closed".to_owned(),
    };
    if words.is_empty() { how } else { format!("{how}: {words}") }
}

/// A node's agent.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    stdin: Arc<Mutex<ChildStdin>>,
    stdout: BufReader<ChildStdout>,
    words: Arc<Mutex<Vec<String>>>,
    /// Keeps `words` until nobody can say any more.
    hearing: JoinHandle<()>,
    /// Whether a reply may still be on its way that nobody waits for: the next one would be taken for another's.
    is_lost: bool,
    /// Tells the agent now and then that we are here; ends with this value.
    keep_alive: JoinSet<()>,
}

impl Agent {
    /// Connects, copies the binary when the node lacks it, and waits for the agent's first word.
    ///
    /// # Errors
    /// [`TransportError`].
    pub(crate) async fn connect(
        target: &Target,
        sharing: Sharing,
        own: &OwnBinary,
    ) -> Result<Self, TransportError> {
        let mut command = tokio::process::Command::new("ssh");
        command
            .args(target.arguments(sharing))
            .arg(own.remote_command())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C at the terminal is for enxame, which ends its agents in order.
            .process_group(0);
        let mut child = command.spawn().map_err(TransportError::NoSsh)?;
        let lost = || TransportError::Channel(io::ErrorKind::BrokenPipe.into());
        let stdin = child.stdin.take().ok_or_else(lost)?;
        let stdout = BufReader::new(child.stdout.take().ok_or_else(lost)?);
        let stderr = child.stderr.take().ok_or_else(lost)?;
        let words = Arc::new(Mutex::new(Vec::new()));
        let hearing = tokio::spawn(keep_last_lines(stderr, Arc::clone(&words)));
        let stdin = Arc::new(Mutex::new(stdin));
        let mut agent =
            Self { child, stdin, stdout, words, hearing, is_lost: false, keep_alive: JoinSet::new() };
        let hello = agent.greet(own).await?;
        if hello.protocol == PROTOCOL && hello.build == own.build() {
            agent.keep_alive.spawn(say_still_here(Arc::clone(&agent.stdin)));
            Ok(agent)
        } else {
            Err(TransportError::OtherBuild(hello.build))
        }
    }

    async fn greet(&mut self, own: &OwnBinary) -> Result<Hello, TransportError> {
        let slow = |after| move |_| TransportError::TimedOut { attempt: "connect", after };
        let mut head = [0; 4];
        let first = timeout(CONNECT_DEADLINE, self.stdout.read_exact(&mut head)).await;
        match first.map_err(slow(CONNECT_DEADLINE))? {
            Ok(_) => {}
            Err(error) => return Err(self.broken(error).await),
        }
        if head == bootstrap::WANTS_THE_BINARY {
            let sent = timeout(UPLOAD_DEADLINE, self.upload(own, &mut head)).await;
            match sent.map_err(slow(UPLOAD_DEADLINE))? {
                Ok(()) => {}
                Err(error) => return Err(self.broken(error).await),
            }
        }
        let hello = timeout(CONNECT_DEADLINE, self.read_body(head)).await;
        match hello.map_err(slow(CONNECT_DEADLINE))? {
            Ok(hello) => Ok(hello),
            Err(error) => Err(self.broken(error).await),
        }
    }

    async fn upload(&mut self, own: &OwnBinary, head: &mut [u8; 4]) -> io::Result<()> {
        let mut stdin = self.stdin.lock().await;
        stdin.write_all(&own.packed()?).await?;
        stdin.flush().await?;
        self.stdout.read_exact(head).await.map(drop)
    }

    async fn read_body<T: serde::de::DeserializeOwned>(&mut self, head: [u8; 4]) -> io::Result<T> {
        let mut body = vec![0; checked_length(head)?];
        self.stdout.read_exact(&mut body).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn read_reply(&mut self) -> io::Result<Reply> {
        let mut head = [0; 4];
        self.stdout.read_exact(&mut head).await?;
        self.read_body(head).await
    }

    /// Asks, and waits for the one reply that is not progress.
    ///
    /// # Errors
    /// [`TransportError`]; after anything but [`TransportError::Failed`] the agent is of no more use.
    pub(crate) async fn request(
        &mut self,
        request: &Request,
        deadline: Duration,
        mut progress: impl FnMut(&str),
    ) -> Result<Reply, TransportError> {
        if self.is_lost {
            return Err(TransportError::Lost);
        }
        let frame = encode(request).map_err(TransportError::Channel)?;
        // Until the reply is here; a caller that stops waiting leaves it so.
        self.is_lost = true;
        let exchange = async {
            say(&self.stdin, &frame).await?;
            loop {
                match self.read_reply().await? {
                    Reply::Progress(text) => progress(&text),
                    reply => return Ok(reply),
                }
            }
        };
        let outcome = timeout(deadline, exchange).await;
        match outcome {
            Ok(Ok(reply)) => {
                self.is_lost = false;
                if let Reply::Failed(failure) = reply {
                    Err(TransportError::Failed(failure))
                } else {
                    Ok(reply)
                }
            }
            Ok(Err(error)) => Err(self.broken(error).await),
            Err(_) => Err(TransportError::TimedOut { attempt: attempt(request), after: deadline }),
        }
    }

    /// Closes the channel and waits until ssh has ended, so that the agent has let go of the node.
    pub(crate) async fn close(self) {
        let Self { mut child, stdin, mut keep_alive, .. } = self;
        keep_alive.shutdown().await;
        drop(stdin);
        // An agent that does not end in time is ended by the drop of its ssh.
        drop(timeout(Duration::from_secs(10), child.wait()).await);
    }

    /// What a broken channel means: mostly that ssh ended, and why.
    async fn broken(&mut self, error: io::Error) -> TransportError {
        let has_closed = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe);
        if !has_closed {
            return TransportError::Channel(error);
        }
        let status = timeout(Duration::from_secs(5), self.child.wait()).await.ok().and_then(Result::ok);
        if !self.hearing.is_finished() {
            // A master of shared connections keeps it open: what came until then counts.
            let _ = timeout(Duration::from_secs(1), &mut self.hearing).await;
        }
        TransportError::Ended { status, words: self.words.lock().await.join(" | ") }
    }
}

/// What a request tries, for messages.
fn attempt(request: &Request) -> &'static str {
    match request {
        Request::Lock { .. } => "lock the node",
        Request::Gather(_) => "gather facts",
        Request::Execute { .. } => "make a change",
        Request::Confirm { .. } => "confirm a change",
        Request::PutBack { .. } => "put a change back",
        Request::Settle => "close the journal",
        Request::Forget => "take away /var/lib/enxame",
        Request::ManagerToken => "fetch the join token",
        Request::Probe(_) => "take part in a proof",
    }
}

/// Writes one whole frame: nobody else's comes between its bytes.
async fn say(stdin: &Mutex<ChildStdin>, frame: &[u8]) -> io::Result<()> {
    let mut stdin = stdin.lock().await;
    stdin.write_all(frame).await?;
    stdin.flush().await
}

/// Until the channel breaks, which the next request will find out.
async fn say_still_here(stdin: Arc<Mutex<ChildStdin>>) {
    loop {
        tokio::time::sleep(KEEP_ALIVE).await;
        if say(&stdin, &STILL_HERE).await.is_err() {
            return;
        }
    }
}

async fn keep_last_lines(stderr: impl tokio::io::AsyncRead + Unpin, words: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut words = words.lock().await;
        if words.len() == KEPT_LINES {
            words.remove(0);
        }
        if !line.trim().is_empty() {
            words.push(line.trim().to_owned());
        }
    }
}
