//! What changes the node: under the operator's lock, one thing after the other, each written into the journal.

use std::fs::File;
use std::path::PathBuf;

use enxame_core::areas::Action;
use enxame_core::change::ChangeId;
use enxame_core::journal::ChangeEvent;
use enxame_core::protocol::{Failure, Reply, Request};
use enxame_core::secret::Secret;
use nix::fcntl::Flock;

use super::lock;
use crate::actuate::{ActuateError, Context, PackageLists};
use crate::deadman::{self, When};
use crate::host::Host;
use crate::{areas, forget, journal};

/// What acting needs to remember.
#[derive(Debug)]
pub(super) struct Acting {
    lock_path: PathBuf,
    lock: Option<Flock<File>>,
    operator: String,
    package_lists: PackageLists,
}

impl Acting {
    pub(super) fn locking(lock_path: PathBuf) -> Self {
        Self { lock_path, lock: None, operator: "unknown".to_owned(), package_lists: PackageLists::default() }
    }

    pub(super) fn unlock(&mut self) {
        self.lock = None;
    }

    pub(super) fn act(
        &mut self,
        request: Request,
        host: &dyn Host,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Reply, Failure> {
        match request {
            Request::Lock { operator } => {
                self.lock = Some(lock::take(&self.lock_path, &operator)?);
                self.operator = operator;
                // Whoever was to confirm it is gone.
                let back = deadman::put_back(host, When::Now).map_err(|error| error.failure())?;
                if let Some(change) = back {
                    progress(&format!("put back `{change}`, which an earlier run did not confirm"));
                }
                Ok(Reply::Done)
            }
            Request::Execute { change, action, handed } => {
                self.execute(&change, (&action, handed.as_ref()), host, progress)
            }
            Request::Confirm { change } => {
                deadman::confirm(host, &change).map_err(|error| error.failure())?;
                Ok(Reply::Done)
            }
            Request::PutBack { change } => {
                let was = deadman::put_back(host, When::Now).map_err(|error| error.failure())?;
                // It may have been confirmed by a connection that broke before it heard so.
                if was.is_none() && journal::is_done(host, &change) {
                    return Ok(Reply::Done);
                }
                Ok(Reply::WasPutBack)
            }
            Request::Settle => {
                journal::settle(host, &self.operator).map_err(|error| Failure::of(&error))?;
                Ok(Reply::Done)
            }
            Request::Forget => {
                if self.lock.is_none() {
                    return Err(not_locked());
                }
                forget::forget(host).map_err(|error| error.failure())?;
                Ok(Reply::Done)
            }
            Request::Gather(_)
            | Request::ManagerToken
            | Request::TunnelKey
            | Request::Convert(_)
            | Request::TaskLog { .. }
            | Request::Probe(_) => Err(failure("a look was taken for an act", "this is a defect of enxame")),
        }
    }

    fn execute(
        &mut self,
        change: &ChangeId,
        (action, handed): (&Action, Option<&Secret>),
        host: &dyn Host,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Reply, Failure> {
        if self.lock.is_none() {
            return Err(not_locked());
        }
        let record =
            |event| journal::record(&self.operator, change, event).map_err(|error| Failure::of(&error));
        record(ChangeEvent::Begun)?;
        let armed = areas::way_back(host, action).and_then(|way| {
            let Some(way) = way else { return Ok(None) };
            progress("making sure of the way back");
            deadman::arm(host, change, &self.operator, &way).map(Some)
        });
        let making = armed.map_err(|error| error.failure()).inspect_err(|failure| {
            // Nothing was done; that the line may not be written changes nothing of it.
            drop(record(ChangeEvent::Failed(failure.causes.first().cloned().unwrap_or_default())));
        })?;
        let mut context = Context { host, handed, progress, package_lists: &mut self.package_lists };
        let outcome = areas::act(&mut context, action).map_err(|error| error.failure());
        let is_guarded = making.is_some();
        // From here on the dead-man switch may go back.
        drop(making);
        match outcome {
            // Written down by whoever confirms it or puts it back.
            Ok(()) if is_guarded => Ok(Reply::Unconfirmed),
            Ok(()) => record(ChangeEvent::Done).map(|()| Reply::Done),
            Err(failure) if is_guarded => {
                progress("it did not work: putting back what was there");
                deadman::put_back(host, When::Now).map_err(|error| error.failure())?;
                Err(failure)
            }
            Err(failure) => {
                record(ChangeEvent::Failed(failure.causes.first().cloned().unwrap_or_default()))?;
                Err(failure)
            }
        }
    }
}

fn not_locked() -> Failure {
    failure("the node was not locked for this operator", "this is a defect of enxame")
}

fn failure(message: &str, hint: &str) -> Failure {
    ActuateError::wrong(message, hint).failure()
}
