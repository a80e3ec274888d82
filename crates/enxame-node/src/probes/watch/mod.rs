//! A watch: a thread that counts what passes the interfaces towards the peers.
//!
//! It starts hearing before [`Watcher::start`] returns, and [`Watcher::read`] answers only after everything that
//! waited at that moment was counted. A watch that lost its interface answers with an error from then on.

mod count;
mod socket;

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use enxame_core::facts::Observed;
use enxame_core::probe::{Capture, Watch};
use nix::net::if_::if_indextoname;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::count::Counter;
use self::socket::{LONGEST_BYTES, PacketSocket};
use super::ProbeError;
use crate::netlink;

/// How long the thread sleeps at most before it looks whether somebody asks, in milliseconds.
const TICK_MS: u16 = 20;

/// How long a busy interface may keep an answer waiting: on one that never pauses, what came in within this
/// time is counted, and that is far more than what waited.
const CATCH_UP: Duration = Duration::from_secs(2);

/// How long an answer may take in all.
const PATIENCE: Duration = Duration::from_secs(10);

type Question = Sender<io::Result<Capture>>;

/// A watch that runs. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    questions: Option<Sender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts to watch, in the calling thread's network namespace.
    pub(super) fn start(watch: &Watch) -> Result<Self, ProbeError> {
        let indices = netlink::interfaces_to(&watch.peers)
            .map_err(ProbeError::system("find the interfaces towards the peers"))?;
        let mut taps = Vec::new();
        for index in indices {
            let name = if_indextoname(index).map_err(ProbeError::system("name an interface"))?;
            let name = name.to_string_lossy().into_owned();
            let socket =
                PacketSocket::on(index).map_err(ProbeError::system(format!("watch the interface {name}")))?;
            taps.push(Tap { name, socket, drops: 0 });
        }
        let counter = Counter::new(watch);
        let (questions, asked) = channel();
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || run(taps, counter, &asked))
            .map_err(ProbeError::system("start the watching thread"))?;
        Ok(Self { questions: Some(questions), thread: Some(thread) })
    }

    /// What was seen up to now, and the kernel's associations.
    pub(super) fn read(&self) -> Result<Capture, ProbeError> {
        let gone = || ProbeError::System {
            attempt: "ask the watching thread".to_owned(),
            source: io::Error::other("it ended"),
        };
        let (answer, answered) = channel();
        self.questions.as_ref().ok_or_else(gone)?.send(answer).map_err(|_| gone())?;
        let mut capture = answered
            .recv_timeout(PATIENCE)
            .map_err(|_| gone())?
            .map_err(ProbeError::system("go on watching the interfaces"))?;
        capture.associations = match netlink::associations() {
            Ok(associations) => Observed::Known(associations),
            Err(error) => Observed::Unknown(format!("the kernel did not list its associations: {error}")),
        };
        Ok(capture)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.questions.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Tap {
    name: String,
    socket: PacketSocket,
    drops: u64,
}

fn run(mut taps: Vec<Tap>, mut counter: Counter, asked: &Receiver<Question>) {
    let mut buffer = vec![0; LONGEST_BYTES];
    let mut failure: Option<(io::ErrorKind, String)> = None;
    let mut is_behind = false;
    loop {
        let question = match asked.try_recv() {
            Ok(question) => Some(question),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => return,
        };
        if failure.is_none() {
            let result =
                wait(&taps, question.is_some()).and_then(|()| catch_up(&mut taps, &mut counter, &mut buffer));
            match result {
                Ok(behind) => is_behind = behind,
                Err(error) => failure = Some((error.kind(), error.to_string())),
            }
        } else if question.is_none() {
            std::thread::sleep(Duration::from_millis(TICK_MS.into()));
        }
        if let Some(question) = question {
            let answer = match &failure {
                None => Ok(Capture { is_behind, ..capture(&taps, &counter) }),
                Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
            };
            // Whoever asked may have stopped waiting.
            let _ = question.send(answer);
        }
    }
}

/// Sleeps until a packet waits, or a tick is over; not at all when somebody asks.
fn wait(taps: &[Tap], somebody_asks: bool) -> io::Result<()> {
    let mut sockets: Vec<_> =
        taps.iter().map(|tap| PollFd::new(tap.socket.as_fd(), PollFlags::POLLIN)).collect();
    let tick = if somebody_asks { PollTimeout::ZERO } else { PollTimeout::from(TICK_MS) };
    match poll(&mut sockets, tick) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Counts everything that waits; `true` when more came than there was time for.
fn catch_up(taps: &mut [Tap], counter: &mut Counter, buffer: &mut [u8]) -> io::Result<bool> {
    let mut is_behind = false;
    for tap in taps {
        let until = Instant::now() + CATCH_UP;
        while let Some(packet) = tap.socket.next(buffer)? {
            counter.count(&packet);
            if Instant::now() > until {
                is_behind = true;
                break;
            }
        }
        tap.drops += tap.socket.take_drops()?;
    }
    Ok(is_behind)
}

fn capture(taps: &[Tap], counter: &Counter) -> Capture {
    Capture {
        interfaces: taps.iter().map(|tap| tap.name.clone()).collect(),
        packets: counter.packets,
        kernel_drops: taps.iter().map(|tap| tap.drops).sum(),
        truncated: counter.truncated,
        is_behind: false,
        decrypts_before_watching: ["esp4_offload", "esp6_offload"]
            .iter()
            .any(|module| Path::new("/sys/module").join(module).exists()),
        peers: counter.peers.clone(),
        marker_elsewhere: counter.marker_elsewhere,
        clear_elsewhere: counter.clear_elsewhere.clone(),
        associations: Observed::Unknown("not asked".to_owned()),
    }
}

#[cfg(test)]
mod tests;
