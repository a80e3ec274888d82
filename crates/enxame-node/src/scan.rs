//! Which ports of an address answer from here: what a stranger with patience would try.
//!
//! Runs on the operator's side and on nodes, without root. Owns its sockets and nothing else. Invariant: silence is
//! reported only when a port that answers was heard before, while and after (or nobody can say that one should).

mod error;
mod limits;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicBool;

use enxame_core::ports::PortSet;
use enxame_core::probe::{Scan, Scanned};
use nix::libc;
use socket2::{Domain, Socket, Type};

pub use error::ScanError;
pub use limits::window;

use self::tcp::{Answer, Sweep};

/// A port that had answered must answer again; a filter for bursts may swallow one attempt.
const CONTROL_TRIES: u8 = 2;
/// Any port does to ask the kernel for a route; nothing is sent to it (RFC 863, discard).
const NO_MATTER: u16 = 9;

/// How a scan is to be gone about.
#[derive(Clone, Copy, Debug)]
pub struct Effort<'a> {
    /// TCP connections in the making at any time: see [`window`].
    pub window: usize,
    /// When true, the scan ends within a fraction of a second.
    pub cancelled: &'a AtomicBool,
}

/// Tries every port of the order. `progress` gets the per cent done.
///
/// # Errors
/// [`ScanError`]: nothing was learnt.
pub fn scan(order: &Scan, effort: Effort<'_>, progress: &mut dyn FnMut(u8)) -> Result<Scanned, ScanError> {
    let target = order.target;
    let source = local_address(target)?;
    let control = find_control(order, effort)?;
    let found = Sweep::new(target, effort)?.run(&order.tcp, control, progress)?;
    let udp = udp::ask(target, &order.udp, effort.cancelled)?;
    let control = control.or_else(|| found.open.iter().chain(found.refused.iter()).next());
    if let Some(port) = control
        && !answers(target, port, effort)?
    {
        return Err(ScanError::WayLost { target, port });
    }
    Ok(Scanned {
        source,
        tried_tcp: order.tcp.clone(),
        open: found.open,
        refused: found.refused,
        rejected: found.rejected,
        udp,
        control,
    })
}

/// The address that the kernel leaves from towards a target. Nothing is sent.
///
/// # Errors
/// [`ScanError::NoRoute`] when there is no way, as where a host has no IPv6.
pub fn local_address(target: IpAddr) -> Result<IpAddr, ScanError> {
    let no_route = |source| ScanError::NoRoute { target, source };
    let socket = Socket::new(domain(target), Type::DGRAM, None).map_err(no_route)?;
    socket.connect(&SocketAddr::new(target, NO_MATTER).into()).map_err(no_route)?;
    let local = socket.local_addr().map_err(no_route)?;
    local
        .as_socket()
        .map(|address| address.ip())
        .ok_or_else(|| no_route(io::ErrorKind::AddrNotAvailable.into()))
}

/// The first control that answers.
fn find_control(order: &Scan, effort: Effort<'_>) -> Result<Option<u16>, ScanError> {
    for port in &order.controls {
        if answers(order.target, *port, effort)? {
            return Ok(Some(*port));
        }
    }
    if order.controls.is_empty() {
        return Ok(None);
    }
    let controls = order.controls.iter().copied().collect();
    Err(ScanError::NothingAnswers { target: order.target, controls })
}

/// Whether a port answers, open or not.
fn answers(target: IpAddr, port: u16, effort: Effort<'_>) -> Result<bool, ScanError> {
    let port: PortSet = [port].into_iter().collect();
    for _ in 0..CONTROL_TRIES {
        let found = Sweep::new(target, Effort { window: 1, ..effort })?.run(&port, None, &mut |_| ())?;
        if !found.open.is_empty() || !found.refused.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn domain(target: IpAddr) -> Domain {
    if target.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
}

/// Whether an error tells of a filter or router on the way, once the kernel had sent something (Linux,
/// `icmp_err_convert` in net/ipv4/icmp.c, `icmpv6_err_convert` in net/ipv6/icmp.c).
fn is_rejection(code: i32) -> bool {
    matches!(
        code,
        libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EACCES
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EPROTO
    )
}

impl Answer {
    /// What the error of a connection means; `is_by_icmp` where it came in an ICMP message and not in a segment.
    fn of_error(code: i32, is_by_icmp: bool) -> Option<Self> {
        match code {
            // The default of iptables' REJECT is ICMP port unreachable, which is the same error as a reset.
            libc::ECONNREFUSED if is_by_icmp => Some(Self::Rejected),
            libc::ECONNREFUSED => Some(Self::Refused),
            // It was there, and went away at once.
            libc::ECONNRESET | libc::EPIPE => Some(Self::Open),
            libc::ETIMEDOUT => Some(Self::Silent),
            code if is_rejection(code) => Some(Self::Rejected),
            _ => None,
        }
    }
}
