//! The node's own interfaces: not the loopback, and not what the engine makes and unmakes.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use enxame_core::facts::InterfaceFacts;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use crate::netlink;

/// Prefixes of interfaces that come and go with containers (moby, libnetwork: bridge `docker0`, `docker_gwbridge`,
/// `br-<network>`, `veth*`; overlay `vx-*`, `ov-*`), which would make two looks differ.
const OF_CONTAINERS: [&str; 5] = ["docker", "veth", "br-", "vx-", "ov-"];

/// Every interface with its addresses, sorted by name.
pub(crate) fn look() -> Vec<InterfaceFacts> {
    let mut interfaces: BTreeMap<String, InterfaceFacts> = BTreeMap::new();
    let Ok(entries) = getifaddrs() else {
        return Vec::new();
    };
    for entry in entries.filter(|entry| is_the_nodes_own(&entry.interface_name)) {
        // An IPv4 label (`eth0:0`) is no interface: filters know the device.
        let name = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
        let interface = interfaces.entry(name.clone()).or_insert_with(|| InterfaceFacts {
            mtu_bytes: mtu_bytes(&name).unwrap_or(0),
            addresses: Vec::new(),
            link: netlink::link(&name).unwrap_or_default(),
            name,
        });
        interface.addresses.extend(entry.address.as_ref().and_then(ip_address));
    }
    interfaces
        .into_values()
        .map(|mut interface| {
            interface.addresses.sort();
            interface.addresses.dedup();
            interface
        })
        .collect()
}

/// The MTU of an interface, in bytes.
pub(crate) fn mtu_bytes(interface: &str) -> Option<u32> {
    fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok()?.trim().parse().ok()
}

fn ip_address(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

fn is_the_nodes_own(name: &str) -> bool {
    name != "lo" && !OF_CONTAINERS.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_containers_are_passed_over() {
        for (name, own) in
            [("eth0", true), ("ens3", true), ("bridge0", true), ("lo", false), ("docker0", false)]
        {
            assert_eq!(is_the_nodes_own(name), own, "{name}");
        }
        for name in ["docker_gwbridge", "veth1a2b3c4", "br-0123456789ab", "vx-001001-abcde"] {
            assert!(!is_the_nodes_own(name), "{name}");
        }
    }
}
