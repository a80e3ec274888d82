//! Doing something inside a container's network namespace.

use std::fs::File;
use std::os::fd::AsFd;

use nix::sched::{CloneFlags, setns};

use super::ProbeError;

/// Runs `what` on a thread of its own inside the network namespace of a process. The thread ends with it, so that no
/// other work ever runs there.
pub(super) fn inside_of<T: Send>(process: i64, what: impl FnOnce() -> T + Send) -> Result<T, ProbeError> {
    let path = format!("/proc/{process}/ns/net");
    let namespace = File::open(&path).map_err(ProbeError::system(format!("open {path}")))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Ok(what())
        });
        let outcome: Result<T, nix::Error> = thread.join().unwrap_or(Err(nix::Error::ECANCELED));
        outcome.map_err(ProbeError::system(format!("work in the network namespace {path}")))
    })
}
