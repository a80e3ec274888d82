//! The unit that makes the interface, at boot and whenever something of it has changed: one way for both.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{CONF_PATH, INTERFACE, KEY_PATH, MODULE};
use crate::files::{HEADER, OwnedFile};

/// What keeps systemd-networkd from the interface, before what netplan and cloud-init write: the name begins as those of Ethernet
/// cards do, and a configuration for `en*` would give it the server's own address (systemd.network(5), `Unmanaged=`).
pub const NETWORK_PATH: &str = "/etc/systemd/network/00-enxame-tunnel.network";

/// See [`NETWORK_PATH`].
#[must_use]
pub fn unmanaged() -> OwnedFile {
    OwnedFile::new(NETWORK_PATH, format!("{HEADER}[Match]\nName={INTERFACE}\n\n[Link]\nUnmanaged=yes\n"))
}

/// What makes the interface.
pub const UNIT: &str = "enxame-tunnel.service";
/// Its file.
pub const UNIT_PATH: &str = "/etc/systemd/system/enxame-tunnel.service";

/// Each step is the same however often it is done, and peers that stay keep their sessions (`wg syncconf`, wg(8)). The key
/// goes through a pipe and is in no argument. No name is looked up, and no peer is waited for.
///
/// It is there before whoever mounts or serves through it, and goes after them.
#[must_use]
pub fn unit(address: Ipv4Addr, network: Ipv4Net, mtu_bytes: u32) -> OwnedFile {
    let length = network.prefix_len();
    let steps = [
        // By its name: what is on a black list is not loaded for an interface of its kind.
        format!("-modprobe {MODULE}"),
        format!("-ip link add {INTERFACE} type wireguard"),
        // What is only half there must not take the peers away.
        format!(
            "/bin/sh -c 'grep -q ^PrivateKey {KEY_PATH} && test -s {CONF_PATH} && cat {KEY_PATH} {CONF_PATH} | wg syncconf \
             {INTERFACE} /dev/stdin'"
        ),
        format!("ip address replace {address}/{length} dev {INTERFACE}"),
        format!("ip link set {INTERFACE} mtu {mtu_bytes} up"),
    ];
    let lines = |key| steps.iter().flat_map(|step| [key, step.as_str(), "\n"]).collect::<String>();
    let (start, reload) = (lines("ExecStart="), lines("ExecReload="));
    let text = format!(
        "{HEADER}[Unit]\nDescription=Tunnels between the nodes (WireGuard)\n\
         After=local-fs.target enxame-guard.service\nBefore=docker.service nfs-server.service\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\n{start}{reload}\
         ExecStop=-ip link delete {INTERFACE}\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    OwnedFile::new(UNIT_PATH, text)
}

/// The MTU that a unit of ours gives the interface.
pub(super) fn mtu_bytes(unit: &str) -> Option<u32> {
    let step = unit
        .lines()
        .find_map(|line| line.strip_prefix(&format!("ExecStart=ip link set {INTERFACE} mtu ")))?;
    step.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_makes_the_interface_the_same_way_at_boot_and_later() {
        let unit = unit(Ipv4Addr::new(192, 168, 255, 1), "192.168.255.0/24".parse().unwrap(), 1420);
        assert_eq!(mtu_bytes(&unit.content), Some(1420));
        let steps = |key: &str| {
            let lines = unit.content.lines().filter_map(|line| line.strip_prefix(key));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(steps("ExecStart="), steps("ExecReload="));
        insta::assert_snapshot!(unit.content);
    }
}
