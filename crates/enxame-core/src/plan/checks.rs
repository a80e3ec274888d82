//! Looks at the whole cluster for what no resource can mend and no change may ignore.

mod access;
mod bridges;
mod through;
mod unwritable;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::areas::Action;
use crate::areas::firewall::Firewall;
use crate::areas::{machine, tunnel};
use crate::change::{Change, Risk};
use crate::config::{Config, EngineSource, NodeConfig};
use crate::declare::{Finding, Severity};
use crate::facts::{ClusterFacts, EngineState, LocalSwarmState, NodeFacts, Observed, WhatItWas};
use crate::gate::Gate;
use crate::limits::{ROUND_TRIP_LIMIT_US, ROUND_TRIP_WARNING_US};
use crate::names::NodeName;
use crate::version::EngineVersion;

/// What engines before 23.0.7 and 24.0.3 encrypt, whatever port they use.
const VXLAN_PORT: u16 = 4789;
/// Certificates of nodes that join are valid from the manager's clock on.
const CLOCK_SKEW_LIMIT_MS: u64 = 10_000;
/// dockerd, a manager's raft store and the system itself fit into what is sold as 512 MiB. The kernel keeps some of it to itself
/// and counts the rest only: 460 to 490 MiB are seen, and less with memory set aside for crash dumps.
const MEMORY_MINIMUM_BYTES: u64 = 432 * 1024 * 1024;
/// Room for the engine and a few images.
const DISK_MINIMUM_BYTES: u64 = 1024 * 1024 * 1024;

/// `VERSION_ID` of the releases of Debian and Ubuntu that enxame is made for.
const KNOWN_RELEASES: [&str; 4] = ["12", "13", "22.04", "24.04"];

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, at: (Option<&NodeName>, &str), message: String, hint: &str) {
        let (node, section) = at;
        let finding = Finding::new(severity, section, message, hint);
        self.0.push(match node {
            Some(node) => finding.on(node),
            None => finding,
        });
    }
}

/// Everything that can be seen from the facts alone.
pub(super) fn all(config: &Config, facts: &ClusterFacts) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    quorum_shape(config, &mut found);
    quorum_lost(facts, &mut found);
    if config.swarm.autolock {
        let message =
            "autolock: a manager that restarts stays out of the swarm until somebody unlocks it".to_owned();
        let hint = "keep the key away from the servers: docker swarm unlock-key";
        found.add(Severity::Warning, (None, "5.2"), message, hint);
    }
    crossing_the_odd_spi(config, facts, &mut found);
    clones(facts, &mut found);
    clocks(facts, &mut found);
    mixed_engines(config, facts, &mut found);
    found.0.extend(tunnel::checks::findings(config, facts));
    let firewall = Firewall::of(config);
    for node in &config.nodes {
        if let Some(facts) = facts.get(&node.name) {
            of_node((config, &firewall), node, facts, &mut found);
        }
    }
    found.0
}

/// What taking enxame off would cut off.
pub(super) fn of_removal(facts: &ClusterFacts, changes: &[Change]) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    through::changes(facts, changes, &mut found);
    found.0
}

/// What only the finished list of changes shows.
pub(crate) fn of_changes(config: &Config, facts: &ClusterFacts, changes: &[Change]) -> Vec<Finding> {
    let mut found = Findings(unwritable::findings(facts, changes));
    let is_locking = facts
        .values()
        .filter_map(|facts| facts.engine.swarm()?.settings.as_ref())
        .any(|settings| settings.autolock);
    let restarts = changes.iter().filter(|change| matches!(change.risk, Risk::Disruptive(_)));
    let restarts_docker = |change: &&Change| {
        matches!(change.action, Action::Engine(_) | Action::Machine(machine::Action::Reboot(_)))
    };
    for change in restarts
        .filter(restarts_docker)
        .filter(|change| is_locking && is_manager(config, facts, &change.node))
    {
        let message =
            "docker would restart, and autolock keeps it out of the swarm until it is unlocked".to_owned();
        let hint = "take `swarm.autolock` away, apply, and set it again; or do it by hand";
        found.add(Severity::Error, (Some(&change.node), "5.2"), message, hint);
    }
    through::changes(facts, changes, &mut found);
    if changes.iter().any(|change| change.risk == Risk::MayCutSsh) {
        access::tunnels(config, facts, changes, &mut found);
        access::who_would_be_cut_off(config, facts, &mut found);
        access::served(config, facts, changes, &mut found);
    }
    let gates = || {
        let gates = changes.iter().flat_map(|change| &change.gates);
        gates.filter(|gate| matches!(gate, Gate::QuorumSurvives { .. }))
    };
    let Some((ready, managers)) = managers(facts).filter(|_| gates().next().is_some()) else {
        return found.0;
    };
    let quorum = managers / 2 + 1;
    if facts.is_whole() && gates().any(|gate| gate.check(config, facts).is_err()) {
        let message = format!(
            "{ready} of {managers} managers are ready: disturbing one more would lose the quorum of {quorum}"
        );
        let hint = "bring the missing managers back first; `enxame status` names them";
        found.add(Severity::Error, (None, "1.1"), message, hint);
    } else if managers == 2 {
        // Refusing would leave no way on: there is nobody to bring back, and the third may be about to join.
        let message = "a swarm of 2 managers does not answer while one of them is disturbed".to_owned();
        found.add(Severity::Warning, (None, "1.1"), message, "tasks go on; three managers would not stop");
    }
    found.0
}

/// Whether a node manages the swarm, as far as is known.
fn is_manager(config: &Config, facts: &ClusterFacts, node: &NodeName) -> bool {
    let mut swarms = facts.values().filter_map(|facts| facts.engine.swarm());
    let leading = swarms.find(|swarm| swarm.is_manager_with_quorum);
    let address = config.node(node).map(|node| node.address);
    let member = leading.zip(address).and_then(|(swarm, address)| swarm.member_at(address));
    member.is_none_or(|member| member.is_manager)
}

/// Managers that are ready and managers there are, as a manager with quorum sees them.
fn managers(facts: &ClusterFacts) -> Option<(usize, usize)> {
    let swarm =
        facts.values().filter_map(|facts| facts.engine.swarm()).find(|swarm| swarm.is_manager_with_quorum)?;
    let managers = swarm.nodes.iter().filter(|node| node.is_manager);
    let ready =
        managers.clone().filter(|node| node.state == "ready" && node.reachability == "reachable").count();
    Some((ready, managers.count()))
}

fn quorum_shape(config: &Config, found: &mut Findings) {
    let count = config.nodes.len();
    if count < 3 {
        let message = format!("{count} node(s): the swarm does not survive the loss of one");
        found.add(Severity::Warning, (None, "1.1"), message, "three managers survive the loss of one");
    } else if count.is_multiple_of(2) {
        let message = format!("{count} managers survive no more losses than {} do", count - 1);
        found.add(Severity::Warning, (None, "1.1"), message, "use an odd number");
    }
    if count > 7 {
        let message = format!("{count} managers: every write waits for a majority of them");
        found.add(Severity::Warning, (None, "1.1"), message, "Docker advises at most seven");
    }
}

/// Whether nodes are in a swarm and none of them is a manager that reaches the others.
pub(super) fn has_lost_quorum(facts: &ClusterFacts) -> bool {
    let mut swarms = facts.values().filter_map(|facts| facts.engine.swarm());
    facts.values().any(NodeFacts::is_swarm_member) && !swarms.any(|swarm| swarm.is_manager_with_quorum)
}

fn quorum_lost(facts: &ClusterFacts, found: &mut Findings) {
    if has_lost_quorum(facts) {
        // What a silent engine knows of its swarm is not known to be nothing: founding another one would split them.
        for (name, node) in facts.iter().filter(|(_, node)| node.is_swarm_member()) {
            if node.engine.state == EngineState::Absent {
                let message = "has no engine, and the data of a swarm in /var/lib/docker/swarm".to_owned();
                let hint = "install the engine it had, and it is back; or, if that swarm is lost: rm -r /var/lib/docker/swarm";
                found.add(Severity::Error, (Some(name), "1.1"), message, hint);
            }
            if let EngineState::NotAnswering(why) = &node.engine.state {
                let message = format!("is in a swarm, and its engine does not answer: {why}");
                let hint = "on the node: systemctl start docker; `journalctl -u docker` says why it does not";
                found.add(Severity::Error, (Some(name), "1.1"), message, hint);
            }
        }
        let message = "no node is a manager that reaches a majority of the managers: nothing can be changed, running \
                       tasks go on";
        let hint = "bring managers back; if a majority is lost for good, see `docker swarm init --force-new-cluster` \
                    and never `docker swarm leave`";
        found.add(Severity::Error, (None, "1.1"), message.to_owned(), hint);
    }
}

/// The version of a node's engine once the plan is carried out; `None` when it is not known before.
fn version_after(config: &Config, node: &NodeFacts) -> Option<EngineVersion> {
    config.engine.version.or_else(|| node.engine.version().filter(|_| !is_replaced(config, node)))
}

/// Whether another build of the engine takes the place of the one that runs: the version that cluster.yaml names, or the
/// newest of Docker's packages where they are not installed.
fn is_replaced(config: &Config, node: &NodeFacts) -> bool {
    let has_dockers = node.packages.get("docker-ce").is_some_and(|package| package.installed.is_some());
    config.engine.version.is_some() || (config.engine.source == EngineSource::DockerCe && !has_dockers)
}

/// The upgrade itself is a mix of both sides while it lasts: it goes through with nothing running, or not at all.
fn crossing_the_odd_spi(config: &Config, facts: &ClusterFacts, found: &mut Findings) {
    // The newest, where cluster.yaml names none, is on the side of all but a few.
    let will_be_odd = config.engine.version.is_some_and(EngineVersion::has_the_odd_spi);
    let mut swarms = facts.values().filter_map(|facts| facts.engine.swarm());
    let Some(leading) = swarms.find(|swarm| swarm.is_manager_with_quorum) else { return };
    let is_drained = leading.nodes.iter().all(|node| node.availability == "drain");
    for (name, node) in facts.iter() {
        let now = node.engine.version().filter(|now| now.has_the_odd_spi() != will_be_odd);
        if let Some(now) = now.filter(|_| !is_drained && is_replaced(config, node)) {
            let wanted = config.engine.version.map_or("the newest".to_owned(), |version| version.to_string());
            let message = format!(
                "from engine {now} to {wanted}: nodes before and after the change cannot talk on encrypted networks \
                 (moby#51798)"
            );
            let hint = "drain every node first: docker node update --availability drain NODE";
            found.add(Severity::Error, (Some(name), "5.1"), message, hint);
        }
    }
}

fn clones(facts: &ClusterFacts, found: &mut Findings) {
    let mut owners: BTreeMap<&str, &NodeName> = BTreeMap::new();
    for (name, node) in facts.iter().filter(|(_, node)| !node.machine_id.is_empty()) {
        if let Some(first) = owners.insert(&node.machine_id, name) {
            let message = format!("has the same /etc/machine-id as {first}: one is a clone of the other");
            let hint =
                "on one of them: rm /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup";
            found.add(Severity::Error, (Some(name), "2.1"), message, hint);
        }
    }
}

fn clocks(facts: &ClusterFacts, found: &mut Findings) {
    let clocks =
        facts.iter().map(|(name, node)| (node.volatile.clock_unix_ms, name)).filter(|(ms, _)| *ms > 0);
    let (Some(slowest), Some(fastest)) = (clocks.clone().min(), clocks.max()) else { return };
    let skew = fastest.0 - slowest.0;
    if skew > CLOCK_SKEW_LIMIT_MS {
        let message = format!("the clocks of {} and {} are {} s apart", slowest.1, fastest.1, skew / 1000);
        let hint = "apply installs time synchronisation; until it has set the clock, joining can fail";
        found.add(Severity::Warning, (None, "2"), message, hint);
    }
}

fn mixed_engines(config: &Config, facts: &ClusterFacts, found: &mut Findings) {
    let version = |node: &NodeFacts| version_after(config, node);
    let odd: Vec<_> =
        facts.iter().filter(|(_, node)| version(node).is_some_and(EngineVersion::has_the_odd_spi)).collect();
    let others = facts.values().filter_map(version).any(|version| !version.has_the_odd_spi());
    for (name, node) in &odd {
        // What is not there yet is the newest, or what the same release of the distribution gave the others.
        let is_other = |other: &NodeFacts| {
            version(other).is_none()
                && (config.engine.source == EngineSource::DockerCe || other.os.codename != node.os.codename)
        };
        if facts.values().any(is_other) {
            let version = version(node).map(|version| version.to_string()).unwrap_or_default();
            let message = format!(
                "engine {version} cannot talk on encrypted networks to the one that other nodes are about to get \
                 (moby#51798)"
            );
            let hint = "write one version for all into `engine.version`: 29.2.1 or later";
            found.add(Severity::Error, (Some(*name), "5.1"), message, hint);
        }
    }
    if others {
        for (name, node) in odd {
            let version = version(node).map(|version| version.to_string()).unwrap_or_default();
            let message = format!(
                "engine {version} cannot talk to the other nodes' engines on encrypted networks (moby#51798)"
            );
            found.add(Severity::Error, (Some(name), "5.1"), message, "install 29.2.1 or later on all nodes");
        }
    }
}

fn of_node(
    (config, firewall): (&Config, &Firewall<'_>),
    node: &NodeConfig,
    facts: &NodeFacts,
    found: &mut Findings,
) {
    let name = Some(&node.name);
    if !["debian", "ubuntu"].contains(&facts.os.id.as_str()) {
        let message = format!("runs {}, which is neither Debian nor Ubuntu", facts.os.pretty_name);
        found.add(Severity::Error, (name, "2"), message, "install Debian 12 or 13, or Ubuntu 22.04 or 24.04");
    } else if !KNOWN_RELEASES.contains(&facts.os.version_id.as_str()) {
        let message = format!("runs {}, which enxame is not made for", facts.os.pretty_name);
        found.add(
            Severity::Warning,
            (name, "2"),
            message,
            "Debian 12 or 13, or Ubuntu 22.04 or 24.04 is safer",
        );
    }
    if let Some(why) = &facts.os.root_is_not_roots {
        let message = format!(
            "{why}: systemd makes nothing below it (\"unsafe path transition\"), and whoever it is replaces what root runs"
        );
        found.add(Severity::Error, (name, "2"), message, "on the node: chown root:root / && chmod 0755 /");
    }
    if let Some(how) = &facts.kernel.shared {
        let message = format!("is a container and no machine: {how}");
        let hint = "take a server with a kernel of its own (KVM and its like): in a container no module can be loaded, and what is \
                    set of its host's kernel is not this server's to set";
        found.add(Severity::Error, (name, "2.2"), message, hint);
    }
    if (1..MEMORY_MINIMUM_BYTES).contains(&facts.hardware.memory_bytes) {
        let message = format!("has {} MiB of memory", facts.hardware.memory_bytes / 1024 / 1024);
        found.add(Severity::Error, (name, "1.1"), message, "a manager needs a server with at least 512 MiB");
    }
    if (1..DISK_MINIMUM_BYTES).contains(&facts.volatile.disk_available_bytes) {
        let message =
            format!("has {} MiB free on /var/lib", facts.volatile.disk_available_bytes / 1024 / 1024);
        found.add(Severity::Warning, (name, "1.1"), message, "the engine needs at least 1 GiB");
    }
    for interrupted in &facts.interrupted {
        let message = format!("`{}` was begun by {} and not ended", interrupted.change, interrupted.operator);
        found.add(Severity::Warning, (name, "5"), message, "apply goes on from there");
    }
    not_put_back(node, facts, found);
    addresses(node, facts, found);
    access::ssh((config, firewall), node, facts, found);
    access::foreign_rules(node, facts, found);
    engine(config, node, facts, found);
    paths(config, node, facts, found);
    bridges::look(node, facts, found);
}

/// What an unconfirmed change left behind. A change on top of it would hide what the file was.
fn not_put_back(node: &NodeConfig, facts: &NodeFacts, found: &mut Findings) {
    for left in &facts.not_put_back {
        let (path, change) = (&left.path, &left.change);
        let message = format!("`{change}` was not confirmed, and this could not be put back: {left}");
        let hint = match &left.what_it_was {
            WhatItWas::InCopy(copy) => {
                format!(
                    "on the node: take away what stands in the way, then mv -T {copy} {path}; or, where the file is as you want \
                     it, rm {copy}"
                )
            }
            WhatItWas::Lost => format!("make {path} again by hand, e.g. from its package"),
            WhatItWas::NoFile => format!("on the node: take {path} away"),
        };
        found.add(Severity::Error, (Some(&node.name), "3.2"), message, &hint);
    }
}

fn addresses(node: &NodeConfig, facts: &NodeFacts, found: &mut Findings) {
    let has = facts.interfaces.iter().any(|interface| interface.addresses.contains(&node.address));
    if !has && !facts.interfaces.is_empty() {
        let message = format!("does not carry the address {} on any interface", node.address);
        let hint = "give the address the server itself has; swarm cannot advertise one that is translated on the way";
        found.add(Severity::Error, (Some(&node.name), "5.2"), message, hint);
    }
}

fn engine(config: &Config, node: &NodeConfig, facts: &NodeFacts, found: &mut Findings) {
    let name = Some(&node.name);
    let EngineState::Running { version, version_text, live_restore, swarm, .. } = &facts.engine.state else {
        return;
    };
    match version {
        _ if is_replaced(config, facts) => {}
        Some(version) if version.leaks_encrypted_overlays() => {
            let message =
                format!("engine {version} may send encrypted networks' traffic in clear (CVE-2023-28841)");
            found.add(Severity::Error, (name, "2.2"), message, "upgrade to 20.10.24, 23.0.3 or later");
        }
        Some(_) => {}
        None => {
            let message = format!("the engine's version `{version_text}` is not one that can be compared");
            found.add(Severity::Error, (name, "5.1"), message, "install a released version");
        }
    }
    let port = config.swarm.data_path_port;
    let too_old = version_after(config, facts).filter(|version| !version.encrypts_on_any_port());
    if let Some(version) = too_old.filter(|_| port != VXLAN_PORT) {
        let message =
            format!("engine {version} encrypts on port {VXLAN_PORT} only, not on {port} (moby#45637)");
        let hint = "take `swarm.data_path_port` away, or use engine 23.0.7, 24.0.3 or later";
        found.add(Severity::Error, (name, "5.2"), message, hint);
    }
    if *live_restore {
        let message = "`live-restore` is on, which excludes swarm mode".to_owned();
        found.add(Severity::Error, (name, "5.2"), message, "take it out of /etc/docker/daemon.json");
    }
    match swarm.local {
        LocalSwarmState::Locked => {
            let message = "the swarm's key store is locked".to_owned();
            found.add(Severity::Error, (name, "5.2"), message, "on the node: docker swarm unlock");
        }
        LocalSwarmState::Error => {
            let message = format!("the swarm does not work here: {}", swarm.error);
            let hint = "see `journalctl -u docker` on the node";
            found.add(Severity::Error, (name, "1.1"), message, hint);
        }
        LocalSwarmState::Inactive | LocalSwarmState::Pending | LocalSwarmState::Active => {}
    }
}

/// The ways to the peers. There are as many as pairs of nodes: a healthy one costs no look-up.
fn paths(config: &Config, node: &NodeConfig, facts: &NodeFacts, found: &mut Findings) {
    let name = Some(&node.name);
    let name_of = |address: &IpAddr| config.peers_of(&node.name).find(|peer| peer.address == *address);
    for (address, route) in &facts.routes {
        match route {
            Observed::Known(route) if route.source == node.address => {}
            Observed::Known(route) => {
                let Some(peer) = name_of(address) else { continue };
                let message =
                    format!("would send from {} to {}, not from {}", route.source, peer.name, node.address);
                let hint = "VXLAN leaves by the route's source address (moby#53004): give that address, or mend the route";
                found.add(Severity::Error, (name, "5.2"), message, hint);
            }
            Observed::Unknown(why) => {
                let Some(peer) = name_of(address) else { continue };
                let message = format!("has no route to {}: {why}", peer.name);
                found.add(
                    Severity::Error,
                    (name, "5.2"),
                    message,
                    "check the address and the server's network",
                );
            }
        }
    }
    for (address, round_trip) in &facts.volatile.round_trip_us {
        let Some(us) = round_trip.filter(|us| *us >= ROUND_TRIP_WARNING_US) else { continue };
        let Some(peer) = name_of(address) else { continue };
        let message = format!("{} ms to {} and back", us / 1000, peer.name);
        if us >= ROUND_TRIP_LIMIT_US {
            let message = format!("{message}: elections become unstable");
            found.add(Severity::Error, (name, "1.2"), message, "put the managers closer together");
        } else {
            let hint = "consider a longer `swarm.heartbeat_seconds`";
            found.add(Severity::Warning, (name, "1.2"), message, hint);
        }
    }
}
