//! What the agent hears from its operator: standard input, read with patience that ends.
//!
//! An operator whose machine lost its power or its network says no goodbye, and sshd learns of it after hours. The
//! operator's side says [`STILL_HERE`](enxame_core::protocol::STILL_HERE) while it has nothing else
//! to say, so silence is absence, and the node must not stay locked for it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long the agent waits for a word: several times [`enxame_core::protocol::KEEP_ALIVE`].
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A file whose reads fail with [`io::ErrorKind::TimedOut`] when nothing comes.
#[derive(Debug)]
pub struct Patient {
    file: File,
    patience: Duration,
}

impl Patient {
    /// Reads from `descriptor`, waiting at most `patience` for each piece.
    #[must_use]
    pub fn new(descriptor: OwnedFd, patience: Duration) -> Self {
        Self { file: descriptor.into(), patience }
    }

    /// This process's standard input.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_standard_input() -> io::Result<BufReader<Self>> {
        let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(BufReader::new(Self::new(descriptor, PATIENCE)))
    }
}

impl Read for Patient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let limit = PollTimeout::try_from(self.patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)], limit) {
            Ok(0) => {
                let text = format!("no word from the operator for {} s", self.patience.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
            Ok(_) => self.file.read(into),
            Err(Errno::EINTR) => Err(io::ErrorKind::Interrupted.into()),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_comes_is_read_and_silence_is_an_error() {
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        let mut write = File::from(write);
        let mut patient = Patient::new(read, Duration::from_millis(20));
        write.write_all(b"word").expect("a write");
        let mut word = [0; 4];
        patient.read_exact(&mut word).expect("a read");
        assert_eq!(&word, b"word");
        let silence = patient.read(&mut word).expect_err("nothing more came");
        assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
        drop(write);
        assert_eq!(patient.read(&mut word).expect("the end"), 0);
    }
}
