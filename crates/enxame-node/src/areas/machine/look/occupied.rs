//! Addresses that are somebody's already: what routes lead to, and the name servers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use enxame_core::facts::{Occupant, OccupiedNetwork};
use nix::net::if_::if_indextoname;

use crate::host::Host;
use crate::netlink;

/// What the resolver reads (resolv.conf(5)), and where systemd-resolved keeps whom it asks itself.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// What cannot be asked for is not there. Addresses of the link are every link's own (RFC 4291, 2.5.6; RFC 3927), and nobody's.
pub(crate) fn look(host: &dyn Host) -> BTreeSet<OccupiedNetwork> {
    let routed = netlink::routed_networks().unwrap_or_default().into_iter().filter_map(|(network, index)| {
        if is_of_the_link(network.addr()) {
            return None;
        }
        let name = if_indextoname(index).ok()?.into_string().ok()?;
        Some(OccupiedNetwork { network, by: Occupant::Interface(name) })
    });
    let servers = RESOLVERS.iter().flat_map(|path| name_servers(&host.text(path)));
    let servers = servers.map(|at| OccupiedNetwork { network: at.into(), by: Occupant::NameServer });
    routed.chain(servers).collect()
}

/// Those beyond this host.
fn name_servers(text: &str) -> Vec<IpAddr> {
    let words = text.lines().filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    let addresses = words
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok());
    addresses.filter(|at| !at.is_loopback() && !at.is_unspecified() && !is_of_the_link(*at)).collect()
}

fn is_of_the_link(at: IpAddr) -> bool {
    match at {
        IpAddr::V4(at) => at.is_link_local(),
        IpAddr::V6(at) => at.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;
    use crate::testing::namespace::{inside, is_inside, run};

    #[test]
    fn name_servers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 10.0.0.1\nnameserver 10.0.0.2\n nameserver\t2001:db8::53 # ours\nnameservers 10.0.0.3\n\
                    nameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver\nsearch 10.0.0.4\n";
        let expected: [IpAddr; 2] = ["10.0.0.2", "2001:db8::53"].map(|address| address.parse().unwrap());
        assert_eq!(name_servers(text), expected);
    }

    #[test]
    fn what_routes_of_any_table_lead_to_is_occupied_and_the_default_is_not() {
        if !is_inside() {
            return inside(
                "areas::machine::look::occupied::tests::what_routes_of_any_table_lead_to_is_occupied_and_the_default_is_not",
            );
        }
        run("ip link set lo up");
        run("ip link add eth1 type veth peer name far");
        run("ip link set far up");
        run("ip link set eth1 up");
        run("ip address add 10.0.1.5/24 dev eth1");
        run("ip address add 169.254.7.7/16 dev eth1");
        run("ip address add 2001:db8:7::5/64 dev eth1 nodad");
        run("ip route add default via 10.0.1.1");
        run("ip route add 10.7.0.0/16 via 10.0.1.1");
        run("ip route add 10.8.0.0/24 dev eth1 table 52");
        run("ip route add blackhole 10.9.0.0/24");
        let host = FakeHost::default().with_file("/etc/resolv.conf", "nameserver 10.0.0.2\n");
        // Of IPv6 every link has `fe80::/64`.
        let found: Vec<String> = look(&host).iter().map(ToString::to_string).collect();
        let routed =
            ["10.0.1.0/24 (eth1)", "10.7.0.0/16 (eth1)", "10.8.0.0/24 (eth1)", "2001:db8:7::/64 (eth1)"];
        assert_eq!(found, [&["10.0.0.2 (a name server)"], &routed[..]].concat());
    }
}
