//! What can go wrong at the provider's edge, and what to do about it. None of it shows the token.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the provider's edge could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EdgeError {
    /// There is no token.
    #[error("there is no token for the provider's API")]
    NoToken,
    /// The file with the token could not be read.
    #[error("cannot read the API token from {}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others may read the file with the token.
    #[error("{} holds the API token and others may read it (mode {mode:04o})", path.display())]
    TokenIsExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The text is no token.
    #[error("{place} does not hold one API token and nothing else")]
    NotAToken {
        /// Where it stands.
        place: String,
    },
    /// There can be no connections.
    #[error("cannot prepare HTTPS")]
    NoClient(#[source] reqwest::Error),
    /// A request failed for good.
    #[error("provider's edge: cannot {attempt}")]
    Request {
        /// What was tried.
        attempt: String,
        /// Why it failed.
        #[source]
        fault: Fault,
    },
    /// More than one firewall has our name.
    #[error("the provider has {count} firewalls called {name}")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// The provider could not do what it was told to.
    #[error("provider's edge: cannot {attempt}: the provider's action {action} failed")]
    ActionFailed {
        /// What was tried.
        attempt: String,
        /// The provider's number of the action.
        action: u64,
    },
    /// The provider does not end what it was told to do.
    #[error("provider's edge: cannot {attempt}: the provider's action {action} has not ended after {} s", after.as_secs())]
    ActionIsSlow {
        /// What was tried.
        attempt: String,
        /// The provider's number of the action.
        action: u64,
        /// How long it was given.
        after: Duration,
    },
    /// A node could not be reached any more.
    #[error("{node} does not answer a new SSH connection after the change at the provider's edge: {why}")]
    Unconfirmed {
        /// The node.
        node: String,
        /// What the connection met.
        why: String,
    },
    /// A change failed and was undone.
    #[error("the provider's edge was put back as it was")]
    PutBack(#[source] Box<Self>),
    /// A change failed, and undoing it too.
    #[error("the provider's edge could NOT be put back as it was ({})", also.join("; "))]
    NotPutBack {
        /// Why it had to be.
        #[source]
        cause: Box<Self>,
        /// What could not be undone, and why.
        also: Vec<String>,
    },
}

/// How one request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// There was no connection.
    #[error("no connection")]
    NoConnection(#[source] reqwest::Error),
    /// The connection broke, or there was no answer in time: it may have been carried out.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    /// Too many requests.
    #[error("the provider asks for fewer requests{}", waiting(*wait))]
    Throttled {
        /// How long it asks us to wait.
        wait: Option<Duration>,
    },
    /// The token is not taken.
    #[error("the provider refused the API token: {0}")]
    Refused(String),
    /// Any other answer that is no success.
    #[error("the provider answered {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The provider's words.
        message: String,
    },
    /// The answer is not what the API promises.
    #[error("the provider's answer is not understood")]
    NotUnderstood(#[source] serde_json::Error),
    /// What may have been made could not be looked for.
    #[error("it may have been made")]
    Look(#[source] Box<EdgeError>),
}

fn waiting(wait: Option<Duration>) -> String {
    wait.map(|wait| format!(" and to wait {} s", wait.as_secs())).unwrap_or_default()
}

impl Fault {
    /// The fault of a request that had all the patience there is.
    pub(super) fn of(error: EdgeError) -> Self {
        match error {
            EdgeError::Request { fault, .. } => fault,
            other => Self::Look(Box::new(other)),
        }
    }

    /// Whether the same request may go well a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::NoConnection(_) | Self::Broken(_) | Self::Throttled { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Refused(_) | Self::NotUnderstood(_) | Self::Look(_) => false,
        }
    }

    /// Whether the request may have been carried out all the same.
    pub(super) fn is_ambiguous(&self) -> bool {
        match self {
            Self::Broken(_) | Self::NotUnderstood(_) | Self::Look(_) => true,
            Self::Status { status, .. } => *status >= 500,
            Self::NoConnection(_) | Self::Throttled { .. } | Self::Refused(_) => false,
        }
    }

    /// How long the provider asks us to wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        if let Self::Throttled { wait } = self { *wait } else { None }
    }
}

impl EdgeError {
    /// What to do about it.
    #[must_use]
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoToken => {
                "make one in the provider's panel, and set HOSTINGER_API_TOKEN or `firewall.edge.token_file`"
            }
            Self::TokenIsExposed { path, .. } => return Some(format!("chmod 600 {}", path.display())),
            Self::NotAToken { .. } => "the token alone, on one line",
            Self::Request { fault: Fault::Refused(_), .. } => {
                "nothing was changed: tokens expire and can be withdrawn; make another one in the provider's panel"
            }
            Self::Request { fault: Fault::NoConnection(_), .. } => {
                "is the provider's API reachable from here?"
            }
            Self::Request { fault: Fault::Throttled { .. }, .. } => "wait a few minutes, and try again",
            Self::Ambiguous { .. } => {
                "rename or delete all but one in the provider's panel, or name another one in `firewall.edge.firewall`"
            }
            Self::ActionFailed { .. } | Self::ActionIsSlow { .. } => {
                "the provider's panel shows its actions; its support knows their numbers"
            }
            Self::NotPutBack { .. } => {
                "look at the firewall in the provider's panel; its console reaches the servers"
            }
            Self::PutBack(cause) => {
                return cause
                    .hint()
                    .filter(|_| !matches!(**cause, Self::Request { fault: Fault::Refused(_), .. }));
            }
            Self::Unconfirmed { .. } => "`ssh.allow_from` must hold the address that your servers see you at",
            Self::TokenFile { .. } | Self::NoClient(_) | Self::Request { .. } => return None,
        };
        Some(hint.to_owned())
    }

    /// The error and what caused it, outermost first.
    pub(crate) fn causes(&self) -> Vec<String> {
        enxame_core::protocol::Failure::of(self).causes
    }
}
