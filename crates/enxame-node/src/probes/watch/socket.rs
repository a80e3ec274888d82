//! A packet socket: everything that passes one interface, without link-layer headers.
//!
//! The tap is behind the firewall for what leaves and before it for what arrives, and on both sides outside
//! of `IPsec`: it shows what is on the wire (unless the device itself encrypts).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use enxame_core::probe::Direction;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, bind, recvmsg, setsockopt, socket,
    sockopt,
};

use super::count::Packet;

/// Room for what arrives faster than it is looked at, in bytes; a full-size packet takes about 2.3 KiB of it.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// The longest packet that can be held: more than IP's 64 KiB, since a device may take what it will cut itself.
pub(super) const LONGEST_BYTES: usize = 256 * 1024;

/// A packet socket.
#[derive(Debug)]
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Hears all that passes the interface from now on.
    pub(super) fn on(interface: u32) -> io::Result<Self> {
        // Without a protocol it hears nothing until it is bound, so nothing of other interfaces gets in.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Datagram, flags, None)?;
        setsockopt(&socket, sockopt::RcvBufForce, &QUEUE_BYTES)?;
        bind(socket.as_raw_fd(), &all_packets_of(interface)?)?;
        Ok(Self(socket))
    }

    /// The next packet that waits, in `buffer`; `None` when none does.
    pub(super) fn next<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<Packet<'a>>> {
        let (length_bytes, from) = {
            let mut into = [IoSliceMut::new(&mut *buffer)];
            let flags = MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
            match recvmsg::<LinkAddr>(self.0.as_raw_fd(), &mut into, None, flags) {
                Ok(message) => (message.bytes, message.address),
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        let from = from.ok_or_else(|| io::Error::other("a packet without an address"))?;
        let is_outgoing = from.pkttype() == libc::PACKET_OUTGOING;
        let protocol = i32::from(u16::from_be(from.protocol()));
        Ok(Some(Packet {
            direction: if is_outgoing { Direction::Sent } else { Direction::Received },
            is_ip: protocol == libc::ETH_P_IP || protocol == libc::ETH_P_IPV6,
            length_bytes,
            bytes: buffer.get(..length_bytes).unwrap_or(buffer),
        }))
    }

    /// How many packets the kernel could not hand over since it was last asked (`PACKET_STATISTICS`, packet(7)).
    #[expect(unsafe_code, reason = "neither nix nor socket2 has PACKET_STATISTICS")]
    pub(super) fn take_drops(&self) -> io::Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = libc::socklen_t::try_from(size_of_val(&statistics)).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `length` bytes into `statistics`, which is plain data of that size.
        let answer = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        Errno::result(answer)?;
        Ok(u64::from(statistics.tp_drops))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The address that means every protocol on one interface.
#[expect(unsafe_code, reason = "nix can read a LinkAddr and has no way to make one")]
fn all_packets_of(interface: u32) -> io::Result<LinkAddr> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be(),
        sll_ifindex: i32::try_from(interface).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: the pointer is to a live sockaddr_ll and the length is its own.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    address.ok_or_else(|| io::Error::other("not a packet address"))
}
