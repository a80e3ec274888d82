//! What runs in the probe's container: it answers to whoever knows the run's marker, and ends by itself.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use enxame_core::probe::{ENV_MARKER, ENV_NODE, Marker, RESPONDER_PORT};

use super::ProbeError;
use super::exchange::{Connection, Deadline, answer};

/// How long a responder lives at most: a proof that was abandoned answers nobody after that.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// How long one exchange may take.
const EXCHANGE: Duration = Duration::from_secs(120);

/// Answers until it is stopped or half an hour is over.
///
/// # Errors
/// [`ProbeError::System`] when its environment lacks the marker or it cannot listen.
pub fn run() -> Result<(), ProbeError> {
    let marker = std::env::var(ENV_MARKER)
        .ok()
        .and_then(|text| Marker::try_from(text).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no marker"))
        .map_err(ProbeError::system(format!("read {ENV_MARKER} in the environment")))?;
    let node = std::env::var(ENV_NODE).unwrap_or_default();
    let bound =
        bind(RESPONDER_PORT).map_err(ProbeError::system(format!("listen on port {RESPONDER_PORT}")))?;
    serve(bound, marker, node);
    std::thread::sleep(LIFETIME);
    Ok(())
}

/// Listens on one port, TCP and UDP; on IPv4 alone where the kernel has no IPv6.
fn bind(port: u16) -> io::Result<(TcpListener, UdpSocket)> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let ipv4 = SocketAddr::from(([0, 0, 0, 0], port));
    let tcp = TcpListener::bind(both).or_else(|_| TcpListener::bind(ipv4))?;
    let udp = UdpSocket::bind(both).or_else(|_| UdpSocket::bind(ipv4))?;
    Ok((tcp, udp))
}

/// Answers in threads of its own.
pub(super) fn serve((tcp, udp): (TcpListener, UdpSocket), marker: Marker, node: String) {
    std::thread::spawn(move || echo(&udp, &marker));
    std::thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            let node = node.clone();
            std::thread::spawn(move || {
                let mut connection = Connection { stream, deadline: Deadline::after(EXCHANGE) };
                // The client sees what went wrong and reports it.
                let _ = answer(&mut connection, &marker, &node);
            });
        }
    });
}

/// Sends every datagram back that begins with the marker.
fn echo(udp: &UdpSocket, marker: &Marker) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match udp.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                if datagram.starts_with(marker.bytes()) {
                    // A datagram that gets lost on the way is what the client counts.
                    let _ = udp.send_to(datagram, from);
                }
            }
            // E.g. an ICMP error to an earlier answer. The pause keeps a lasting error from burning the processor.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(test)]
pub(super) fn serve_on_loopback(marker: Marker, node: &str) -> SocketAddr {
    loop {
        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(address) {
            serve((tcp, udp), marker, node.to_owned());
            return address;
        }
    }
}
