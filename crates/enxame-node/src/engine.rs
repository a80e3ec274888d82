//! Docker's API on the node's own socket, with a deadline on every call.

use std::future::Future;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};

/// Where every engine listens.
pub const SOCKET: &str = "/var/run/docker.sock";

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The runtime that drives the calls could not be made.
    #[error("cannot start the runtime for calls to the engine")]
    Runtime(#[source] std::io::Error),
    /// The engine refused or could not be reached.
    #[error("the engine could not {attempt}")]
    Refused {
        /// What was tried, after "could not".
        attempt: String,
        /// Its answer.
        #[source]
        source: bollard::errors::Error,
    },
    /// It did not answer in time.
    #[error("the engine did not {attempt} within {} s", after.as_secs())]
    TimedOut {
        /// What was tried.
        attempt: String,
        /// How long it was given.
        after: Duration,
    },
}

impl EngineError {
    /// The HTTP status, when the engine answered with one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused {
                source: bollard::errors::Error::DockerResponseServerError { status_code, .. },
                ..
            } => Some(*status_code),
            _ => None,
        }
    }
}

/// A connection to the engine, at the API version both sides speak.
#[derive(Debug)]
pub struct Engine {
    runtime: tokio::runtime::Runtime,
    docker: Docker,
}

impl Engine {
    /// Connects and agrees on a version.
    ///
    /// # Errors
    /// [`EngineError`]; a socket that is not there is [`EngineError::Refused`].
    pub fn connect() -> Result<Self, EngineError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(EngineError::Runtime)?;
        let refused = |source| EngineError::Refused { attempt: "be reached".to_owned(), source };
        let limit_seconds = 600;
        let docker = runtime
            .block_on(async {
                let docker = Docker::connect_with_unix(SOCKET, limit_seconds, API_DEFAULT_VERSION)?;
                tokio::time::timeout(Duration::from_secs(10), docker.negotiate_version())
                    .await
                    .unwrap_or(Err(bollard::errors::Error::RequestTimeoutError))
            })
            .map_err(refused)?;
        Ok(Self { runtime, docker })
    }

    /// The typed API. Futures made from it are driven by [`Engine::call`].
    #[must_use]
    pub fn api(&self) -> &Docker {
        &self.docker
    }

    /// Drives one call to its end or its deadline. `attempt` completes "could not ...".
    ///
    /// # Errors
    /// [`EngineError::Refused`] and [`EngineError::TimedOut`].
    pub fn call<T>(
        &self,
        attempt: &str,
        deadline: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        let attempt = attempt.to_owned();
        match self.runtime.block_on(async { tokio::time::timeout(deadline, call).await }) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(EngineError::Refused { attempt, source }),
            Err(_) => Err(EngineError::TimedOut { attempt, after: deadline }),
        }
    }
}
