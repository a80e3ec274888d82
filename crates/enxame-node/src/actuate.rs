//! The acting half of a resource, and what it acts through.

use std::time::Duration;

use enxame_core::declare::Declare;
use enxame_core::protocol::Failure;
use enxame_core::secret::Secret;
use serde::de::DeserializeOwned;

use crate::deadman::WayBack;
use crate::engine::{Engine, EngineError};
use crate::host::{Host, HostError};

/// A resource: it declares itself to the planner and acts on the node.
pub trait Resource: Declare {
    /// Makes the node what `action` says. Doing it twice is the same as doing it once.
    ///
    /// # Errors
    /// [`ActuateError`]; the node is left in a state from which the next apply goes on.
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError>;

    /// How the node goes back from this change by itself; only for what may cut off SSH
    /// ([`Risk::MayCutSsh`](enxame_core::change::Risk::MayCutSsh)), which is then done under the dead-man switch.
    ///
    /// # Errors
    /// When what is there now cannot be kept; the change is then not made.
    fn way_back(&self, host: &dyn Host, action: &serde_json::Value) -> Result<Option<WayBack>, ActuateError> {
        let _ = (host, action);
        Ok(None)
    }

    /// Which rule of the change keeps the operator out, where one does.
    fn why_cut(&self, action: &serde_json::Value) -> Option<String> {
        let _ = action;
        None
    }
}

/// Why a resource could not act.
#[derive(Debug, thiserror::Error)]
pub enum ActuateError {
    /// A file or command.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The plan's action is not what this resource reads: plan and agent are of different builds.
    #[error("the plan's action cannot be read")]
    Action(#[from] serde_json::Error),
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
        wait_for(deadline, Engine::connect)
    }

    /// The engine.
    ///
    /// # Errors
    /// When it does not answer within 60 s (it may be starting).
    pub fn engine(&self) -> Result<Engine, EngineError> {
        self.engine_within(Duration::from_secs(60))
    }
}

/// Reads a resource's own action.
///
/// # Errors
/// [`ActuateError::Action`].
pub fn read_action<T: DeserializeOwned>(action: &serde_json::Value) -> Result<T, ActuateError> {
    T::deserialize(action).map_err(ActuateError::Action)
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
