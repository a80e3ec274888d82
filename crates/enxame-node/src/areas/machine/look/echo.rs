//! ICMP echo requests (RFC 792, RFC 4443) that are never fragmented, over a raw socket. Needs `CAP_NET_RAW`.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

use super::path_mtu::Echo;
use crate::cancel::{Cancel, TICK};

/// Type, code, checksum, identifier, sequence.
const ECHO_HEADER_BYTES: usize = 8;
/// What ping(8) sends by default.
const SMALL_PAYLOAD_BYTES: u32 = 56;

/// Tells this process's sockets apart; the process id tells processes apart.
static NEXT_SOCKET: AtomicU16 = AtomicU16::new(0);

/// A socket to one peer.
pub(crate) struct EchoSocket {
    socket: Socket,
    version: IpVersion,
    identifier: u16,
    sequence: u16,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IpVersion {
    V4,
    V6,
}

impl IpVersion {
    /// Length of the IP header the kernel puts before what is sent.
    fn header_bytes(self) -> u32 {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    fn request_type(self) -> u8 {
        match self {
            Self::V4 => 8,
            Self::V6 => 128,
        }
    }

    fn reply_type(self) -> u8 {
        match self {
            Self::V4 => 0,
            Self::V6 => 129,
        }
    }
}

impl EchoSocket {
    /// Opens a socket that hears this peer only.
    pub(crate) fn open(peer: IpAddr) -> io::Result<Self> {
        let (version, domain, protocol) = match peer {
            IpAddr::V4(_) => (IpVersion::V4, Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (IpVersion::V6, Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        never_fragment(&socket, version)?;
        socket.connect(&SocketAddr::new(peer, 0).into())?;
        // The low half of the process id is unlike that of its neighbours, which is all that is needed.
        let process = u16::try_from(std::process::id() & 0xffff).unwrap_or_default();
        let identifier = process ^ NEXT_SOCKET.fetch_add(1, Ordering::Relaxed).rotate_left(8);
        Ok(Self { socket, version, identifier, sequence: 0, payload: Vec::new() })
    }

    /// What the small requests carry, in the place of zeros.
    pub(crate) fn carrying(self, payload: Vec<u8>) -> Self {
        Self { payload, ..self }
    }

    /// Sends small requests at an interval and gives the round-trip time of each that came back, in the order they were
    /// sent; the last has `patience` to do so. Ends soon after it is cancelled.
    pub(crate) fn series(
        &mut self,
        (count, interval): (u16, Duration),
        patience: Duration,
        cancel: &Cancel,
    ) -> Vec<Option<Duration>> {
        let payload_bytes = u32::try_from(self.payload.len()).unwrap_or_default();
        let mut buffer = vec![0; 65_536];
        let mut sent = Vec::new();
        let mut times = Vec::new();
        let begun = Instant::now();
        for number in 1..=count {
            if cancel.is_set() {
                break;
            }
            // What cannot be sent does not come back.
            let size = self.smallest_bytes().max(self.version.header_bytes() + 8 + payload_bytes);
            sent.push((self.send(size).ok(), Instant::now()));
            times.push(None);
            let wait = if number == count { patience } else { Duration::ZERO };
            let next = begun + interval * u32::from(number) + wait;
            while !cancel.is_set()
                && times.iter().any(Option::is_none)
                && let Some(left) = next.checked_duration_since(Instant::now())
            {
                let Some(sequence) = self.receive(left.min(TICK), &mut buffer) else { continue };
                let answered = sent.iter().position(|(number, _)| *number == Some(sequence));
                if let Some((time, (_, sent))) =
                    answered.and_then(|place| times.get_mut(place).zip(sent.get(place)))
                {
                    *time = Some(sent.elapsed());
                }
            }
            cancel.sleep(next.saturating_duration_since(Instant::now()).saturating_sub(wait));
        }
        times
    }

    fn send(&mut self, size_bytes: u32) -> io::Result<u16> {
        self.sequence = self.sequence.wrapping_add(1);
        let length =
            usize::try_from(size_bytes.saturating_sub(self.version.header_bytes())).unwrap_or_default();
        let request = echo_request(self.version, self.identifier, self.sequence, length, &self.payload);
        // An ICMP error about an earlier packet waits on the socket and would be this send's result.
        drop(self.socket.take_error());
        self.socket.send(&request)?;
        Ok(self.sequence)
    }

    /// Waits for one packet; `None` when it is no reply to this socket or the time is over.
    fn receive(&mut self, wait: Duration, buffer: &mut [u8]) -> Option<u16> {
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).ok()?;
        let length = self.socket.read(buffer).ok()?;
        reply_sequence(self.version, self.identifier, buffer.get(..length)?)
    }
}

impl Echo for EchoSocket {
    fn smallest_bytes(&self) -> u32 {
        self.version.header_bytes() + 8 + SMALL_PAYLOAD_BYTES
    }

    fn round(&mut self, sizes_bytes: &[u32], wait: Duration) -> Vec<(u32, Duration)> {
        let mut buffer = vec![0; 65_536];
        let end = Instant::now() + wait;
        let mut waiting = Vec::new();
        for size in sizes_bytes {
            let sent = Instant::now();
            // A size that the interface refuses is one that does not come back.
            if let Ok(sequence) = self.send(*size) {
                waiting.push((sequence, *size, sent));
            }
        }
        let mut answered = Vec::new();
        while !waiting.is_empty() {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            let Some(sequence) = self.receive(left.min(TICK), &mut buffer) else {
                continue;
            };
            if let Some(place) = waiting.iter().position(|(waited, ..)| *waited == sequence) {
                let (_, size, sent) = waiting.swap_remove(place);
                answered.push((size, sent.elapsed()));
            }
        }
        answered
    }
}

/// DF on every packet, whatever path MTU the kernel remembers (ip(7), ipv6(7): `IP_PMTUDISC_PROBE`).
#[expect(unsafe_code, reason = "neither socket2 nor nix has IP_MTU_DISCOVER")]
fn never_fragment(socket: &Socket, version: IpVersion) -> io::Result<()> {
    let (level, option, value) = match version {
        IpVersion::V4 => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        IpVersion::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    };
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: the socket is open, and the kernel reads `length` bytes of `value`, which outlives the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An echo request of `length` bytes, header and all, with as much of the payload as it takes.
fn echo_request(
    version: IpVersion,
    identifier: u16,
    sequence: u16,
    length: usize,
    payload: &[u8],
) -> Vec<u8> {
    let [identifier_high, identifier_low] = identifier.to_be_bytes();
    let [sequence_high, sequence_low] = sequence.to_be_bytes();
    let header = |sum: [u8; 2]| {
        [
            version.request_type(),
            0,
            sum[0],
            sum[1],
            identifier_high,
            identifier_low,
            sequence_high,
            sequence_low,
        ]
    };
    let mut message = header([0, 0]).to_vec();
    message.extend_from_slice(payload);
    message.resize(length.max(ECHO_HEADER_BYTES), 0);
    // For ICMPv6 the kernel puts its own checksum (ipv6(7)).
    let sum = header(checksum(&message).to_be_bytes());
    message.splice(..ECHO_HEADER_BYTES, sum);
    message
}

/// The Internet checksum (RFC 1071).
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2).map(|pair| {
        let high = pair.first().copied().unwrap_or_default();
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(u16::from_be_bytes([high, low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// The sequence number of an echo reply to `identifier`. IPv4 raw sockets give the IP header too, IPv6 ones do not.
fn reply_sequence(version: IpVersion, identifier: u16, packet: &[u8]) -> Option<u16> {
    let message = match version {
        IpVersion::V4 => packet.get(usize::from(packet.first()? & 0x0f) * 4..)?,
        IpVersion::V6 => packet,
    };
    let header: [u8; ECHO_HEADER_BYTES] = message.get(..ECHO_HEADER_BYTES)?.try_into().ok()?;
    let [kind, code, _, _, id_high, id_low, sequence_high, sequence_low] = header;
    let is_ours =
        kind == version.reply_type() && code == 0 && u16::from_be_bytes([id_high, id_low]) == identifier;
    is_ours.then(|| u16::from_be_bytes([sequence_high, sequence_low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_length_and_a_checksum_that_sums_to_zero() {
        for length in [8, 9, 64, 1472] {
            let request = echo_request(IpVersion::V4, 0xabcd, 7, length, &[]);
            assert_eq!(request.len(), length);
            assert_eq!(checksum(&request), 0, "{length}");
        }
    }

    /// A series that is cancelled once its peer has heard some requests.
    struct CutShort {
        count: u16,
        interval: Duration,
        heard: usize,
        is_answered: bool,
    }

    impl CutShort {
        /// How many requests it sent, and how long it went on after it was cancelled.
        fn run(&self) -> (usize, Duration) {
            let (ours, mut peer) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut socket = EchoSocket {
                socket: ours,
                version: IpVersion::V6,
                identifier: 1,
                sequence: 0,
                payload: Vec::new(),
            };
            let (cancel, what) = (Cancel::new(), (self.count, self.interval));
            std::thread::scope(|scope| {
                let series = scope.spawn(|| socket.series(what, Duration::from_secs(5), &cancel).len());
                let mut buffer = [0; 256];
                for _ in 0..self.heard {
                    let length = peer.read(&mut buffer).unwrap();
                    if self.is_answered {
                        buffer[0] = IpVersion::V6.reply_type();
                        peer.send(&buffer[..length]).unwrap();
                    }
                }
                let said = Instant::now();
                cancel.set();
                // One that goes on must not wait for room here.
                drop(peer);
                (series.join().unwrap(), said.elapsed())
            })
        }
    }

    #[test]
    fn a_series_that_is_cancelled_sends_no_more_and_waits_for_nothing() {
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(5));
        // Between requests, where they come fast and where the next is far away, and after the last.
        for (count, interval, heard) in [(500, short, 3), (2, long, 1), (1, short, 1)] {
            let (sent, took) = CutShort { count, interval, heard, is_answered: false }.run();
            // One may have been on its way.
            assert!(sent <= heard + 1, "{sent} sent, {heard} before it was cancelled");
            assert!(took < Duration::from_secs(1), "{took:?}");
        }
    }

    #[test]
    fn a_series_that_is_cancelled_between_an_answer_and_the_next_request_ends_at_once() {
        let interval = Duration::from_secs(5);
        let (sent, took) = CutShort { count: 3, interval, heard: 1, is_answered: true }.run();
        assert_eq!(sent, 1);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn only_replies_to_this_socket_count() {
        let reply = [0, 0, 0x12, 0x34, 0xab, 0xcd, 0, 7, 1, 2];
        let mut packet = vec![0x45];
        packet.resize(20, 0);
        packet.extend(reply);
        assert_eq!(reply_sequence(IpVersion::V4, 0xabcd, &packet), Some(7));
        assert_eq!(reply_sequence(IpVersion::V4, 0xabce, &packet), None);
        packet[20] = 8;
        assert_eq!(reply_sequence(IpVersion::V4, 0xabcd, &packet), None);
        let mut with_options = vec![0x46];
        with_options.resize(24, 0);
        with_options.extend(reply);
        assert_eq!(reply_sequence(IpVersion::V4, 0xabcd, &with_options), Some(7));
        assert_eq!(reply_sequence(IpVersion::V6, 0xabcd, &[129, 0, 0, 0, 0xab, 0xcd, 0, 9]), Some(9));
    }

    #[test]
    fn cut_packets_are_no_replies() {
        for packet in [&[][..], &[0x45], &[0x4f; 30], &[129, 0, 0]] {
            assert_eq!(reply_sequence(IpVersion::V4, 0, packet), None);
        }
        assert_eq!(reply_sequence(IpVersion::V6, 0, &[129, 0, 0]), None);
    }
}
