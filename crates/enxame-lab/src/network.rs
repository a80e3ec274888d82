//! The laboratory's Internet: four network namespaces, a bridge, one tap per node, a router.
//!
//! Owns the namespaces named in [`Namespace`]. Invariant: no link leads from them to the machine's own
//! network; what the nodes may fetch goes through the package proxy, which relays connections and is no route.

use std::{
    fs,
    fs::File,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::{
    tool::Tool,
    topology::{BRIDGE, NODES, Namespace, Node, OPERATOR, OUTSIDER, Place, ROUTER, ROUTER6},
};

/// Makes the whole network. What an earlier laboratory left is removed first.
pub(crate) fn set_up() -> Result<()> {
    tear_down()?;
    for namespace in Namespace::ALL {
        Tool::new("ip").args(["netns", "add", namespace.name()]).run()?;
    }
    for (namespace, commands) in links() {
        Tool::new("ip")
            .args(["-netns", namespace.name(), "-batch", "-"])
            .input(commands.join("\n") + "\n")
            .run()
            .with_context(|| format!("cannot set up the network namespace {}", namespace.name()))?;
    }
    within(Namespace::Internet, || {
        switch("bridge/bridge-nf-call-iptables", "0").or_else(|_| tolerate_no_br_netfilter())
    })?;
    within(Namespace::Router, || {
        // The outsider forges source addresses: a router that checks them would hide what a node does about it.
        for (key, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/internet/rp_filter", "0"),
            ("ipv4/conf/outside/rp_filter", "0"),
        ] {
            switch(key, value)?;
        }
        Ok(())
    })
}

/// Removes the network, as far as it exists.
pub(crate) fn tear_down() -> Result<()> {
    for namespace in Namespace::ALL.into_iter().rev().filter(|namespace| exists(*namespace)) {
        Tool::new("ip").args(["netns", "delete", namespace.name()]).run()?;
    }
    Ok(())
}

/// Whether all of the network is there.
pub(crate) fn is_up() -> bool {
    Namespace::ALL.into_iter().all(exists)
}

fn exists(namespace: Namespace) -> bool {
    path(namespace).exists()
}

fn path(namespace: Namespace) -> PathBuf {
    Path::new("/run/netns").join(namespace.name())
}

/// Does something in a network namespace, on a thread of its own, because a thread cannot come back.
pub(crate) fn within<T, F>(namespace: Namespace, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let handle = File::open(path(namespace))
        .with_context(|| format!("the network namespace {} is gone", namespace.name()))?;
    thread::spawn(move || {
        setns(handle, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter {}", namespace.name()))?;
        work()
    })
    .join()
    .map_err(|_| anyhow!("a thread in {} panicked", namespace.name()))?
}

fn switch(key: &str, value: &str) -> Result<()> {
    fs::write(format!("/proc/sys/net/{key}"), value)
        .with_context(|| format!("cannot set net/{key} to {value}"))
}

/// Without the bridge's netfilter hooks in the kernel there is nothing to switch off.
fn tolerate_no_br_netfilter() -> Result<()> {
    if Path::new("/proc/sys/net/bridge").exists() {
        Err(anyhow!("the bridge passes frames to iptables"))
    } else {
        Ok(())
    }
}

/// The `ip -batch` lines that make each namespace's links, addresses and routes.
fn links() -> [(Namespace, Vec<String>); 4] {
    let gateways =
        |v4: &str, v6: &str| [format!("route add default via {v4}"), format!("route add default via {v6}")];
    let mut internet = vec![
        "link set lo up".to_owned(),
        // Multicast snooping without a querier would lose neighbour discovery.
        format!("link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0"),
        format!("link set {BRIDGE} addrgenmode none up"),
        veth("operator", "eth0", &Place::Operator.mac(), Namespace::Operator),
        veth("router", "internet", &Place::Outsider.mac(), Namespace::Router),
    ];
    internet.extend(NODES.iter().map(|node| format!("tuntap add dev {} mode tap", node.tap())));
    for port in NODES.iter().map(Node::tap).chain(["operator".to_owned(), "router".to_owned()]) {
        internet.push(format!("link set {port} addrgenmode none master {BRIDGE} up"));
    }

    let mut operator = host("eth0", OPERATOR, "2001:db8:113::1");
    operator.extend(gateways(ROUTER, ROUTER6));

    let mut router = host("internet", ROUTER, ROUTER6);
    router.push(veth("outside", "eth0", "52:54:00:51:00:66", Namespace::Outsider));
    router.extend(host("outside", "198.51.100.254", "2001:db8:51::fe"));

    let mut outsider = host("eth0", OUTSIDER, "2001:db8:51::66");
    outsider.extend(gateways("198.51.100.254", "2001:db8:51::fe"));

    [
        (Namespace::Internet, internet),
        (Namespace::Operator, operator),
        (Namespace::Router, router),
        (Namespace::Outsider, outsider),
    ]
}

fn veth(here: &str, there: &str, mac: &str, namespace: Namespace) -> String {
    format!("link add {here} type veth peer name {there} address {mac} netns {}", namespace.name())
}

fn host(link: &str, address: &str, address6: &str) -> Vec<String> {
    vec![
        "link set lo up".to_owned(),
        format!("address add {address}/24 dev {link}"),
        format!("address add {address6}/64 dev {link} nodad"),
        format!("link set {link} up"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_port_on_the_bridge() {
        let [(_, internet), ..] = links();
        for node in &NODES {
            assert!(
                internet.contains(&format!("link set {} addrgenmode none master internet up", node.tap()))
            );
        }
    }

    #[test]
    fn work_in_a_namespace_that_is_gone_says_so() {
        if exists(Namespace::Outsider) {
            return;
        }
        let error = within(Namespace::Outsider, || Ok(())).unwrap_err().to_string();
        assert!(error.contains("enxame-outsider is gone"), "{error}");
    }
}
