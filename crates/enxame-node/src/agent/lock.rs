//! The lock of one apply at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use enxame_core::protocol::Failure;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::actuate::ActuateError;

/// In `/run`, so that a reboot frees it.
pub(super) const PATH: &str = "/run/enxame.lock";

/// Takes the lock, which the kernel frees when this process ends, however it ends.
pub(super) fn take(path: &Path, operator: &str) -> Result<Flock<File>, Failure> {
    let system = |source: io::Error| {
        ActuateError::System { attempt: format!("lock {}", path.display()), source }.failure()
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        // Whoever can read it can lock it.
        .mode(0o600)
        .open(path)
        .map_err(system)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0).and_then(|()| lock.write_all(operator.as_bytes())).map_err(system)?;
            Ok(lock)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut owner = String::new();
            // Who it is, is a courtesy.
            drop(file.read_to_string(&mut owner));
            Err(ActuateError::wrong(
                format!("{owner} is applying to this node already"),
                "wait until that run has ended; when its process is gone, so is the lock",
            )
            .failure())
        }
        Err((_, errno)) => Err(system(errno.into())),
    }
}
