//! One agent per node, over one SSH channel each.
//!
//! The user's own OpenSSH makes the connection: its configuration, agent, jump hosts and known hosts count. One `ssh`
//! process, one channel, one remote command; nothing else is opened, in the first run and in every other.

mod bootstrap;
mod greeting;
mod heard;
mod line;
mod obstacle;
mod process;
mod ssh;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use enxame_core::protocol::{Failure, PROTOCOL, Reply, Request};
use futures::future::LocalBoxFuture;
use tokio::time::timeout;

pub(crate) use bootstrap::OwnBinary;
pub(crate) use heard::Heard;
pub(crate) use obstacle::Stance;
pub(crate) use ssh::{Sharing, Target};

use self::greeting::{Greeting, Unheard};
use self::heard::Stage;
use self::line::Line;
use self::process::Process;

/// From hanging up to the end of ssh.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// Why an agent could not be reached or did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The `ssh` program could not be started.
    #[error("cannot start ssh")]
    NoSsh(#[source] io::Error),
    /// ssh ended, or there was no agent in time.
    #[error("{0}")]
    Ended(Box<Heard>),
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
            Self::Ended(heard) => obstacle::hint(heard),
            Self::NoSsh(_) => Some("install OpenSSH's client (`apt install openssh-client`)".to_owned()),
            // The agent is this build, and its errors go elsewhere: whoever wrote what it did not has the same output.
            Self::Channel(error) if error.kind() == io::ErrorKind::InvalidData => Some(
                "something that the login started there prints beside the agent: `ssh HOST sleep 5` must print nothing"
                    .to_owned(),
            ),
            Self::Failed(failure) => failure.hint.clone(),
            _ => None,
        }
    }

    /// What it says of the server.
    #[must_use]
    pub(crate) fn stance(&self) -> Stance {
        match self {
            Self::Ended(heard) => obstacle::stance(heard),
            Self::TimedOut { .. } | Self::Channel(_) => Stance::Absent,
            Self::NoSsh(_) | Self::OtherBuild(_) | Self::Failed(_) | Self::OutOfTurn => Stance::Refuses,
        }
    }
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
        let mut greeting = Greeting::default();
        let hello = match greeting.hear(&mut stdout, &mut stdin, own).await {
            Ok(hello) => hello,
            Err(Unheard::Channel(error)) => return Err(process.broken(error, greeting).await),
            Err(Unheard::Ended(end)) => return Err(process.ended(end, greeting).await),
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
                Err(TransportError::Channel(error)) => {
                    let past = Greeting { stage: Stage::Agent, ..Greeting::default() };
                    Err(self.process.broken(error, past).await)
                }
                outcome => outcome,
            }
        })
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
        Request::TunnelKey => "fetch the key for the tunnels",
        Request::Convert(_) => "ask docker what a stack would change",
        Request::TaskLog { .. } => "fetch what a task wrote",
        Request::Probe(_) => "take part in a proof",
    }
}
