//! Which of a node's interfaces and addresses face the Internet.
//!
//! Pure. Invariant: the engine's bridges and private tunnels never do.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::NodeConfig;
use crate::facts::{InterfaceFacts, LinkFacts, NodeFacts};

/// What faces inwards, whatever its addresses: the engine's bridges and the host's ends of containers' links, and those of
/// other managers of machines and containers.
const INNER_INTERFACES: [&str; 8] = ["docker", "br-", "veth", "virbr", "lxcbr", "lxdbr", "incusbr", "podman"];
/// Of these kinds is what people make private networks of: `WireGuard`, and whatever a program of its own carries (`OpenVPN`,
/// Tailscale, `ZeroTier`).
const PRIVATE: [&str; 2] = ["wireguard", "tun"];
/// Looks like Ethernet, and travels in packets of another interface (ip-link(8)); `tun` is also a TAP's.
const ETHERNET_IN_PACKETS: [&str; 7] =
    ["tun", "vxlan", "geneve", "gretap", "ip6gretap", "erspan", "ip6erspan"];
/// `ARPHRD_INFINIBAND`: the other hardware of servers (Linux, `if_arp.h`).
const INFINIBAND: u16 = 32;

/// Addresses that are not reached from the Internet: RFC 1918, RFC 6598 (CGNAT), RFC 4193 (ULA), and what never leaves a
/// link (RFC 3927, RFC 4291), this host (RFC 1122), or is no host at all (multicast, unspecified).
const NOT_PUBLIC: [IpNet; 13] = [
    network(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8),
    network(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    network(IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    network(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    network(IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    network(IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    network(IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    network(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 3),
    network(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
    network(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    network(IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    network(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    network(IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

const fn network(address: IpAddr, prefix_length: u8) -> IpNet {
    IpNet::new_assert(address, prefix_length)
}

/// Whether an address may be reached from the Internet, as far as the address tells.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    let address = address.to_canonical();
    !NOT_PUBLIC.iter().any(|network| network.contains(&address))
}

/// Whether there are addresses in a network that [`is_public`].
#[must_use]
pub fn has_public(network: &IpNet) -> bool {
    !NOT_PUBLIC.iter().any(|inner| inner.contains(network))
}

/// Whether an interface is the inner end of a tunnel, as far as the kernel tells: what it carries has come to the node in
/// packets of another interface. What has no Ethernet's addresses is one (PPP, IPIP, SIT, GRE, `WireGuard`, TUN, `ARPHRD_NONE`
/// and all others), unless the way to the peers leads through it: some providers' lines are PPP (RFC 2516).
#[must_use]
pub fn is_tunnel(interface: &InterfaceFacts, facts: &NodeFacts) -> bool {
    let LinkFacts { hardware, kind } = &interface.link;
    is_private_tunnel(interface)
        || ETHERNET_IN_PACKETS.contains(&kind.as_str())
        || (![LinkFacts::ETHERNET, INFINIBAND].contains(hardware) && !leads_to_peers(&interface.name, facts))
}

fn is_private_tunnel(interface: &InterfaceFacts) -> bool {
    PRIVATE.contains(&interface.link.kind.as_str())
}

fn leads_to_peers(interface: &str, facts: &NodeFacts) -> bool {
    facts.routes.values().any(|route| route.known().is_some_and(|route| route.interface == interface))
}

/// The interfaces of a node that face the Internet: the one that carries the node's address in `cluster.yaml`, whatever
/// that is, those that the ways to its peers leave by, and every other with an address that [`is_public`]. What faces
/// inwards is never among them.
#[must_use]
pub fn public_interfaces<'a>(node: &NodeConfig, facts: &'a NodeFacts) -> Vec<&'a InterfaceFacts> {
    let is_inner = |interface: &InterfaceFacts| {
        is_private_tunnel(interface)
            || INNER_INTERFACES.iter().any(|prefix| interface.name.starts_with(prefix))
    };
    let faces_the_internet = |address: &IpAddr| *address == node.address || is_public(*address);
    let interfaces = facts.interfaces.iter().filter(|interface| !is_inner(interface));
    interfaces
        .filter(|one| one.addresses.iter().any(faces_the_internet) || leads_to_peers(&one.name, facts))
        .collect()
}

/// The addresses of a node that are reached from outside and stay: its address in `cluster.yaml`, and the IPv4 addresses
/// that are [`is_public`] on interfaces that face the Internet. An IPv6 address may be a temporary one (RFC 8981).
#[must_use]
pub fn lasting_addresses(node: &NodeConfig, facts: &NodeFacts) -> BTreeSet<IpAddr> {
    let interfaces = public_interfaces(node, facts).into_iter();
    let addresses = interfaces.flat_map(|interface| interface.addresses.iter().copied());
    addresses.filter(|address| address.is_ipv4() && is_public(*address)).chain([node.address]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::facts::{Observed, RouteFacts};

    #[test]
    fn a_network_has_public_addresses_unless_all_of_it_is_private() {
        for public in ["0.0.0.0/0", "::/0", "198.51.100.7/32", "10.0.0.0/7", "2001:db8:5::/48"] {
            assert!(has_public(&public.parse().unwrap()), "{public}");
        }
        for private in ["10.8.0.0/24", "192.168.1.5/32", "100.64.0.0/10", "fd00::/64"] {
            assert!(!has_public(&private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn what_leads_to_peers_faces_the_internet_and_lasting_addresses_are_the_nodes_own() {
        let text = "version: 1\ncluster: lab\nnodes:\n  - {name: kvm2, address: 203.0.113.12}\n\
                    \x20 - {name: kvm4, address: 203.0.113.14}\n";
        let config = Config::parse("cluster.yaml", text).unwrap();
        let interface = |name: &str, addresses: &[&str]| InterfaceFacts {
            name: name.to_owned(),
            mtu_bytes: 1500,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            link: LinkFacts::default(),
        };
        let route = RouteFacts {
            source: "203.0.113.12".parse().unwrap(),
            interface: "ens3".to_owned(),
            mtu_bytes: 1500,
            path_mtu_bytes: Observed::Known(1500),
        };
        let facts = NodeFacts {
            interfaces: vec![
                interface("dummy0", &["203.0.113.12"]),
                interface("ens3", &["10.0.0.2"]),
                interface("ens4", &["10.1.0.2"]),
                interface("ens5", &["198.51.100.4", "2001:db8::4"]),
            ],
            routes: [("203.0.113.14".parse().unwrap(), Observed::Known(route))].into(),
            ..crate::facts::blank::blank()
        };
        let node = &config.nodes[0];
        let names: Vec<_> = public_interfaces(node, &facts).iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["dummy0", "ens3", "ens5"]);
        let lasting: [IpAddr; 2] = ["198.51.100.4", "203.0.113.12"].map(|address| address.parse().unwrap());
        assert_eq!(lasting_addresses(node, &facts), lasting.into());
    }

    fn facing(interfaces: &[(&str, &[&str])]) -> Vec<String> {
        let text = "version: 1\ncluster: lab\nnodes:\n  - name: kvm2\n    address: 203.0.113.12\n";
        let config = Config::parse("cluster.yaml", text).unwrap();
        let facts = NodeFacts {
            interfaces: interfaces
                .iter()
                .map(|(name, addresses)| InterfaceFacts {
                    name: (*name).to_owned(),
                    mtu_bytes: 1500,
                    addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
                    link: LinkFacts::default(),
                })
                .collect(),
            ..crate::facts::blank::blank()
        };
        let found = public_interfaces(&config.nodes[0], &facts);
        found.iter().map(|interface| interface.name.clone()).collect()
    }

    #[test]
    fn interfaces_with_a_public_address_face_the_internet_and_private_ones_do_not() {
        let found = facing(&[
            ("lo", &["127.0.0.1", "::1"]),
            ("eth0", &["203.0.113.12", "fe80::1"]),
            ("eth1", &["10.0.0.5", "fe80::2"]),
            ("eth2", &["192.168.1.5"]),
            ("eth3", &["172.31.255.1"]),
            ("wg0", &["fd00::1", "100.64.0.9"]),
            ("link", &["169.254.10.1"]),
            ("group", &["224.0.0.5", "ff02::1"]),
            ("bare", &[]),
            ("eth4", &["10.0.0.6", "2001:db8::5"]),
            ("eth5", &["172.32.0.1"]),
            ("eth6", &["100.128.0.1"]),
        ]);
        assert_eq!(found, ["eth0", "eth4", "eth5", "eth6"]);
    }

    #[test]
    fn what_carries_the_nodes_address_counts_and_the_engines_interfaces_never_do() {
        let text = "version: 1\ncluster: lab\nnodes:\n  - name: kvm2\n    address: 10.0.0.5\n";
        let config = Config::parse("cluster.yaml", text).unwrap();
        let interface = |name: &str, address: &str| InterfaceFacts {
            name: name.to_owned(),
            mtu_bytes: 1500,
            addresses: vec![address.parse().unwrap()],
            link: LinkFacts::default(),
        };
        let facts = NodeFacts {
            interfaces: vec![interface("eth0", "10.0.0.5"), interface("eth1", "10.0.0.6")],
            ..crate::facts::blank::blank()
        };
        let found = public_interfaces(&config.nodes[0], &facts);
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["eth0"]);
        let engine = [("docker0", "198.51.100.1"), ("br-12ab", "198.51.100.2"), ("veth0@if2", "2001:db8::6")];
        for (name, address) in engine {
            assert_eq!(facing(&[(name, &[address])]), Vec::<String>::new());
        }
        assert_eq!(facing(&[("bridge0", &["198.51.100.3"]), ("br0", &["198.51.100.4"])]), ["bridge0", "br0"]);
    }

    /// An interface of that link with a public address that is not the node's own.
    fn of_link(hardware: u16, kind: &str) -> InterfaceFacts {
        let link = LinkFacts { hardware, kind: kind.to_owned() };
        let addresses = vec!["198.51.100.4".parse().unwrap()];
        InterfaceFacts { name: "office0".to_owned(), mtu_bytes: 1400, addresses, link }
    }

    #[test]
    fn a_tunnel_is_what_the_kernel_says_is_one_and_not_what_it_is_called() {
        let facts = crate::facts::blank::blank();
        // PPP, IPIP, SIT, GRE, WireGuard, TUN, XFRM, TAP, and Ethernet in UDP or GRE.
        for (hardware, kind) in [
            (512, ""),
            (768, "ipip"),
            (776, "sit"),
            (778, "gre"),
            (0xfffe, "wireguard"),
            (0xfffe, "tun"),
            (0xfffe, "xfrm"),
            (1, "tun"),
            (1, "vxlan"),
            (1, "gretap"),
        ] {
            assert!(is_tunnel(&of_link(hardware, kind), &facts), "{hardware} {kind}");
        }
        for (hardware, kind) in [(1, ""), (1, "bond"), (1, "bridge"), (1, "vlan"), (1, "veth"), (32, "")] {
            let interface = InterfaceFacts { name: "wg0".to_owned(), ..of_link(hardware, kind) };
            assert!(!is_tunnel(&interface, &facts), "{hardware} {kind}");
        }
    }

    #[test]
    fn the_line_to_the_provider_is_no_tunnel_and_is_guarded_and_a_private_network_is_one_and_is_not() {
        let text = "version: 1\ncluster: lab\nnodes:\n  - {name: kvm2, address: 203.0.113.12}\n\
                    \x20 - {name: kvm4, address: 203.0.113.14}\n";
        let config = Config::parse("cluster.yaml", text).unwrap();
        let route = RouteFacts {
            source: "198.51.100.4".parse().unwrap(),
            interface: "office0".to_owned(),
            mtu_bytes: 1492,
            path_mtu_bytes: Observed::Known(1492),
        };
        let seen = |hardware, kind| {
            let facts = NodeFacts {
                interfaces: vec![of_link(hardware, kind)],
                routes: [("203.0.113.14".parse().unwrap(), Observed::Known(route.clone()))].into(),
                ..crate::facts::blank::blank()
            };
            (is_tunnel(&facts.interfaces[0], &facts), public_interfaces(&config.nodes[0], &facts).len())
        };
        assert_eq!(seen(512, ""), (false, 1));
        assert_eq!(seen(0xfffe, "wireguard"), (true, 0));
        assert_eq!(seen(1, "tun"), (true, 0));
    }
}
