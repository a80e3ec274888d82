//! One request on its way from the operator's word to the one reply.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use enxame_core::protocol::{AgentEvent, Failure, FromAgent, Reply, RequestId, Say, write_frame};

use crate::cancel::Cancel;

/// How long an operator who reads may take for the last frames.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// The way back to the operator, and who is still on it. One thread writes, so that an operator who no longer reads holds up
/// nobody: neither a change nor the end of the session.
pub(super) struct Office {
    out: Sender<Said>,
    open: Mutex<BTreeMap<RequestId, Cancel>>,
}

enum Said {
    Frame(FromAgent),
    /// All that is to be written; whoever waits for it is told.
    Last(Sender<()>),
}

/// A request that is not answered yet. Whoever drops it without an answer has answered that it ended early.
pub(super) struct Task {
    id: RequestId,
    cancel: Cancel,
    office: Arc<Office>,
    is_answered: bool,
}

/// Whatever a thread that panicked held is whole: it is written and changed in one piece.
fn held<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Office {
    pub(super) fn new(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (out, said) = channel();
        thread::Builder::new().name("write".to_owned()).spawn(move || write(to, &said))?;
        Ok(Self { out, open: Mutex::default() })
    }

    /// Waits until what was said is written, where somebody reads it.
    pub(super) fn close(&self) {
        let (tell, told) = channel();
        if self.out.send(Said::Last(tell)).is_ok() {
            // Either way the session is over.
            let _ = told.recv_timeout(LAST_FRAMES);
        }
    }

    /// Opens a request; `None` when there is one of that id.
    pub(super) fn open(self: &Arc<Self>, id: RequestId) -> Option<Task> {
        let cancel = Cancel::new();
        let mut open = held(&self.open);
        if open.contains_key(&id) {
            return None;
        }
        open.insert(id, cancel.clone());
        Some(Task { id, cancel, office: Arc::clone(self), is_answered: false })
    }

    /// Tells whoever carries it out; nobody, where it has been answered.
    pub(super) fn cancel(&self, id: RequestId) {
        if let Some(cancel) = held(&self.open).get(&id) {
            cancel.set();
        }
    }

    pub(super) fn cancel_all(&self) {
        for cancel in held(&self.open).values() {
            cancel.set();
        }
    }

    fn say(&self, id: RequestId, say: Say) {
        // Where nobody writes any more the session is over.
        drop(self.out.send(Said::Frame(FromAgent { id, say })));
    }
}

fn write(mut to: impl Write, said: &Receiver<Said>) {
    for said in said {
        match said {
            // An operator who is gone does not stop what was begun; the reader learns of it.
            Said::Frame(frame) => drop(write_frame(&mut to, &frame)),
            // Whoever waited for it may have stopped.
            Said::Last(tell) => {
                let _ = tell.send(());
                return;
            }
        }
    }
}

impl Task {
    /// Whether somebody waits for it.
    #[must_use]
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Tells people what is going on.
    pub(super) fn progress(&self, text: &str) {
        self.office.say(self.id, Say::Event(AgentEvent::Progress(text.to_owned())));
    }

    /// The one reply.
    pub(super) fn answer(mut self, outcome: Result<Reply, Failure>) {
        self.is_answered = true;
        self.say_last(outcome.unwrap_or_else(Reply::Failed));
    }

    fn say_last(&self, reply: Reply) {
        held(&self.office.open).remove(&self.id);
        self.office.say(self.id, Say::Reply(reply));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.is_answered {
            let causes = vec!["the agent's work on it ended early".to_owned()];
            self.say_last(Reply::Failed(Failure { causes, hint: None }));
        }
    }
}

/// What is answered to a request that was cancelled before it began.
pub(super) fn cancelled() -> Failure {
    Failure { causes: vec!["it was cancelled before it began".to_owned()], hint: None }
}
