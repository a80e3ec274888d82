//! Taking enxame off real machines: what was there before the first apply is there again, but for what the manual names.

use std::collections::BTreeSet;

use crate::support::{NODES, applied, enxame, node, on_node, outside, prepared};

/// Every file and link below `/etc` with its content, what the kernel is told, and what filters.
const SNAPSHOT: &str = "find /etc -xdev -type f -printf '%m %U:%G %p\\n'; find /etc -xdev -type f -exec sha256sum {} +; \
    find /etc -xdev -type l -printf 'link %p %l\\n'; hostname; apt-mark showhold; getent group docker; \
    sysctl net.core.somaxconn net.ipv4.tcp_keepalive_time net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes; \
    echo tables of ours: $(nft list tables | grep -c enxame), rules of ours: $(iptables-save | grep -c enxame), \
    of IPv6: $(ip6tables-save | grep -c enxame); iptables -S INPUT | head -1; iptables -S FORWARD | head -1; \
    ls -d /var/lib/enxame /etc/enxame /run/enxame-filter.json /run/enxame-guard.listing 2>/dev/null";

/// What docs/manual.md names as what stays (services that start at boot), and what others write when services start.
const STAYS: [&str; 9] = [
    "/docker.service",
    "/ufw.service",
    "/systemd-timesyncd.service",
    "/dbus-org.freedesktop.timesync1.service",
    "/etc/docker/key.json",
    "/etc/group",
    "/etc/gshadow",
    "/etc/ld.so.cache",
    "/etc/resolv.conf",
];

fn snapshot(name: &str) -> BTreeSet<String> {
    let seen = node(name, SNAPSHOT).stdout;
    let stays = |line: &str| STAYS.iter().any(|path| line.contains(path));
    seen.lines().filter(|line| !stays(line)).map(str::to_owned).collect()
}

#[test]
fn what_was_there_before_apply_is_there_again_after_uninstall_and_the_swarm_goes_only_when_said() {
    prepared();
    let before = NODES.map(|(name, _)| snapshot(name));
    applied();
    assert_ne!(snapshot(NODES[0].0), before[0], "apply changes what is compared");
    let address = NODES[0].1;
    let knock =
        format!("timeout 5 bash -c '</dev/tcp/{address}/2377' 2>/dev/null && echo open || echo closed");
    let is_open = || outside(&["bash", "-c", &knock]);
    assert_eq!(is_open().trim(), "closed");

    let refused = enxame(&["uninstall", "--quiet"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("there is no terminal to ask on"), "{refused}");
    assert!(refused.stdout.contains("open to everybody again"), "{refused}");
    for port in ["2377/tcp", "7946/tcp", "7946/udp", "4789/udp"] {
        assert!(refused.stdout.contains(port), "{port} is to be named: {refused}");
    }

    let gone = enxame(&["uninstall", "--yes", "--quiet"]);
    assert_eq!(gone.code, 0, "{gone}");
    for ((name, _), before) in NODES.iter().zip(&before) {
        let after = snapshot(name);
        let came: Vec<_> = after.difference(before).collect();
        let went: Vec<_> = before.difference(&after).collect();
        assert!(came.is_empty() && went.is_empty(), "{name}: came {came:#?}, went {went:#?}");
        let state = on_node(name, "docker info -f '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}'");
        assert_eq!(state, "active true", "{name}");
    }
    assert_eq!(is_open().trim(), "open", "it was said so");

    let nothing = enxame(&["uninstall", "--yes", "--quiet"]);
    assert_eq!((nothing.code, nothing.stdout.trim()), (0, "Nothing to change."), "{nothing}");

    let left = enxame(&["uninstall", "--swarm", "--yes", "--quiet"]);
    assert_eq!(left.code, 0, "{left}");
    for (name, _) in NODES {
        assert_eq!(on_node(name, "docker info -f '{{.Swarm.LocalNodeState}}'"), "inactive", "{name}");
        assert_eq!(node(name, "ls /var/lib/enxame").stdout.trim(), "", "{name}");
    }
}
