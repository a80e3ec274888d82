//! What listens, from `/proc/net`: the sockets of the kernel's own tables, and who holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use enxame_core::areas::firewall::Service;
use enxame_core::facts::{FileFacts, Listener};

use crate::host::Host;

/// `TCP_LISTEN` (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";
/// `TCP_CLOSE`, which is how a UDP socket looks that is bound and not connected.
const UNCONNECTED: &str = "07";
/// The ports that the kernel gives those who ask for any: a program's UDP socket there waits for an answer, not for whoever
/// comes. What the kernel serves itself (`WireGuard`, whose usual port is one of these) may be there all the same.
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    at: Service,
    inode: u64,
}

/// Everything that listens, other than on the loopback's addresses.
pub(super) fn look(host: &dyn Host) -> BTreeSet<Listener> {
    let range = host.text(EPHEMERAL);
    let mut range = range.split_whitespace().map_while(|bound| bound.parse::<u16>().ok());
    let ephemeral = range.next().zip(range.next()).map(|(first, last)| first..=last);
    let tables = ["tcp", "tcp6", "udp", "udp6"];
    let sockets: BTreeSet<Socket> =
        tables.into_iter().flat_map(|table| of_table(table, &text(host, table))).collect();
    let programs = programs(&sockets.iter().map(|socket| socket.inode).collect());
    // A socket of the kernel's own has an inode as well, which no process holds.
    let listener = |socket: Socket| {
        let program = programs.get(&socket.inode).cloned().unwrap_or_default();
        Listener { at: socket.at, program }
    };
    let waits_for_an_answer = |listener: &Listener| match listener.at {
        Service::Udp(port) => {
            !listener.program.is_empty() && ephemeral.as_ref().is_some_and(|range| range.contains(&port))
        }
        _ => false,
    };
    sockets.into_iter().map(listener).filter(|listener| !waits_for_an_answer(listener)).collect()
}

/// The names of the programs that hold these sockets, by inode.
fn programs(inodes: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let is_process = |entry: &fs::DirEntry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter(is_process);
    let of_process = |process: fs::DirEntry| {
        let held = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let inode = |link: fs::DirEntry| {
            let target = fs::read_link(link.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        };
        let held: Vec<u64> = held.filter_map(inode).filter(|inode| inodes.contains(inode)).collect();
        if held.is_empty() {
            return Vec::new();
        }
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim().to_owned();
        held.into_iter().map(|inode| (inode, name.clone())).collect()
    };
    processes.flat_map(of_process).collect()
}

/// What listens stands first: that a long table is cut off hides connections only.
fn text(host: &dyn Host, table: &str) -> String {
    match host.read(Path::new(&format!("/proc/net/{table}"))) {
        FileFacts::Text { content, .. } => content,
        FileFacts::Absent | FileFacts::Unreadable(_) => String::new(),
    }
}

fn of_table(table: &str, text: &str) -> Vec<Socket> {
    let (state, service): (_, fn(u16) -> Service) =
        if table.starts_with("tcp") { (LISTEN, Service::Tcp) } else { (UNCONNECTED, Service::Udp) };
    let listens = |line: &str| {
        let mut words = line.split_whitespace();
        let (address, port) = words.nth(1)?.split_once(':')?;
        let is_listening = words.nth(1)? == state;
        let inode = words.nth(5)?.parse().ok()?;
        let port = u16::from_str_radix(port, 16).ok()?;
        (is_listening && !is_loopback(address)).then(|| Socket { at: service(port), inode })
    };
    text.lines().skip(1).filter_map(listens).collect()
}

/// Words of 32 bits in the machine's byte order: 127.0.0.1 ends in `7F` on x86-64, `::1` is three words of zero and one.
fn is_loopback(address: &str) -> bool {
    let is_v4 = |word: &str| word.len() == 8 && word.ends_with("7F");
    match address.strip_prefix("0000000000000000FFFF0000") {
        Some(mapped) => is_v4(mapped),
        None => is_v4(address) || address == "00000000000000000000000001000000",
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::host::RealHost;
    use crate::testing::namespace::{inside, is_inside, run};

    /// The rest of a line of the kernel's: queues, timers, the user, and the inode.
    const REST: &str =
        "00000000:00000000 00:00000000 00000000     0        0 77 1 0000000000000000 100 0 0 10 0";

    #[test]
    fn what_listens_is_told_and_neither_the_loopback_nor_a_connection_is() {
        let services = |table: &str, lines: &[&str]| -> Vec<Service> {
            let lines = lines.iter().map(|line| format!("{line} {REST}\n"));
            of_table(table, &(String::from("head\n") + &lines.collect::<String>()))
                .into_iter()
                .map(|socket| socket.at)
                .collect()
        };
        let tcp = [
            "0: 00000000:0016 00000000:0000 0A",
            "1: 0100007F:1F90 00000000:0000 0A",
            "2: 0C7100CB:0016 077133C6:C386 01",
        ];
        assert_eq!(services("tcp", &tcp), [Service::Tcp(22)]);
        let tcp6 = [
            "0: 00000000000000000000000000000000:0947 00000000000000000000000000000000:0000 0A",
            "1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A",
            "2: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A",
        ];
        assert_eq!(services("tcp6", &tcp6), [Service::Tcp(2375)]);
        let udp = ["0: 00000000:12B5 00000000:0000 07", "1: 0C7100CB:E000 077133C6:0035 01"];
        assert_eq!(services("udp", &udp), [Service::Udp(4789)]);
    }

    #[test]
    fn the_program_that_listens_is_named() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let at = Service::Tcp(listener.local_addr().unwrap().port());
        let program = fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned();
        assert!(look(&RealHost::default()).contains(&Listener { at, program }));
    }

    #[test]
    fn a_udp_socket_that_waits_for_an_answer_is_not_told_and_the_kernels_own_is() {
        if !is_inside() {
            return inside(concat!(
                "facts::listening::tests::",
                "a_udp_socket_that_waits_for_an_answer_is_not_told_and_the_kernels_own_is"
            ));
        }
        run("ip link set lo up");
        // VXLAN's socket is the kernel's as WireGuard's is, and every kernel has it.
        run("ip link add vx0 type vxlan id 5 dstport 51820 dev lo");
        run("ip link set vx0 up");
        let asking = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = asking.local_addr().unwrap().port();
        let listening = look(&RealHost::default());
        assert!(!listening.iter().any(|listener| listener.at == Service::Udp(port)), "{listening:?}");
        let kernels = Listener { at: Service::Udp(51820), program: String::new() };
        assert!(listening.contains(&kernels), "{listening:?}");
    }
}
