//! What actions act through, and why one could not be carried out.

use std::time::Duration;

use enxame_core::protocol::Failure;
use enxame_core::secret::Secret;

use crate::engine::{Engine, EngineError};
use crate::host::{Host, HostError};

/// Why a resource could not act.
#[derive(Debug, thiserror::Error)]
pub enum ActuateError {
    /// A file or command.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file of JSON that cannot be read.
    #[error("it cannot be read as JSON")]
    Json(#[from] serde_json::Error),
    /// A system call.
    #[error("cannot {attempt}")]
    System {
        /// What was tried, after "cannot".
        attempt: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Something is not as it must be.
    #[error("{message}")]
    Wrong {
        /// What.
        message: String,
        /// What to do about it.
        hint: String,
    },
}

impl ActuateError {
    /// Something that is not as it must be.
    pub fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Wrong { message: message.into(), hint: hint.into() }
    }

    /// The error as it crosses the wire.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let hint = match self {
            Self::Wrong { hint, .. } => Some(hint.clone()).filter(|hint| !hint.is_empty()),
            _ => None,
        };
        Failure { hint, ..Failure::of(self) }
    }
}

/// What a resource acts through.
pub struct Context<'a> {
    /// Files and commands.
    pub host: &'a dyn Host,
    /// What another node handed over.
    pub handed: Option<&'a Secret>,
    /// Tells the operator what is going on.
    pub progress: &'a mut dyn FnMut(&str),
    /// Whether this agent has fetched the package lists already.
    pub package_lists_are_fresh: &'a mut bool,
}

impl Context<'_> {
    /// The engine, which must answer within `deadline` of being asked.
    ///
    /// # Errors
    /// The last refusal, when it never answered.
    pub fn engine_within(&self, deadline: Duration) -> Result<Engine, EngineError> {
        wait_for(deadline, || Engine::at(self.host.engine_socket()))
    }

    /// The engine.
    ///
    /// # Errors
    /// When it does not answer within 60 s (it may be starting).
    pub fn engine(&self) -> Result<Engine, EngineError> {
        self.engine_within(Duration::from_secs(60))
    }
}

/// Tries until it works or the deadline is over, and then gives the last error.
///
/// # Errors
/// The last error of `attempt`.
pub fn wait_for<T, E>(deadline: Duration, mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let end = std::time::Instant::now() + deadline;
    let mut pause = Duration::from_millis(50);
    loop {
        match attempt() {
            Err(_) if std::time::Instant::now() < end => {}
            outcome => return outcome,
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
