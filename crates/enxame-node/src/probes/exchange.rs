//! What client and responder say to each other.
//!
//! The client sends the run's marker, how much it will send and how much it wants (two 32-bit big-endian numbers),
//! and its payload. The responder answers with its node's id (one byte of length before it), the SHA-256 of what
//! it got, and as much payload as was wanted. So a black hole, a corruption or a wrong answerer shows. Whoever does
//! not know the marker gets no answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use enxame_core::probe::Marker;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sha2::{Digest, Sha256};
use socket2::{Domain, Socket, Type};

use crate::cancel::{Cancel, TICK};

/// The most one side sends in one exchange, in bytes.
pub(super) const MOST_BYTES: u32 = 64 * 1024 * 1024;

/// Length of what comes before the client's payload, in bytes.
pub(super) const HEAD_BYTES: usize = Marker::LENGTH + 8;

/// A point in time by which something must have happened, unless nobody waits for it any more.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    end: Instant,
    cancel: Cancel,
}

impl Deadline {
    pub(super) fn after(duration: Duration) -> Self {
        Self::unless(&Cancel::new(), duration)
    }

    /// The same, and nothing is left once it is cancelled.
    pub(super) fn unless(cancel: &Cancel, duration: Duration) -> Self {
        Self { end: Instant::now() + duration, cancel: cancel.clone() }
    }

    /// The same that something else must have happened by, where that is sooner.
    pub(super) fn or_after(&self, duration: Duration) -> Self {
        Self { end: self.end.min(Instant::now() + duration), cancel: self.cancel.clone() }
    }

    /// What is left.
    pub(super) fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if self.cancel.is_set() {
            Err(io::Error::other("it was cancelled"))
        } else if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(left)
        }
    }

    /// How long to wait before it is looked at again.
    pub(super) fn tick(&self) -> io::Result<Duration> {
        self.left().map(|left| left.min(TICK))
    }

    pub(super) fn sleep(&self, duration: Duration) {
        self.cancel.sleep(duration);
    }
}

/// A connection on which every read and write ends by the deadline.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) deadline: Deadline,
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.deadline.tick()?))?;
            match self.stream.read(buffer) {
                Err(error) if is_over(&error) => {}
                outcome => return outcome,
            }
        }
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(Some(self.deadline.tick()?))?;
            match self.stream.write(buffer) {
                Err(error) if is_over(&error) => {}
                outcome => return outcome,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether it is a socket's own timeout, which is reported as `WouldBlock`.
pub(super) fn is_over(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Connects by the deadline.
pub(super) fn connect(at: SocketAddr, deadline: &Deadline) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking().cloexec(), None)?;
    match socket.connect(&at.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => loop {
            let tick = PollTimeout::try_from(deadline.tick()?).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], tick) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => break,
                Err(errno) => return Err(errno.into()),
            }
        },
        outcome => outcome?,
    }
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// The hash both sides compare.
pub(super) fn hash(payload: &[u8]) -> [u8; 32] {
    Sha256::digest(payload).into()
}

/// What a client learnt.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExchangeOutcome {
    pub(super) answered_by: String,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
}

/// The client's side.
pub(super) fn exchange(
    connection: &mut Connection,
    marker: &Marker,
    payload_bytes: u32,
) -> io::Result<ExchangeOutcome> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let payload = marker.payload(0, usize::try_from(payload_bytes).map_err(io::Error::other)?);
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut head = marker.bytes().to_vec();
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(&length.to_be_bytes());
    connection.write_all(&head)?;
    connection.write_all(&payload)?;
    let mut name_length = [0; 1];
    connection.read_exact(&mut name_length)?;
    let mut name = vec![0; usize::from(u8::from_be_bytes(name_length))];
    connection.read_exact(&mut name)?;
    let mut got = [0; 32];
    connection.read_exact(&mut got)?;
    if got != hash(&payload) {
        return Err(invalid("what arrived is not what was sent"));
    }
    let mut back = vec![0; payload.len()];
    connection.read_exact(&mut back)?;
    if back != payload {
        return Err(invalid("what came back is not what was agreed"));
    }
    Ok(ExchangeOutcome {
        answered_by: String::from_utf8(name).map_err(|_| invalid("the answer names no node"))?,
        sent_bytes: length.into(),
        received_bytes: length.into(),
    })
}

/// The responder's side. Ends quietly on whoever does not know the marker.
pub(super) fn answer(connection: &mut Connection, marker: &Marker, node: &str) -> io::Result<()> {
    let mut head = [0; HEAD_BYTES];
    connection.read_exact(&mut head)?;
    let Some((claimed, numbers)) = head.split_first_chunk::<{ Marker::LENGTH }>() else { return Ok(()) };
    let Some((incoming, outgoing)) = numbers.split_first_chunk::<4>() else { return Ok(()) };
    let Some(outgoing) = outgoing.first_chunk::<4>() else { return Ok(()) };
    let (incoming, outgoing) = (u32::from_be_bytes(*incoming), u32::from_be_bytes(*outgoing));
    if claimed != marker.bytes() || incoming > MOST_BYTES || outgoing > MOST_BYTES {
        return Ok(());
    }
    let mut payload = vec![0; usize::try_from(incoming).map_err(io::Error::other)?];
    connection.read_exact(&mut payload)?;
    let name = node.as_bytes().get(..node.len().min(255)).unwrap_or_default();
    let mut reply = vec![u8::try_from(name.len()).map_err(io::Error::other)?];
    reply.extend_from_slice(name);
    reply.extend_from_slice(&hash(&payload));
    connection.write_all(&reply)?;
    drop(payload);
    connection.write_all(&marker.payload(0, usize::try_from(outgoing).map_err(io::Error::other)?))
}
