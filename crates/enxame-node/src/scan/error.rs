//! Why a scan proves nothing.

use std::io;
use std::net::IpAddr;

use enxame_core::ports::PortSet;

/// Why a scan proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// This host cannot send anything there.
    #[error("there is no route to {target} from here")]
    NoRoute {
        /// Where to.
        target: IpAddr,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// Nothing that should answer did: silence would mean nothing.
    #[error("TCP {} of {target} should answer from here and does not, so that silence means nothing", controls.brief(10))]
    NothingAnswers {
        /// Where.
        target: IpAddr,
        /// What should have.
        controls: PortSet,
    },
    /// What had answered did not any more.
    #[error("the way to {target} was lost during the scan: TCP {port} no longer answers")]
    WayLost {
        /// Where.
        target: IpAddr,
        /// What had answered.
        port: u16,
    },
    /// The system refused something.
    #[error("cannot {attempt}")]
    System {
        /// What was tried, after "cannot".
        attempt: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody waits for it any more.
    #[error("the scan was cancelled")]
    Cancelled,
}

impl ScanError {
    /// For `map_err` on system calls; `attempt` completes "cannot ...".
    pub(super) fn system<E: Into<io::Error>>(attempt: impl Into<String>) -> impl FnOnce(E) -> Self {
        let attempt = attempt.into();
        move |source| Self::System { attempt, source: source.into() }
    }
}
