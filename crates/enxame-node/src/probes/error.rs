//! Why a part of a proof could not be done.

use crate::engine::EngineError;
use crate::scan::ScanError;

/// Why a part of a proof could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The engine did not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A scan proved nothing.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// No watch was started.
    #[error("nothing is being watched: the watch was not started")]
    NotWatching,
    /// The system refused something.
    #[error("cannot {attempt}")]
    System {
        /// What was tried, after "cannot".
        attempt: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody waits for it any more.
    #[error("it was cancelled")]
    Cancelled,
    /// Something did not come true in time.
    #[error("{what} did not happen within {seconds} s")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The engine's answer lacks something.
    #[error("the engine's answer has no {0}")]
    Incomplete(&'static str),
}

impl ProbeError {
    /// For `map_err` on system calls; `attempt` completes "cannot ...".
    pub(super) fn system<E: Into<std::io::Error>>(attempt: impl Into<String>) -> impl FnOnce(E) -> Self {
        let attempt = attempt.into();
        move |source| Self::System { attempt, source: source.into() }
    }
}
