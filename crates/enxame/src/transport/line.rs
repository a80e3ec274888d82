//! Requests and replies over one channel: many at once, each told apart by its id.
//!
//! One task writes whole frames, another reads and hands every event and reply to whoever waits for it. Whoever stops
//! waiting has cancelled: the agent is told, and what still comes under that id is dropped.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use enxame_core::protocol::{
    AgentEvent, FromAgent, KEEP_ALIVE, Reply, Request, RequestId, STILL_HERE, Say, ToAgent, checked_length,
    encode,
};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{TransportError, attempt};

/// The channel to an agent that has introduced itself.
#[derive(Debug)]
pub(super) struct Line {
    frames: UnboundedSender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    next_id: AtomicU64,
    writer: JoinSet<()>,
    /// Ends with this value.
    reader: JoinSet<()>,
}

/// Who waits for what.
#[derive(Debug)]
enum Waiting {
    For(BTreeMap<RequestId, UnboundedSender<Say>>),
    /// The channel broke, and nothing comes any more.
    Broken(io::ErrorKind, String),
}

impl Line {
    pub(super) fn over(
        from: impl AsyncRead + Unpin + Send + 'static,
        to: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        let waiting = Arc::new(Mutex::new(Waiting::For(BTreeMap::new())));
        let (frames, to_write) = unbounded_channel();
        let (mut writer, mut reader) = (JoinSet::new(), JoinSet::new());
        writer.spawn(write(to, to_write, Arc::clone(&waiting)));
        reader.spawn(read(from, Arc::clone(&waiting)));
        Self { frames, waiting, next_id: AtomicU64::new(1), writer, reader }
    }

    /// Asks, and waits for the reply. Can be dropped at any point, and has cancelled then.
    ///
    /// # Errors
    /// [`TransportError`]; after [`TransportError::Channel`] nothing more can be asked.
    pub(super) async fn request(
        &self,
        request: &Request,
        deadline: Duration,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Reply, TransportError> {
        match timeout(deadline, self.ask(request, progress)).await {
            Ok(Ok(Reply::Failed(failure))) => Err(TransportError::Failed(failure)),
            Ok(outcome) => outcome.map_err(TransportError::Channel),
            Err(_) => Err(TransportError::TimedOut { attempt: attempt(request), after: deadline }),
        }
    }

    async fn ask(&self, request: &Request, progress: &mut dyn FnMut(&str)) -> io::Result<Reply> {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let frame = encode(&ToAgent::Ask { id, ask: request.clone() })?;
        let (tell, mut told) = unbounded_channel();
        match &mut *held(&self.waiting) {
            Waiting::For(others) => others.insert(id, tell),
            Waiting::Broken(kind, text) => return Err(io::Error::new(*kind, text.clone())),
        };
        let _asked = Asked { line: self, id };
        self.write(frame);
        loop {
            match told.recv().await {
                Some(Say::Event(AgentEvent::Progress(text))) => progress(&text),
                Some(Say::Reply(reply)) => return Ok(reply),
                None => return Err(self.why_broken()),
            }
        }
    }

    fn write(&self, frame: Vec<u8>) {
        // Where nobody writes any more the channel has broken, and whoever waits is told why.
        drop(self.frames.send(frame));
    }

    fn why_broken(&self) -> io::Error {
        match &*held(&self.waiting) {
            Waiting::Broken(kind, text) => io::Error::new(*kind, text.clone()),
            Waiting::For(_) => io::ErrorKind::BrokenPipe.into(),
        }
    }

    /// Says what is still to be said, and closes the way to the agent. The way back stays open as long as the line that is
    /// given.
    pub(super) async fn hang_up(self) -> JoinSet<()> {
        let Self { frames, mut writer, reader, .. } = self;
        drop(frames);
        drop(writer.join_next().await);
        reader
    }
}

/// A request that somebody waits for.
struct Asked<'a> {
    line: &'a Line,
    id: RequestId,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let is_open = match &mut *held(&self.line.waiting) {
            // Whose reply has come waits no more.
            Waiting::For(others) => others.remove(&self.id).is_some(),
            Waiting::Broken(..) => false,
        };
        if is_open && let Ok(frame) = encode(&ToAgent::Cancel { id: self.id }) {
            self.line.write(frame);
        }
    }
}

/// Whoever held it changed it in one piece.
fn held(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everybody who waits learns that nothing comes; the first reason counts.
fn give_up(waiting: &Mutex<Waiting>, why: &io::Error) {
    let mut waiting = held(waiting);
    if matches!(*waiting, Waiting::For(_)) {
        *waiting = Waiting::Broken(why.kind(), why.to_string());
    }
}

/// Writes whole frames, and says now and then that we are here.
async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut frames: UnboundedReceiver<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
) {
    loop {
        let frame = match timeout(KEEP_ALIVE, frames.recv()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(_) => STILL_HERE.to_vec(),
        };
        let written = async {
            to.write_all(&frame).await?;
            to.flush().await
        };
        if let Err(error) = written.await {
            give_up(&waiting, &error);
            break;
        }
    }
    // The end of what was to be said: the agent lets go of the node. Where that cannot be told, the channel is gone.
    drop(to.shutdown().await);
}

async fn read(mut from: impl AsyncRead + Unpin, waiting: Arc<Mutex<Waiting>>) {
    let why = loop {
        let FromAgent { id, say } = match read_frame(&mut from).await {
            Ok(frame) => frame,
            Err(error) => break error,
        };
        let mut waiting = held(&waiting);
        let Waiting::For(others) = &mut *waiting else { return };
        let told = match &say {
            Say::Event(_) => others.get(&id).cloned(),
            Say::Reply(_) => others.remove(&id),
        };
        if let Some(told) = told {
            // Whoever stopped waiting in this moment has cancelled it.
            drop(told.send(say));
        }
    };
    give_up(&waiting, &why);
}

async fn read_frame<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    read_body(from, head).await
}

/// The rest of a frame whose head was read.
pub(super) async fn read_body<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    head: [u8; 4],
) -> io::Result<T> {
    let mut body = vec![0; checked_length(head)?];
    from.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}
