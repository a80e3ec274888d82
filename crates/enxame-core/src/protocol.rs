//! What the operator's side and the agent say to each other over the SSH channel's two pipes.
//!
//! A frame is a 32-bit big-endian length and that many bytes of JSON. The agent speaks first ([`Hello`]); a
//! different protocol or build is replaced, never negotiated with. After that every frame of the operator's side is a
//! [`ToAgent`] and every frame of the agent's a [`FromAgent`]. A request has an id, which no other of that channel has; it
//! is answered by any number of events and exactly one reply under that id, cancelled or not. Replies come in the order in
//! which they are ready. A frame without a body ([`STILL_HERE`]) asks nothing.

use std::io::{self, Read, Write};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::areas::Action;
use crate::areas::stacks::{Bundle, Conversion};
use crate::change::ChangeId;
use crate::facts::{FactsQuery, NodeFacts, PublicKey};
use crate::probe::{ProbeReply, ProbeRequest};
use crate::secret::Secret;

/// The protocol's number: raised whenever a frame's meaning changes.
pub const PROTOCOL: u32 = 5;

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

/// What the operator's side calls a request by; never used twice on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// A frame of the operator's side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToAgent {
    /// A request.
    Ask {
        /// What its events and its reply are marked with.
        id: RequestId,
        /// What is asked for.
        ask: Request,
    },
    /// Nobody waits for that reply any more. What can be ended is ended, and what has not begun is not begun; a change
    /// that is being made ends by itself. It is answered all the same. Of a request that has been answered it means
    /// nothing: the two may have met on the way.
    Cancel {
        /// The request.
        id: RequestId,
    },
}

/// A frame of the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FromAgent {
    /// Whose request it is about.
    pub id: RequestId,
    /// What it says of it.
    pub say: Say,
}

/// What an agent says of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Say {
    /// Something happens; the reply is still to come.
    Event(AgentEvent),
    /// The request is done with.
    Reply(Reply),
}

/// What happens while a request is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentEvent {
    /// Still at it; the text is for people.
    Progress(String),
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
        #[serde(with = "in_the_channel")]
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
    /// Tell the public half of the node's key for the tunnels.
    TunnelKey,
    /// Tell what `docker stack deploy` would write of a stack, and what of it runs.
    Convert(Box<Bundle>),
    /// Tell the last lines that a task wrote.
    TaskLog {
        /// The task's id.
        task: String,
    },
    /// Take part in a proof.
    Probe(ProbeRequest),
}

/// What the agent answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done, with nothing to tell.
    Done,
    /// Done, and undone again soon unless a new connection confirms it.
    Unconfirmed,
    /// The change was put back.
    WasPutBack,
    /// The facts.
    Facts(Box<NodeFacts>),
    /// The manager token.
    #[serde(with = "in_the_channel")]
    ManagerToken(Secret),
    /// The public half of the key.
    TunnelKey(PublicKey),
    /// What would be written, and what runs.
    Converted(Box<Conversion>),
    /// The lines.
    TaskLog(Vec<String>),
    /// A part of a proof.
    Probe(ProbeReply),
    /// It did not work.
    Failed(Failure),
}

/// A secret as it crosses the SSH channel, which is the only place where one is written out.
mod in_the_channel {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::secret::Secret;

    /// What may hold a secret.
    pub(super) trait Carried: Sized {
        /// As text.
        type Text: Serialize + for<'de> Deserialize<'de>;
        fn revealed(&self) -> Self::Text;
        fn hidden(text: Self::Text) -> Self;
    }

    impl Carried for Secret {
        type Text = String;

        fn revealed(&self) -> String {
            self.reveal().to_owned()
        }

        fn hidden(text: String) -> Self {
            Self::new(text)
        }
    }

    impl Carried for Option<Secret> {
        type Text = Option<String>;

        fn revealed(&self) -> Option<String> {
            self.as_ref().map(Carried::revealed)
        }

        fn hidden(text: Option<String>) -> Self {
            text.map(Carried::hidden)
        }
    }

    pub(super) fn serialize<T: Carried, S: Serializer>(carried: &T, to: S) -> Result<S::Ok, S::Error> {
        carried.revealed().serialize(to)
    }

    pub(super) fn deserialize<'de, T: Carried, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::Text::deserialize(from).map(T::hidden)
    }
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

    fn on_the_wire(value: &impl Serialize) -> String {
        let frame = encode(value).unwrap();
        let (head, body) = frame.split_first_chunk::<4>().unwrap();
        assert_eq!(checked_length(*head).unwrap(), body.len());
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn every_frame_after_the_first_names_its_request() {
        let id = RequestId(7);
        let ask = ToAgent::Ask { id, ask: Request::ManagerToken };
        assert_eq!(on_the_wire(&ask), r#"{"ask":{"id":7,"ask":"manager_token"}}"#);
        assert_eq!(on_the_wire(&ToAgent::Cancel { id }), r#"{"cancel":{"id":7}}"#);
        let event = FromAgent { id, say: Say::Event(AgentEvent::Progress("at it".into())) };
        assert_eq!(on_the_wire(&event), r#"{"id":7,"say":{"event":{"progress":"at it"}}}"#);
        let reply = FromAgent { id, say: Say::Reply(Reply::Done) };
        assert_eq!(on_the_wire(&reply), r#"{"id":7,"say":{"reply":"done"}}"#);
    }

    #[test]
    fn replies_out_of_order_keep_their_ids_and_a_frame_without_one_is_refused() {
        let mut pipe = Vec::new();
        for id in [2, 1] {
            let say = Say::Reply(Reply::Failed(Failure { causes: vec![id.to_string()], hint: None }));
            write_frame(&mut pipe, &FromAgent { id: RequestId(id), say }).unwrap();
            pipe.extend(STILL_HERE);
        }
        write_frame(&mut pipe, &serde_json::json!({ "say": { "reply": "done" } })).unwrap();
        let mut from = pipe.as_slice();
        for id in [2, 1] {
            let frame = read_frame::<FromAgent>(&mut from).unwrap().unwrap();
            assert_eq!(frame.id, RequestId(id));
            assert!(
                matches!(frame.say, Say::Reply(Reply::Failed(failure)) if failure.causes == [id.to_string()])
            );
        }
        let error = read_frame::<FromAgent>(&mut from).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

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
    fn a_secret_crosses_the_channel_and_is_not_shown_on_the_way() {
        let secret = Secret::new("SWMTKN-1-abc".to_owned());
        let mut pipe = Vec::new();
        let reply = Reply::ManagerToken(secret.clone());
        assert!(!format!("{reply:?}").contains("SWMTKN"));
        write_frame(&mut pipe, &reply).unwrap();
        let there = read_frame::<Reply>(&mut pipe.as_slice()).unwrap();
        assert!(matches!(there, Some(Reply::ManagerToken(token)) if token == secret));

        let action = crate::areas::engine::docker_group::Action { accounts: Vec::new() };
        for handed in [Some(secret), None] {
            let request = Request::Execute {
                change: ChangeId("kvm2/swarm_join".into()),
                action: Box::new(action.clone().into()),
                handed: handed.clone(),
            };
            assert!(!format!("{request:?}").contains("SWMTKN"));
            let mut pipe = Vec::new();
            write_frame(&mut pipe, &request).unwrap();
            let there = read_frame::<Request>(&mut pipe.as_slice()).unwrap();
            assert!(matches!(there, Some(Request::Execute { handed: came, .. }) if came == handed));
        }
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
