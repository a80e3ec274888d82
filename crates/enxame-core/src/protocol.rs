//! What the operator's side and the agent say to each other over the SSH channel's two pipes.
//!
//! A frame is a 32-bit big-endian length and that many bytes of JSON. The agent speaks first ([`Hello`]); a
//! different protocol or build is replaced, never negotiated with. One request is answered by any number of
//! [`Reply::Progress`] and exactly one other reply. A frame without a body ([`STILL_HERE`]) asks nothing.

use std::io::{self, Read, Write};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::areas::Action;
use crate::change::ChangeId;
use crate::facts::{FactsQuery, NodeFacts};
use crate::probe::{ProbeReply, ProbeRequest};
use crate::secret::Secret;

/// The protocol's number: raised whenever a frame's meaning changes.
pub const PROTOCOL: u32 = 3;

/// The largest frame either side accepts, in bytes.
pub const MAX_FRAME_BYTES: u32 = 64 * 1024 * 1024;

/// The frame that says nothing but that the other side still lives.
pub const STILL_HERE: [u8; 4] = [0; 4];

/// How often the operator's side says [`STILL_HERE`].
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What the agent says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the agent.
    pub protocol: u32,
    /// The build the agent was started as, which is its file's SHA-256.
    pub build: String,
}

/// What the operator's side asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Take the node's apply lock and keep it while this agent lives.
    Lock {
        /// Who asks, for the message another operator gets.
        operator: String,
    },
    /// Look.
    Gather(FactsQuery),
    /// Act.
    Execute {
        /// The change, for the journal.
        change: ChangeId,
        /// What to do.
        action: Box<Action>,
        /// What another node handed over.
        handed: Option<Secret>,
    },
    /// Keep a change that was made under the dead-man switch: this connection is the proof that SSH still works.
    Confirm {
        /// The change.
        change: ChangeId,
    },
    /// Go back from a change that could not be confirmed, without waiting for the dead-man switch.
    PutBack {
        /// The change.
        change: ChangeId,
    },
    /// Close what earlier runs began and did not end: the plan found nothing of it left to do.
    Settle,
    /// Take away what is left of enxame itself: the node was taken off, and this agent is the last of it.
    Forget,
    /// Hand over the swarm's manager token.
    ManagerToken,
    /// Take part in a proof.
    Probe(ProbeRequest),
}

/// What the agent answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Still at it; the text is for people.
    Progress(String),
    /// Done, with nothing to tell.
    Done,
    /// Done, and undone again soon unless a new connection confirms it.
    Unconfirmed,
    /// The change was put back.
    WasPutBack,
    /// The facts.
    Facts(Box<NodeFacts>),
    /// The manager token.
    ManagerToken(Secret),
    /// A part of a proof.
    Probe(ProbeReply),
    /// It did not work.
    Failed(Failure),
}

/// An error that crossed the wire: its chain of causes, outermost first, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The chain of causes, outermost first; never empty, never a secret.
    pub causes: Vec<String>,
    /// What to do about it, when there is something.
    pub hint: Option<String>,
}

impl Failure {
    /// Flattens an error and its sources.
    #[must_use]
    pub fn of(error: &dyn std::error::Error) -> Self {
        let mut causes = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self { causes, hint: None }
    }
}

/// Writes one frame and flushes.
///
/// # Errors
/// When the value does not serialise, is larger than [`MAX_FRAME_BYTES`], or the pipe fails.
pub fn write_frame(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let body = encode(value)?;
    to.write_all(&body)?;
    to.flush()
}

/// A frame's bytes, its length first.
///
/// # Errors
/// When the value does not serialise or is larger than [`MAX_FRAME_BYTES`].
pub fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, value)?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|length| *length <= MAX_FRAME_BYTES);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "frame over the limit"))?;
    if let Some(head) = frame.first_chunk_mut::<4>() {
        *head = length.to_be_bytes();
    }
    Ok(frame)
}

/// Reads one frame, past any [`STILL_HERE`]; `None` when the other side closed the pipe between two frames.
///
/// # Errors
/// When the pipe fails or closes inside a frame, the length is over [`MAX_FRAME_BYTES`], or the body is not
/// what is expected.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    loop {
        match read_head(from)? {
            None => return Ok(None),
            Some(STILL_HERE) => {}
            Some(head) => {
                let mut body = vec![0; checked_length(head)?];
                from.read_exact(&mut body)?;
                return Ok(Some(serde_json::from_slice(&body)?));
            }
        }
    }
}

fn read_head(from: &mut impl Read) -> io::Result<Option<[u8; 4]>> {
    let mut head = [0; 4];
    let mut filled = 0;
    while filled < head.len() {
        match from.read(head.get_mut(filled..).unwrap_or_default()) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(head))
}

/// A frame's length from its first four bytes.
///
/// # Errors
/// When it is over [`MAX_FRAME_BYTES`].
pub fn checked_length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(head);
    if length > MAX_FRAME_BYTES {
        let message = format!("a frame of {length} bytes was announced; the limit is {MAX_FRAME_BYTES}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    usize::try_from(length).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went() {
        let mut pipe = Vec::new();
        let hello = Hello { protocol: PROTOCOL, build: "abc".into() };
        write_frame(&mut pipe, &hello).unwrap();
        pipe.extend(STILL_HERE);
        write_frame(&mut pipe, &hello).unwrap();
        pipe.extend(STILL_HERE);
        let mut from = pipe.as_slice();
        assert_eq!(read_frame::<Hello>(&mut from).unwrap(), Some(hello.clone()));
        assert_eq!(read_frame::<Hello>(&mut from).unwrap(), Some(hello));
        assert_eq!(read_frame::<Hello>(&mut from).unwrap(), None);
    }

    #[test]
    fn a_frame_cut_short_or_too_long_is_an_error_and_not_the_end() {
        let mut pipe = Vec::new();
        write_frame(&mut pipe, &Hello { protocol: PROTOCOL, build: "abc".into() }).unwrap();
        for cut in [1, 3, 4, pipe.len() - 1] {
            let error = read_frame::<Hello>(&mut &pipe[..cut]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}");
        }
        let error = read_frame::<Hello>(&mut [0xff; 8].as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
