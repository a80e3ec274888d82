//! From the file's shape to a [`Config`]: everything that types alone cannot refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};

use super::error::{ConfigError, Problems};
use super::model::{
    AddressPool, Config, EdgeConfig, EngineConfig, FirewallConfig, NetworksConfig, NodeConfig, OpeningConfig,
    RepositoryConfig, SshConfig, SwarmConfig,
};
use super::reserved::{self, Reserved};
use super::v1::{
    ClusterFile, EngineFile, FirewallFile, NetworksFile, NodeFile, OpeningFile, PoolFile, SshFile, SwarmFile,
};
use super::words::OpeningProtocol;
use crate::names::ObjectName;
use crate::version::EngineVersion;

/// Checks the whole file.
pub(super) fn check(name: &str, text: &str, file: ClusterFile) -> Result<Config, ConfigError> {
    let mut found = Problems::of(name, text);
    if file.version.value != 1 {
        let message = format!("version {} is not known", file.version.value);
        found.add(file.version.referenced, message, "this build reads version 1");
    }
    check_sysctl(&file.sysctl, &mut found);
    let reserved = Reserved::of(&file);
    check_pools(&file.swarm.address_pool, &file.engine.address_pools, &mut found);
    check_data_path_port(&file, &mut found);
    let tunnel = super::tunnel::check(&file, &mut found);
    let storage = super::storage::check(&file, &mut found);
    let edge = super::edge::check(&file.firewall.edge, &file.cluster, &mut found);
    let config = Config {
        cluster: file.cluster,
        ssh: ssh(file.ssh, &mut found),
        nodes: nodes(file.nodes, &mut found),
        engine: engine(file.engine, &mut found),
        swarm: swarm(&file.swarm, &mut found),
        networks: networks(file.networks, &mut found),
        firewall: firewall(&file.firewall, edge, &reserved, &mut found),
        tunnel,
        storage,
        stacks: super::stacks::check(&file.stacks, &mut found),
        sysctl: file.sysctl.into_iter().map(|(key, value)| (key, value.value)).collect(),
    };
    found.into_result(config)
}

fn ssh(file: SshFile, found: &mut Problems<'_>) -> SshConfig {
    if let Some(user) = &file.user {
        check_ssh_word(user, "account", found);
    }
    if let Some(port) = file.port.as_ref().filter(|port| port.value == 0) {
        found.add(port.referenced, "there is no port 0", "1 to 65535");
    }
    SshConfig {
        allow_from: sources(&file.allow_from, found),
        allows_operator: file.allow_operator.0,
        user: file.user.map(|user| user.value),
        port: file.port.map(|port| port.value),
        config_file: file.config_file,
    }
}

fn sources(texts: &[Spanned<String>], found: &mut Problems<'_>) -> BTreeSet<IpNet> {
    texts.iter().filter_map(|text| source(text, found)).collect()
}

/// An address, or a network without bits beyond its prefix.
fn source(text: &Spanned<String>, found: &mut Problems<'_>) -> Option<IpNet> {
    let parsed = text.value.parse::<IpNet>().or_else(|_| text.value.parse::<IpAddr>().map(IpNet::from));
    let Ok(network) = parsed else {
        let message = format!("`{}` is neither an address nor a network", text.value);
        found.add(text.referenced, message, "e.g. 198.51.100.7 or 198.51.100.0/24");
        return None;
    };
    if network.addr() != network.network() {
        let message = format!("{network} has bits beyond its prefix");
        let hint = format!("did you mean {}, or the single address {}?", network.trunc(), network.addr());
        found.add(text.referenced, message, &hint);
    }
    Some(network)
}

fn firewall(
    file: &FirewallFile,
    edge: EdgeConfig,
    reserved: &Reserved,
    found: &mut Problems<'_>,
) -> FirewallConfig {
    FirewallConfig {
        openings: file.openings.iter().map(|one| opening(one, reserved, found)).collect(),
        public_ports: public_ports(&file.public_ports, reserved, found),
        mesh: file.mesh,
        foreign: file.foreign,
        edge,
    }
}

fn opening(file: &OpeningFile, reserved: &Reserved, found: &mut Problems<'_>) -> OpeningConfig {
    let from = sources(&file.from, found);
    let audience = if from.is_empty() || from.iter().any(|network| network.prefix_len() == 0) {
        Audience::Everybody
    } else {
        Audience::Some
    };
    check_declared((file.protocol, &file.port), audience, reserved, found);
    OpeningConfig { protocol: file.protocol, port: file.port.value, from }
}

fn public_ports(ports: &[Spanned<u16>], reserved: &Reserved, found: &mut Problems<'_>) -> BTreeSet<u16> {
    for port in ports {
        check_declared((OpeningProtocol::Tcp, port), Audience::Everybody, reserved, found);
    }
    ports.iter().map(|port| port.value).collect()
}

/// Whom a port is opened to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    Everybody,
    Some,
}

fn check_declared(
    (protocol, port): (OpeningProtocol, &Spanned<u16>),
    audience: Audience,
    reserved: &Reserved,
    found: &mut Problems<'_>,
) {
    if port.value == 0 {
        found.add(port.referenced, "there is no port 0", "1 to 65535");
    } else if protocol == OpeningProtocol::Tcp && port.value == reserved::PROBE_PORT {
        // Whoever it is opened to: a service that is published there takes the place of the proof's.
        let message = format!("port {} is kept for the service that `verify` publishes", port.value);
        found.add(port.referenced, message, "publish yours on another port and declare that one");
    } else if audience == Audience::Everybody
        && let Some(owner) = reserved.owner(port.value)
    {
        let message = format!("port {} is not for everybody: {owner}", port.value);
        found.add(port.referenced, message, "public are ports of your services, such as 80 and 443");
    }
}

/// A word that becomes an argument of `ssh`: it must not be taken for an option.
fn check_ssh_word(word: &Spanned<String>, what: &str, found: &mut Problems<'_>) {
    let text = &word.value;
    if text.is_empty() || text.starts_with('-') || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        found.add(word.referenced, format!("`{text}` is not a {what} that ssh can take"), "");
    }
}

fn nodes(file: Spanned<Vec<NodeFile>>, found: &mut Problems<'_>) -> Vec<NodeConfig> {
    if file.value.is_empty() {
        found.add(file.referenced, "there are no nodes", "three make a swarm that survives the loss of one");
    }
    let (mut names, mut addresses) = (BTreeMap::new(), BTreeMap::new());
    let mut leader = None;
    for node in &file.value {
        let line = node.name.referenced.line();
        if let Some(first) = names.insert(node.name.value.clone(), line) {
            let message = format!("the name `{}` is taken by the node on line {first}", node.name.value);
            found.add(
                node.name.referenced,
                message,
                "a node's name becomes its host name: each needs its own",
            );
        }
        if let Some(first) = addresses.insert(node.address.value, line) {
            let message = format!("the address {} is taken by the node on line {first}", node.address.value);
            found.add(node.address.referenced, message, "");
        }
        check_address(&node.address, found);
        if let Some(host) = &node.ssh_host {
            check_ssh_word(host, "host", found);
        }
        check_labels(&node.labels, found);
        if let Some(wish) = node.preferred_leader.as_ref().filter(|wish| wish.value)
            && let Some(first) = leader.replace(line)
        {
            let message = format!("the node on line {first} is the preferred leader already");
            found.add(wish.referenced, message, "a swarm has one leader: keep one of the two");
        }
    }
    let families = file.value.iter().map(|node| node.address.value.is_ipv4());
    if families.clone().any(|v4| v4) && families.clone().any(|v4| !v4) {
        let message = "some nodes have IPv4 addresses and some IPv6";
        found.add(file.referenced, message, "VXLAN runs over one of the two: give all nodes the same kind");
    }
    file.value.into_iter().map(node).collect()
}

fn node(file: NodeFile) -> NodeConfig {
    let address = file.address.value;
    NodeConfig {
        name: file.name.value,
        address,
        ssh_host: file.ssh_host.map_or_else(|| address.to_string(), |host| host.value),
        tunnel: file.tunnel.map(|tunnel| tunnel.value),
        roles: file.roles,
        is_preferred_leader: file.preferred_leader.is_some_and(|wish| wish.value),
        labels: file.labels.into_iter().map(|(key, value)| (key, value.value)).collect(),
    }
}

fn check_address(address: &Spanned<IpAddr>, found: &mut Problems<'_>) {
    let ip = address.value;
    let unusable = match ip {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if unusable || ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() {
        let message = format!("{ip} is not an address that other servers can reach");
        found.add(address.referenced, message, "give the server's public address");
    }
}

fn check_labels(labels: &BTreeMap<String, Spanned<String>>, found: &mut Problems<'_>) {
    for (key, value) in labels {
        if ["role", "storage", "db", "proxy"].contains(&key.as_str()) {
            let message = format!("the label `{key}` is set from the node's roles");
            found.add(value.referenced, message, "say it with `roles: [storage, db, proxy]`");
        } else if ObjectName::new(key.as_str()).is_err() {
            found.add(value.referenced, format!("`{key}` is not a label's key"), "");
        }
    }
}

fn engine(file: EngineFile, found: &mut Problems<'_>) -> EngineConfig {
    let version = file.version.as_ref().and_then(|text| {
        let version = EngineVersion::parse(&text.value);
        match version {
            None => found.add(
                text.referenced,
                format!("`{}` is not an engine version", text.value),
                "e.g. 28.3.3",
            ),
            Some(version) if version.leaks_encrypted_overlays() => found.add(
                text.referenced,
                format!("engine {version} may send encrypted networks' traffic in clear (CVE-2023-28841)"),
                "use 20.10.24, 23.0.3 or later",
            ),
            Some(_) => {}
        }
        version
    });
    let size = &file.log_max_size;
    let (digits, unit) =
        size.value.split_at(size.value.len() - usize::from(size.value.ends_with(['k', 'm', 'g'])));
    if digits.parse::<u32>().is_err() || unit.is_empty() {
        found.add(
            size.referenced,
            format!("`{}` is not a size", size.value),
            "a number and k, m or g: `10m`",
        );
    }
    let url = &file.repository.url;
    if !(url.value.starts_with("https://") || url.value.starts_with("http://"))
        || url.value.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@')
    {
        found.add(url.referenced, format!("`{}` is not a repository's address", url.value), "");
    }
    let key = &file.repository.key_fingerprint;
    let fingerprint: String = key.value.chars().filter(|c| !c.is_whitespace()).collect();
    if fingerprint.len() != 40 || !fingerprint.bytes().all(|b| b.is_ascii_hexdigit()) {
        found.add(key.referenced, "a key's fingerprint is 40 hexadecimal digits", "");
    }
    EngineConfig {
        source: file.source,
        repository: RepositoryConfig {
            url: file.repository.url.value.trim_end_matches('/').to_owned(),
            key_fingerprint: fingerprint.to_ascii_uppercase(),
        },
        version,
        log_max_size: file.log_max_size.value,
        log_max_files: file.log_max_files.max(1),
        address_pools: file.address_pools.iter().map(|pool| address_pool(pool, found)).collect(),
        docker_group: file.docker_group,
    }
}

/// A subnet that is a bridge's on one node and an overlay network's in the swarm can be routed to one of them only.
fn check_pools(swarm: &Spanned<PoolFile>, bridges: &[Spanned<PoolFile>], found: &mut Problems<'_>) {
    for bridge in bridges {
        let (ours, theirs) = (swarm.value.base, bridge.value.base);
        if ours.contains(&theirs) || theirs.contains(&ours) {
            let message = format!("{theirs} overlaps the swarm's address pool {ours}");
            let place =
                if bridge.referenced == Location::UNKNOWN { swarm.referenced } else { bridge.referenced };
            found.add(place, message, "bridge networks and overlay networks need pools of their own");
        }
    }
}

fn check_data_path_port(file: &ClusterFile, found: &mut Problems<'_>) {
    let version = file.engine.version.as_ref().and_then(|text| EngineVersion::parse(&text.value));
    let port = &file.swarm.data_path_port;
    if port.value != 4789 && version.is_some_and(|version| !version.encrypts_on_any_port()) {
        let message = format!("the engine's version encrypts on port 4789 only, not on {}", port.value);
        found.add(port.referenced, message, "engine 23.0.7, 24.0.3 or later does (moby#45637)");
    }
}

fn address_pool(file: &Spanned<PoolFile>, found: &mut Problems<'_>) -> AddressPool {
    let PoolFile { base, size } = file.value.clone();
    if base.addr() != base.network() {
        let message = format!("{base} has bits beyond its prefix");
        found.add(file.referenced, message, &format!("did you mean {}?", base.trunc()));
    }
    if size <= base.prefix_len() || size > base.max_prefix_len() - 2 {
        let message = format!("subnets of /{size} cannot be taken from {base}");
        found.add(file.referenced, message, "the size is a prefix length, longer than the pool's own");
    }
    AddressPool { base, size }
}

fn swarm(file: &SwarmFile, found: &mut Problems<'_>) -> SwarmConfig {
    let port = &file.data_path_port;
    if !(1024..=49151).contains(&port.value)
        || [reserved::SWARM_MANAGEMENT_PORT, reserved::SWARM_GOSSIP_PORT].contains(&port.value)
    {
        found.add(
            port.referenced,
            format!("{} cannot be the data-path port", port.value),
            "1024 to 49151; 4789",
        );
    }
    let heartbeat = &file.heartbeat_seconds;
    if !(1..=60).contains(&heartbeat.value) {
        let message = format!("a heartbeat of {} s", heartbeat.value);
        found.add(heartbeat.referenced, message, "1 to 60 seconds");
    }
    let pool = &file.address_pool;
    if pool.value.base.addr().is_ipv6() || pool.value.size > 29 {
        let message = format!("the swarm takes no pool of /{} in {}", pool.value.size, pool.value.base);
        found.add(pool.referenced, message, "IPv4, in subnets of /29 or larger");
    }
    SwarmConfig {
        address_pool: address_pool(pool, found),
        data_path_port: port.value,
        heartbeat: Duration::from_secs(heartbeat.value),
        autolock: file.autolock,
    }
}

fn networks(file: NetworksFile, found: &mut Problems<'_>) -> NetworksConfig {
    if file.secure.value.as_str() == "ingress" {
        let message = "`ingress` is the name of the routing mesh's network";
        found.add(file.secure.referenced, message, "give the network for services a name of its own");
    }
    if let Some(plain) = &file.plaintext
        && (plain.value == file.secure.value || plain.value.as_str() == "ingress")
    {
        let message = format!("`{}` is the name of an encrypted network", plain.value);
        found.add(plain.referenced, message, "give the unencrypted network a name of its own");
    }
    if let Some(mtu) = &file.underlay_mtu
        && !(1280..=9000).contains(&mtu.value)
    {
        found.add(mtu.referenced, format!("an MTU of {} bytes", mtu.value), "1280 to 9000");
    }
    NetworksConfig {
        secure: file.secure.value,
        plaintext: file.plaintext.map(|plain| plain.value),
        underlay_mtu_bytes: file.underlay_mtu.map(|mtu| mtu.value),
    }
}

fn check_sysctl(values: &BTreeMap<String, Spanned<String>>, found: &mut Problems<'_>) {
    for (key, value) in values {
        let known = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !known || !key.contains('.') || key.contains("..") {
            found.add(value.referenced, format!("`{key}` is not a sysctl key"), "e.g. net.core.somaxconn");
        }
        if value.value.contains(['\n', '\r']) || value.value.is_empty() {
            found.add(value.referenced, format!("`{key}` needs a value of one line"), "");
        }
    }
}
