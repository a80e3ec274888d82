//! What actions act through, and why one could not be carried out.

use std::io;
use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ExponentialBuilder};
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
        source: io::Error,
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

    /// Whether trying again cannot help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Host(HostError::File { source, .. } | HostError::Start { source, .. })
            | Self::System { source, .. } => is_forbidden(source),
            Self::Engine(error) => error.is_final(),
            Self::Json(_) => true,
            // What a command refuses or is not as it must be may come right.
            Self::Host(HostError::Refused { .. } | HostError::TimedOut { .. }) | Self::Wrong { .. } => false,
        }
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

/// Whether the kernel would say the same again.
pub(crate) fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// What an agent has of apt's package lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PackageLists {
    /// What was there before it came.
    #[default]
    NotFetched,
    /// All of them, anew.
    Fetched,
    /// Those that could be fetched; the text says what apt said of the others.
    Incomplete(String),
}

/// What a resource acts through.
pub struct Context<'a> {
    /// Files and commands.
    pub host: &'a dyn Host,
    /// What another node handed over.
    pub handed: Option<&'a Secret>,
    /// Tells the operator what is going on.
    pub progress: &'a mut dyn FnMut(&str),
    /// What this agent has of the package lists.
    pub package_lists: &'a mut PackageLists,
}

impl Context<'_> {
    /// The engine, which must answer within `deadline` of being asked.
    ///
    /// # Errors
    /// The last refusal, when it never answered; the first, when it says so for good.
    pub fn engine_within(&self, deadline: Duration) -> Result<Engine, EngineError> {
        wait_for(deadline, EngineError::is_final, || Engine::at(self.host.engine_socket()))
    }

    /// The engine.
    ///
    /// # Errors
    /// When it does not answer within 60 s (it may be starting).
    pub fn engine(&self) -> Result<Engine, EngineError> {
        self.engine_within(Duration::from_secs(60))
    }
}

/// Tries until it works, is refused for good or the deadline is over, and then gives the last error. The first pause is
/// 50 ms, and none is longer than a second.
///
/// # Errors
/// The last error of `attempt`.
pub fn wait_for<T, E>(
    deadline: Duration,
    is_final: impl Fn(&E) -> bool,
    attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let end = Instant::now() + deadline;
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .without_max_times();
    attempt.retry(pauses).when(|error| !is_final(error) && Instant::now() < end).call()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: io::ErrorKind) -> ActuateError {
        ActuateError::System { attempt: "try".to_owned(), source: kind.into() }
    }

    /// How often it was tried, and what came of it.
    fn tried(deadline_ms: u64, outcomes: &[Result<(), io::ErrorKind>]) -> (usize, Option<String>) {
        let mut count = 0;
        let outcome = wait_for(Duration::from_millis(deadline_ms), ActuateError::is_final, || {
            let outcome = outcomes[count.min(outcomes.len() - 1)];
            count += 1;
            outcome.map_err(refused)
        });
        (count, outcome.err().map(|error| Failure::of(&error).causes.join(": ")))
    }

    #[test]
    fn what_is_not_yet_so_is_tried_again_until_it_is() {
        let not_yet = Err(io::ErrorKind::WouldBlock);
        assert_eq!(tried(60_000, &[not_yet, not_yet, Ok(())]), (3, None));
    }

    #[test]
    fn what_is_refused_for_good_is_not_asked_for_again() {
        let begun = Instant::now();
        let (count, why) =
            tried(60_000, &[Err(io::ErrorKind::WouldBlock), Err(io::ErrorKind::PermissionDenied)]);
        assert_eq!((count, why.as_deref()), (2, Some("cannot try: permission denied")));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn the_last_error_is_given_when_the_time_is_over() {
        let (count, why) = tried(60, &[Err(io::ErrorKind::NotFound), Err(io::ErrorKind::WouldBlock)]);
        assert!(count > 1, "{count}");
        assert_eq!(why.as_deref(), Some("cannot try: operation would block"));
        assert_eq!(tried(0, &[Err(io::ErrorKind::NotFound)]).0, 1);
    }
}
