//! One agent per node, over one SSH channel each.
//!
//! The user's own OpenSSH makes the connection: its configuration, agent, jump hosts and known hosts count. One `ssh`
//! process, one channel, one remote command; nothing else is opened, in the first run and in every other.

mod bootstrap;
mod line;
mod process;
mod ssh;
#[cfg(test)]
mod tests;

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use enxame_core::protocol::{Failure, Hello, PROTOCOL, Reply, Request};
use futures::future::LocalBoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

pub(crate) use bootstrap::OwnBinary;
pub(crate) use ssh::{Sharing, Target};

use self::line::Line;
use self::process::Process;

/// From starting `ssh` to the agent's first word.
const CONNECT_DEADLINE: Duration = Duration::from_secs(60);
/// The same when the binary has to be copied first.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(300);
/// From hanging up to the end of ssh.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

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

/// Whoever carries out requests on a node: an agent, or one that is scripted in its place. Any number of them may be under
/// way at once; one that is dropped is cancelled.
pub(crate) trait Channel {
    /// Asks, and waits for the reply. `progress` gets short texts for people.
    ///
    /// # Errors
    /// [`TransportError`].
    fn request<'a>(
        &'a self,
        request: &'a Request,
        deadline: Duration,
        progress: &'a mut dyn FnMut(&str),
    ) -> LocalBoxFuture<'a, Result<Reply, TransportError>>;
}

/// A node's agent.
#[derive(Debug)]
pub(crate) struct Agent {
    process: Process,
    line: Line,
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
        let (process, mut stdin, mut stdout) = process::start("ssh".as_ref(), target, sharing, own)?;
        let hello = match greet(&mut stdin, &mut stdout, own).await {
            Err(TransportError::Channel(error)) => return Err(process.broken(error).await),
            outcome => outcome?,
        };
        if hello.protocol == PROTOCOL && hello.build == own.build() {
            Ok(Self { process, line: Line::over(stdout, stdin) })
        } else {
            Err(TransportError::OtherBuild(hello.build))
        }
    }

    /// Closes the channel and waits until ssh has ended, so that the agent has let go of the node.
    pub(crate) async fn close(self) {
        let Self { process, line } = self;
        let ending = async {
            // What the agent still says is read to its end, so that nothing keeps it from ending.
            let _reading = line.hang_up().await;
            process.end().await;
        };
        // An agent that does not end in time is ended by the drop of its ssh.
        drop(timeout(CLOSE_DEADLINE, ending).await);
    }
}

impl Channel for Agent {
    fn request<'a>(
        &'a self,
        request: &'a Request,
        deadline: Duration,
        progress: &'a mut dyn FnMut(&str),
    ) -> LocalBoxFuture<'a, Result<Reply, TransportError>> {
        Box::pin(async move {
            match self.line.request(request, deadline, progress).await {
                Err(TransportError::Channel(error)) => Err(self.process.broken(error).await),
                outcome => outcome,
            }
        })
    }
}

async fn greet(
    stdin: &mut ChildStdin,
    stdout: &mut BufReader<ChildStdout>,
    own: &OwnBinary,
) -> Result<Hello, TransportError> {
    let slow = |after| move |_| TransportError::TimedOut { attempt: "connect", after };
    let mut head = [0; 4];
    let first = timeout(CONNECT_DEADLINE, stdout.read_exact(&mut head)).await;
    first.map_err(slow(CONNECT_DEADLINE))?.map_err(TransportError::Channel)?;
    if head == bootstrap::WANTS_THE_BINARY {
        let upload = async {
            stdin.write_all(&own.packed()?).await?;
            stdin.flush().await?;
            stdout.read_exact(&mut head).await
        };
        let sent = timeout(UPLOAD_DEADLINE, upload).await;
        sent.map_err(slow(UPLOAD_DEADLINE))?.map_err(TransportError::Channel)?;
    }
    let hello = timeout(CONNECT_DEADLINE, line::read_body(stdout, head)).await;
    hello.map_err(slow(CONNECT_DEADLINE))?.map_err(TransportError::Channel)
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
