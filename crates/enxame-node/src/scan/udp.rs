//! Datagrams to a few ports. Each is asked in the language that is spoken there, where there is one.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use enxame_core::ports::PortSet;
use enxame_core::probe::UdpAnswer;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Socket, Type};

use super::{ScanError, domain, is_rejection};
use crate::cancel::TICK;

/// How often a port is asked that does not answer.
const TRIES: u8 = 3;
/// From one datagram to the next. A host tells a sender of six unreachable ports at once, and then of one a second
/// (Linux, `XRLIM_BURST_FACTOR` and `icmp_ratelimit`).
const PAUSE: Duration = Duration::from_millis(150);
/// How long the last answer may take.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// DNS: which servers has the root (RFC 1035, 4.1).
const DNS: [u8; 17] = [0xe1, 0x7a, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
/// NTP: a client's request, version 4 (RFC 5905, 7.3); the other 47 octets may be zero.
const NTP_CLIENT: u8 = 0x23;
/// `SNMPv1`: get sysDescr.0 of the community `public` (RFC 1157, 4.1.2).
const SNMP: [u8; 43] = [
    0x30, 0x29, 2, 1, 0, 4, 6, b'p', b'u', b'b', b'l', b'i', b'c', 0xa0, 0x1c, 2, 4, 0, 0, 0, 1, 2, 1, 0, 2,
    1, 0, 0x30, 0x0e, 0x30, 0x0c, 6, 8, 0x2b, 6, 1, 2, 1, 1, 1, 0, 5, 0,
];

/// Asks them all.
pub(super) fn ask(
    target: IpAddr,
    ports: &PortSet,
    cancelled: &AtomicBool,
) -> Result<BTreeMap<u16, UdpAnswer>, ScanError> {
    let mut asked = Vec::new();
    for port in ports.iter() {
        let no_route = |source| ScanError::NoRoute { target, source };
        let socket = Socket::new(domain(target), Type::DGRAM.nonblocking().cloexec(), None)
            .map_err(ScanError::system("make a socket"))?;
        socket.connect(&SocketAddr::new(target, port).into()).map_err(no_route)?;
        asked.push((port, socket));
    }
    let mut answers: BTreeMap<u16, UdpAnswer> =
        asked.iter().map(|(port, _)| (*port, UdpAnswer::Silent)).collect();
    // Connection tracking may refuse one packet, a filter refuses all.
    let mut kept_in = BTreeMap::<u16, u8>::new();
    for _ in 0..TRIES {
        for (port, socket) in &asked {
            if answers.get(port) != Some(&UdpAnswer::Silent) {
                continue;
            }
            if let Err(error) = socket.send(&question(*port)) {
                if is_kept_in(&error) {
                    *kept_in.entry(*port).or_default() += 1;
                }
                let answer = answer_of(&error)
                    .map_err(|()| ScanError::system(format!("send to UDP {port} of {target}"))(error))?;
                answers.extend(answer.map(|answer| (*port, answer)));
            }
            listen(&asked, PAUSE, cancelled, &mut answers)?;
        }
    }
    listen(&asked, LAST_ANSWER, cancelled, &mut answers)?;
    let never_left = kept_in.into_iter().filter(|(_, times)| *times == TRIES).map(|(port, _)| port);
    answers.extend(never_left.map(|port| (port, UdpAnswer::Unsent)));
    Ok(answers)
}

fn question(port: u16) -> Vec<u8> {
    match port {
        53 => DNS.to_vec(),
        123 => {
            let mut request = vec![0; 48];
            request.splice(..1, [NTP_CLIENT]);
            request
        }
        161 => SNMP.to_vec(),
        _ => b"enxame\n".to_vec(),
    }
}

/// Notes what comes within that time.
fn listen(
    asked: &[(u16, Socket)],
    time: Duration,
    cancelled: &AtomicBool,
    answers: &mut BTreeMap<u16, UdpAnswer>,
) -> Result<(), ScanError> {
    let end = Instant::now() + time;
    loop {
        if cancelled.load(Ordering::Relaxed) {
            return Err(ScanError::Cancelled);
        }
        let quiet: Vec<&(u16, Socket)> =
            asked.iter().filter(|(port, _)| answers.get(port) == Some(&UdpAnswer::Silent)).collect();
        let left = end.saturating_duration_since(Instant::now());
        if quiet.is_empty() || left.is_zero() {
            return Ok(());
        }
        let mut waiting: Vec<PollFd<'_>> =
            quiet.iter().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut waiting, PollTimeout::try_from(left.min(TICK)).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(ScanError::system("wait for datagrams (poll)")(errno)),
        }
        for (port, socket) in quiet {
            let answer = match socket.recv(&mut [MaybeUninit::uninit(); 512]) {
                Ok(_) => Some(UdpAnswer::Answered),
                Err(error) => answer_of(&error).ok().flatten(),
            };
            answers.extend(answer.map(|answer| (*port, answer)));
        }
    }
}

/// What an error says of the port; an error when it says something of this host instead.
fn answer_of(error: &io::Error) -> Result<Option<UdpAnswer>, ()> {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => Ok(Some(UdpAnswer::Unreachable)),
        Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR) => Ok(None),
        _ if is_kept_in(error) => Ok(None),
        Some(code) if is_rejection(code) => Ok(Some(UdpAnswer::Rejected)),
        _ => Err(()),
    }
}

/// Whether this host dropped it on its way out (Linux, `nf_hook_slow` in net/netfilter/core.c).
fn is_kept_in(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}
