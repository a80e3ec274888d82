//! What listens, from `/proc/net`: the sockets of the kernel's own tables, whoever holds them.

use std::collections::BTreeSet;
use std::path::Path;

use enxame_core::areas::firewall::Service;
use enxame_core::facts::FileFacts;

use crate::host::Host;

/// `TCP_LISTEN` (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";
/// `TCP_CLOSE`, which is how a UDP socket looks that is bound and not connected.
const UNCONNECTED: &str = "07";

/// Every port that something listens on, other than on the loopback's addresses.
pub(super) fn look(host: &dyn Host) -> BTreeSet<Service> {
    let tables = ["tcp", "tcp6", "udp", "udp6"];
    tables.into_iter().flat_map(|table| of_table(table, &text(host, table))).collect()
}

/// What listens stands first: that a long table is cut off hides connections only.
fn text(host: &dyn Host, table: &str) -> String {
    match host.read(Path::new(&format!("/proc/net/{table}"))) {
        FileFacts::Text { content, .. } => content,
        FileFacts::Absent | FileFacts::Unreadable(_) => String::new(),
    }
}

fn of_table(table: &str, text: &str) -> Vec<Service> {
    let (state, service): (_, fn(u16) -> Service) =
        if table.starts_with("tcp") { (LISTEN, Service::Tcp) } else { (UNCONNECTED, Service::Udp) };
    let listens = |line: &str| {
        let mut words = line.split_whitespace();
        let (address, port) = words.nth(1)?.split_once(':')?;
        let is_listening = words.nth(1)? == state;
        let port = u16::from_str_radix(port, 16).ok()?;
        (is_listening && !is_loopback(address)).then(|| service(port))
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
    use super::*;

    #[test]
    fn what_listens_is_told_and_neither_the_loopback_nor_a_connection_is() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                   0: 00000000:0016 00000000:0000 0A 00000000:00000000\n\
                   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                   2: 0C7100CB:0016 077133C6:C386 01 00000000:00000000\n";
        assert_eq!(of_table("tcp", tcp), [Service::Tcp(22)]);
        let tcp6 = "head\n\
                    0: 00000000000000000000000000000000:0947 00000000000000000000000000000000:0000 0A x\n\
                    1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A x\n\
                    2: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A x\n";
        assert_eq!(of_table("tcp6", tcp6), [Service::Tcp(2375)]);
        let udp = "head\n\
                   0: 00000000:12B5 00000000:0000 07 x\n\
                   1: 0C7100CB:E000 077133C6:0035 01 x\n";
        assert_eq!(of_table("udp", udp), [Service::Udp(4789)]);
    }
}
