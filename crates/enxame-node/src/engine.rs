//! Docker's API on the node's own socket, with a deadline on every call.

use std::future::Future;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};

use crate::actuate::is_forbidden;

/// Where every engine listens.
pub const SOCKET: &str = "/var/run/docker.sock";

/// How long it may take to say that it is there.
const PING: Duration = Duration::from_secs(10);
const LONGEST_PING_BYTES: u64 = 16 * 1024;
/// Refusals of the client's kind (RFC 9110, 15.5; RFC 6585) that may be taken back: forbidden while in use, not found, request
/// timeout, conflict, locked, too early, too many requests.
const PASSING: [u16; 7] = [403, 404, 408, 409, 423, 425, 429];

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The runtime that drives the calls could not be made.
    #[error("cannot start the runtime for calls to the engine")]
    Runtime(#[source] io::Error),
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

    /// Whether asking again cannot help: the request itself is at fault, or this process may not reach the engine. A
    /// conflict (409), something in use (403, moby `daemon/delete.go` and `libnetwork`) and what is missing (404) pass; an
    /// engine that is starting has no socket, and a manager without quorum says 500 or 503.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Runtime(_) => true,
            Self::Refused { source: bollard::errors::Error::IOError { err }, .. } => is_forbidden(err),
            Self::Refused { .. } => {
                matches!(self.status(), Some(status) if (400..500).contains(&status) && !PASSING.contains(&status))
            }
            Self::TimedOut { .. } => false,
        }
    }

    /// Whether it is moby's word for what the swarm does not have: an error of the server's with these words
    /// (`daemon/cluster/helpers.go`), since networks have no status of their own.
    #[must_use]
    pub fn says_not_found(&self) -> bool {
        let Self::Refused { source, .. } = self else { return false };
        matches!(source, bollard::errors::Error::DockerResponseServerError { status_code: 500, message }
            if message.ends_with("not found"))
    }
}

/// A connection to the engine, at the API version both sides speak.
#[derive(Debug)]
pub struct Engine {
    runtime: tokio::runtime::Runtime,
    docker: Docker,
    api_version: String,
}

impl Engine {
    /// Connects and agrees on a version.
    ///
    /// # Errors
    /// [`EngineError`]; a socket that is not there is [`EngineError::Refused`].
    pub fn connect() -> Result<Self, EngineError> {
        Self::at(Path::new(SOCKET))
    }

    /// The same for an engine that listens elsewhere.
    pub(crate) fn at(socket: &Path) -> Result<Self, EngineError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(EngineError::Runtime)?;
        let refused = |source| EngineError::Refused { attempt: "be reached".to_owned(), source };
        let limit_seconds = 600;
        let api_version = asked_of(socket).map_err(|error| refused(error.into()))?;
        let path = socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, limit_seconds, &spoken_by_both(&api_version))
            .map_err(refused)?;
        Ok(Self { runtime, docker, api_version })
    }

    /// The newest version of the API that the engine speaks, e.g. `1.45`.
    #[must_use]
    pub fn api_version(&self) -> &str {
        &self.api_version
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

/// Asks as Docker's own client does, by the headers of a ping. bollard's negotiation asks for `/version`, for which the
/// engine starts three programs, and throws the answer away.
fn asked_of(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PING))?;
    stream.set_write_timeout(Some(PING))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST_PING_BYTES).read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(&answer).map_err(io::Error::other)?;
    let version = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("Api-Version"));
    let version = version.and_then(|header| std::str::from_utf8(header.value).ok());
    version.map(str::to_owned).ok_or_else(|| io::Error::other("its answer names no version of the API"))
}

/// The newest version of the API that neither side is too old for.
fn spoken_by_both(engines: &str) -> ClientVersion {
    let parsed = engines.split_once('.').and_then(|(major, minor)| {
        Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
    });
    let ours = ClientVersion {
        major_version: API_DEFAULT_VERSION.major_version,
        minor_version: API_DEFAULT_VERSION.minor_version,
    };
    parsed.filter(|engines| *engines < ours).unwrap_or(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_side_chooses_the_apis_version() {
        let spoken = |engines: &str| {
            let version = spoken_by_both(engines);
            (version.major_version, version.minor_version)
        };
        let ours = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
        assert_eq!(spoken("1.41"), (1, 41));
        assert_eq!(spoken("1.9"), (1, 9));
        assert_eq!(spoken("2.0"), ours);
        assert_eq!(spoken("what?"), ours);
    }

    #[test]
    fn a_request_at_fault_is_final_and_a_state_that_passes_is_not() {
        let refused = |source| EngineError::Refused { attempt: "do it".to_owned(), source };
        let said = |status_code| {
            let message = String::new();
            refused(bollard::errors::Error::DockerResponseServerError { status_code, message }).is_final()
        };
        for status in [400, 401, 405, 406, 415] {
            assert!(said(status), "{status}");
        }
        for status in [403, 404, 408, 409, 423, 425, 429, 500, 503] {
            assert!(!said(status), "{status}");
        }
        let reached = |kind: io::ErrorKind| refused(io::Error::from(kind).into()).is_final();
        assert!(reached(io::ErrorKind::PermissionDenied));
        assert!(!reached(io::ErrorKind::NotFound) && !reached(io::ErrorKind::ConnectionRefused));
    }

    fn answering(answer: &'static [u8]) -> io::Result<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut request = [0; 64];
                let _ = stream.read(&mut request).expect("a request");
                stream.write_all(answer).expect("an answer");
            });
            asked_of(&socket)
        })
    }

    #[test]
    fn the_engines_version_of_the_api_is_in_the_headers_of_its_ping() {
        let answer = b"HTTP/1.0 200 OK\r\nApi-Version: 1.45\r\nOstype: linux\r\n\r\nOK";
        assert_eq!(answering(answer).expect("a version"), "1.45");
        let error = answering(b"HTTP/1.0 200 OK\r\n\r\nOK").expect_err("no version");
        assert_eq!(error.to_string(), "its answer names no version of the API");
        assert!(answering(b"who?").is_err());
    }
}
