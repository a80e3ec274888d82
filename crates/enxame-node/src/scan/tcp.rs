//! TCP connections to many ports at once, in one thread: as many in the making as the window holds.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use enxame_core::ports::PortSet;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Socket, Type};

use super::{Effort, ScanError, domain};
use crate::cancel::TICK;

/// How long a port may take. The kernel repeats a SYN after 1 s (RFC 6298, 2.1; Linux, `TCP_TIMEOUT_INIT`), so that one
/// loss is forgiven and half a second is left for the way.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How often the control is tried meanwhile: rarely enough for filters that count logins (ufw's `limit`: six in 30 s).
const CONTROL_INTERVAL: Duration = Duration::from_secs(10);
/// How long to wait for descriptors and local ports that others have, in ticks.
const PATIENT_TICKS: u32 = 100;

/// How a port answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Open,
    Refused,
    Rejected,
    Silent,
}

/// What a sweep found; the other ports were silent.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) open: PortSet,
    pub(super) refused: PortSet,
    pub(super) rejected: PortSet,
}

/// A sweep over the ports of one target.
pub(super) struct Sweep<'a> {
    target: IpAddr,
    effort: Effort<'a>,
    /// How many attempts the system bears at the moment.
    bearable: usize,
    epoll: Epoll,
    /// In the order they were begun, which is that of their deadlines.
    waiting: BTreeMap<u64, Attempt>,
    begun: u64,
    found: Found,
}

struct Attempt {
    port: u16,
    socket: Socket,
    deadline: Instant,
    is_control: bool,
}

/// What became of beginning an attempt.
enum Begun {
    Waiting,
    Ended,
    /// The system has no descriptor or local port to spare.
    Exhausted(io::Error),
}

impl<'a> Sweep<'a> {
    pub(super) fn new(target: IpAddr, effort: Effort<'a>) -> Result<Self, ScanError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(ScanError::system("wait for connections (epoll)"))?;
        let bearable = effort.window.max(1);
        Ok(Self {
            target,
            effort,
            bearable,
            epoll,
            waiting: BTreeMap::new(),
            begun: 0,
            found: Found::default(),
        })
    }

    /// Tries them all, and the control now and then meanwhile.
    pub(super) fn run(
        mut self,
        ports: &PortSet,
        control: Option<u16>,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Found, ScanError> {
        let mut left = ports.iter().peekable();
        let mut tried = 0_usize;
        let mut told = 0;
        let mut control_due = Instant::now() + CONTROL_INTERVAL;
        let mut exhausted_ticks = 0;
        loop {
            if self.effort.cancelled.load(Ordering::Relaxed) {
                return Err(ScanError::Cancelled);
            }
            if let Some(port) = control.filter(|_| Instant::now() >= control_due)
                && !matches!(self.begin(port, true)?, Begun::Exhausted(_))
            {
                control_due = Instant::now() + CONTROL_INTERVAL;
            }
            while self.waiting.len() < self.bearable
                && let Some(port) = left.peek().copied()
            {
                if let Begun::Exhausted(source) = self.begin(port, false)? {
                    exhausted_ticks += 1;
                    if exhausted_ticks > PATIENT_TICKS && self.waiting.is_empty() {
                        let attempt = format!("open a connection to {}", self.target);
                        return Err(ScanError::System { attempt, source });
                    }
                    self.bearable = self.waiting.len().max(1);
                    break;
                }
                exhausted_ticks = 0;
                left.next();
                tried += 1;
            }
            if self.waiting.is_empty() && left.peek().is_none() {
                return Ok(self.found);
            }
            self.wait()?;
            let done = tried.saturating_sub(self.waiting.len());
            let percent = u8::try_from((done * 100).checked_div(ports.len()).unwrap_or(100)).unwrap_or(100);
            if percent > told {
                told = percent;
                progress(percent);
            }
        }
    }

    fn begin(&mut self, port: u16, is_control: bool) -> Result<Begun, ScanError> {
        let socket = match self.socket() {
            Ok(socket) => socket,
            Err(error) if is_exhaustion(&error) => return Ok(Begun::Exhausted(error)),
            Err(error) => return Err(ScanError::system("make a socket")(error)),
        };
        match socket.connect(&SocketAddr::new(self.target, port).into()) {
            Ok(()) => {
                self.note(port, Answer::of(&socket), is_control)?;
                return Ok(Begun::Ended);
            }
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            // On the loopback the answer is there at once.
            Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {
                let answer = Answer::of_error(libc::ECONNREFUSED, came_by_icmp(&socket));
                self.note(port, answer.unwrap_or(Answer::Silent), is_control)?;
                return Ok(Begun::Ended);
            }
            Err(error) if is_exhaustion(&error) => return Ok(Begun::Exhausted(error)),
            // Before anything was sent: the kernel's own routes and rules say no.
            Err(source) => return Err(ScanError::NoRoute { target: self.target, source }),
        }
        let flags = EpollFlags::EPOLLOUT | EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
        let number = self.begun;
        self.epoll
            .add(&socket, EpollEvent::new(flags, number))
            .map_err(ScanError::system("wait for a connection (epoll)"))?;
        self.begun += 1;
        let deadline = Instant::now() + PATIENCE;
        self.waiting.insert(number, Attempt { port, socket, deadline, is_control });
        Ok(Begun::Waiting)
    }

    fn socket(&self) -> io::Result<Socket> {
        let socket = Socket::new(domain(self.target), Type::STREAM.nonblocking().cloexec(), None)?;
        // What was open is reset and forgotten by both ends.
        socket.set_linger(Some(Duration::ZERO))?;
        // The last segment of the handshake is held back (Linux, `tcp_rcv_synsent_state_process`), and the reset comes in its
        // place: who listens there accepts nothing and logs nothing. Otherwise fail2ban's `mode = aggressive` and sshd's
        // own PerSourcePenalties would take us for an attacker.
        socket.set_tcp_quickack(false)?;
        // ICMP errors are kept apart from resets.
        match self.target {
            IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        Ok(socket)
    }

    /// Waits until something happens, a tick at most, and notes it.
    fn wait(&mut self) -> Result<(), ScanError> {
        let now = Instant::now();
        let first = self.waiting.first_key_value().map(|(_, attempt)| attempt.deadline);
        let left = first.map_or(TICK, |deadline| deadline.saturating_duration_since(now)).min(TICK);
        let timeout_ms = u16::try_from(left.as_millis()).unwrap_or(u16::MAX).saturating_add(1);
        let mut events = [EpollEvent::empty(); 512];
        let count = match self.epoll.wait(&mut events, timeout_ms) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(errno) => return Err(ScanError::system("wait for connections (epoll)")(errno)),
        };
        for event in events.iter().take(count) {
            let Some(attempt) = self.waiting.remove(&event.data()) else { continue };
            self.bearable = (self.bearable + 1).min(self.effort.window.max(1));
            self.note(attempt.port, Answer::of(&attempt.socket), attempt.is_control)?;
        }
        let now = Instant::now();
        while let Some(first) = self.waiting.first_entry().filter(|first| first.get().deadline <= now) {
            let attempt = first.remove();
            self.note(attempt.port, Answer::Silent, attempt.is_control)?;
        }
        Ok(())
    }

    fn note(&mut self, port: u16, answer: Answer, is_control: bool) -> Result<(), ScanError> {
        match (answer, is_control) {
            (Answer::Rejected | Answer::Silent, true) => {
                return Err(ScanError::WayLost { target: self.target, port });
            }
            (Answer::Open, false) => self.found.open.insert(port),
            (Answer::Refused, false) => self.found.refused.insert(port),
            (Answer::Rejected, false) => self.found.rejected.insert(port),
            (Answer::Open | Answer::Refused, true) | (Answer::Silent, false) => {}
        }
        Ok(())
    }
}

impl Answer {
    /// What became of a connection that is no longer in the making.
    fn of(socket: &Socket) -> Self {
        let code = match socket.take_error() {
            Ok(None) => return if is_with_itself(socket) { Self::Refused } else { Self::Open },
            Ok(Some(error)) | Err(error) => error.raw_os_error().unwrap_or_default(),
        };
        Self::of_error(code, came_by_icmp(socket)).unwrap_or(Self::Silent)
    }
}

/// Whether the kernel picked, on this very host, the port that was tried for the near end as well: a connection with
/// itself (RFC 9293, 3.5, simultaneous open), where nothing listens.
fn is_with_itself(socket: &Socket) -> bool {
    let ends = socket.local_addr().ok().zip(socket.peer_addr().ok());
    ends.is_some_and(|(near, far)| near.as_socket() == far.as_socket())
}

/// Whether the socket's error came in an ICMP message (ip(7), `IP_RECVERR`).
fn came_by_icmp(socket: &Socket) -> bool {
    let mut payload = [0; 64];
    let mut parts = [IoSliceMut::new(&mut payload)];
    let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags);
    let Ok(message) = message else { return false };
    let Ok(mut messages) = message.cmsgs() else { return false };
    messages.any(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, _) => error.ee_origin == libc::SO_EE_ORIGIN_ICMP,
        ControlMessageOwned::Ipv6RecvErr(error, _) => error.ee_origin == libc::SO_EE_ORIGIN_ICMP6,
        _ => false,
    })
}

/// Whether it was this host's means that did not suffice, which says nothing of the port.
fn is_exhaustion(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::EADDRNOTAVAIL, libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
