//! Who gets in: the operator by SSH, and what rules of others let past the firewall's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Findings, through};
use crate::areas::firewall::{self, Firewall, Opening, Service, brief};
use crate::areas::tunnel;
use crate::change::{Change, Risk};
use crate::config::{Config, NodeConfig, OpeningConfig, OpeningProtocol, SWARM_MANAGEMENT_PORT};
use crate::declare::{Severity, Waiver};
use crate::facts::{
    ClusterFacts, EngineState, Listener, NetworkFacts, NodeFacts, Observed, SshSession, SwarmFacts,
    SwarmNodeFacts,
};
use crate::names::NodeName;

/// What would cut off SSH, as far as can be seen: an error unless the user goes on in spite of it.
pub(super) fn refuse(node: &NodeName, message: String, hint: &str, found: &mut Findings) {
    found.add(Severity::Error, (Some(node), "3.2"), message, hint);
    if let Some(finding) = found.0.last_mut() {
        finding.waiver = Some(Waiver::AllowSshCut);
    }
}

/// Whether the operator gets in again.
pub(super) fn ssh(
    (config, firewall): (&Config, &Firewall<'_>),
    node: &NodeConfig,
    facts: &NodeFacts,
    found: &mut Findings,
) {
    if let Some(change) = &facts.filter.unconfirmed {
        let message = format!("`{change}` was not confirmed, and the node is about to put it back");
        found.add(
            Severity::Warning,
            (Some(&node.name), "3.2"),
            message,
            "apply puts it back at once and goes on",
        );
    }
    let openings = firewall.on_node(node, facts.ssh_session);
    let refuse = |found: &mut Findings, message, hint| refuse(&node.name, message, hint, found);
    let is_somebody_elses = |network: &IpNet| {
        !network.addr().is_loopback()
            && !config.nodes.iter().any(|node| IpNet::from(node.address) == *network)
    };
    let is_covered = |from: IpAddr| config.ssh.allow_from.iter().any(|network| network.contains(&from));
    match facts.ssh_session {
        Some(session) if tunnel::carries(facts, session) => {
            through::session((config, firewall), node, session, found);
        }
        None if config.ssh.allow_from.is_empty() => {
            let message = "would let nobody in by SSH: sshd does not say where you come from".to_owned();
            refuse(found, message, "name your address in `ssh.allow_from`");
        }
        None => {
            let message =
                "sshd does not say where you come from: nobody can tell whether you get in again".to_owned();
            let hint =
                "see that `ssh.allow_from` covers it; the node goes back by itself if you do not get in";
            found.add(Severity::Warning, (Some(&node.name), "3.2"), message, hint);
        }
        Some(session) if !firewall::admits(&openings, session.from, Service::Tcp(session.port)) => {
            let message = format!("would not let you in any more: you come from {}", session.from);
            let hint = "add it to `ssh.allow_from`, or take `ssh.allow_operator: false` away";
            refuse(found, message, through::how_in(config, facts).unwrap_or(hint));
        }
        // Applied from one of the nodes: the others let in that node, and your own machine is named nowhere.
        Some(session)
            if !is_somebody_elses(&IpNet::from(session.from))
                && !config.ssh.allow_from.iter().any(is_somebody_elses) =>
        {
            let message = format!("would let nobody in by SSH but the nodes themselves ({})", session.from);
            refuse(found, message, "name the address you come from in `ssh.allow_from`");
        }
        Some(session) if !is_covered(session.from) => {
            let message = format!("SSH is let in from {} for as long as you apply from there", session.from);
            let hint = "name it, or the network it changes in, in `ssh.allow_from`; the next apply from elsewhere replaces it";
            // The same of every node, mostly: it is said once.
            if !found.0.iter().any(|one| one.message == message) {
                found.add(Severity::Warning, (None, "3.2"), message, hint);
            }
        }
        Some(_) => {}
    }
}

/// Whether the operator comes through a tunnel that ends on a node whose firewall changes: what carries the tunnel has to get
/// in too. The confirmation would not notice, because it rides on packets of the tunnel that the node knows already.
pub(super) fn tunnels(config: &Config, facts: &ClusterFacts, changes: &[Change], found: &mut Findings) {
    let cutting = changes.iter().filter(|change| change.risk == Risk::MayCutSsh);
    for node in cutting.map(|change| &change.node).collect::<BTreeSet<_>>() {
        let facts = facts.get(node).and_then(|facts| Some((facts, facts.ssh_session?)));
        if let Some(message) = facts.and_then(|(facts, session)| cut_off_when_idle(config, facts, session)) {
            let hint = "name its port in `firewall.openings`, or a public address of yours in `ssh.allow_from`; where the node \
                        itself opens the tunnel: --allow-ssh-cut. That you are cut off would show too late to go back";
            refuse(node, message, hint, found);
        }
    }
}

fn cut_off_when_idle(config: &Config, facts: &NodeFacts, session: SshSession) -> Option<String> {
    if tunnel::carries(facts, session) {
        // Its port is open to every operator; whether he is one is looked at with the session.
        return None;
    }
    let carrier = carrier(facts, session)?;
    let is_udp = |opening: &OpeningConfig| opening.protocol == OpeningProtocol::Udp;
    let is_reached_otherwise = config.ssh.allow_from.iter().any(firewall::has_public);
    (!is_reached_otherwise && !config.firewall.openings.iter().any(is_udp)).then(|| {
        format!("would cut you off once {carrier} is idle: you come through it, and nothing lets it in")
    })
}

/// The tunnel by which the operator comes, in words: what the answers to him leave by, whatever address he asked for.
fn carrier(facts: &NodeFacts, session: SshSession) -> Option<String> {
    let asked = facts.interfaces.iter().find(|interface| interface.addresses.contains(&session.to));
    let name = facts.ssh_answers_by.as_deref().or(asked.map(|interface| interface.name.as_str()))?;
    match facts.interfaces.iter().find(|interface| interface.name == name) {
        Some(interface) => firewall::is_tunnel(interface, facts).then(|| format!("the tunnel {name}")),
        // What somebody on the node itself carries goes out by itself. All else that is no interface of the node's own is
        // the engine's: a container has the tunnel's end.
        None => (name != "lo").then(|| format!("the container's tunnel behind {name}")),
    }
}

/// What ufw's own before.rules let in: answers to DHCP clients, and names on the link (mDNS).
const LET_IN_BY_UFW: [Service; 3] = [Service::Udp(68), Service::Udp(546), Service::Udp(5353)];

/// What works now and would not behind the firewall: members of the swarm and networks that cluster.yaml does
/// not know, and what services publish.
pub(super) fn who_would_be_cut_off(config: &Config, facts: &ClusterFacts, found: &mut Findings) {
    let mut swarms = facts.values().filter_map(|facts| facts.engine.swarm());
    let Some(swarm) = swarms.find(|swarm| swarm.is_manager_with_quorum) else { return };
    let is_known = |member: &SwarmNodeFacts| {
        config
            .nodes
            .iter()
            .any(|node| member.address.parse() == Ok(node.address) || member.hostname == node.name.as_str())
    };
    for member in swarm.nodes.iter().filter(|member| member.state == "ready" && !is_known(member)) {
        let message = format!(
            "the firewall would cut off {} ({}), a member of the swarm that cluster.yaml does not name",
            member.hostname, member.address
        );
        let hint = "add it to `nodes`, or take it out of the swarm first";
        found.add(Severity::Error, (None, "3.2"), message, hint);
    }
    let managed = swarm.nodes.iter().filter_map(|member| Some((member, member.management_port?)));
    for (member, port) in managed.filter(|(_, port)| *port != SWARM_MANAGEMENT_PORT) {
        let message = format!(
            "{} is managed at port {port}, and the firewall would let in none but {SWARM_MANAGEMENT_PORT}",
            member.hostname
        );
        let hint = "take it out of the swarm and let apply join it again, at the usual port";
        found.add(Severity::Error, (None, "3.2"), message, hint);
    }
    let is_plaintext =
        |name: &str| config.networks.plaintext.as_ref().is_some_and(|one| one.as_str() == name);
    // One that nothing uses is made again, encrypted.
    let is_remade = |network: &NetworkFacts| {
        network.name == config.networks.secure.as_str() && network.services.is_empty()
    };
    let open = swarm.networks.iter().filter(|network| !network.is_encrypted && !network.is_ingress);
    for network in open.filter(|network| !is_plaintext(&network.name) && !is_remade(network)) {
        let used = if network.services.is_empty() {
            String::new()
        } else {
            format!(" (used by {})", network.services.join(", "))
        };
        let message = format!(
            "the network {} is not encrypted: the guard would let nothing of it out of a node{used}",
            network.name
        );
        let hint = "take its services off it and remove it, make it again with `--opt encrypted`, or name it in \
                    `networks.plaintext`";
        found.add(Severity::Error, (None, "5.3"), message, hint);
    }
    published(config, swarm, found);
}

/// What else can be reached on nodes whose firewall changes, and nobody outside would reach any more: what containers of no
/// service publish, and what programs serve.
pub(super) fn served(config: &Config, facts: &ClusterFacts, changes: &[Change], found: &mut Findings) {
    let firewall = Firewall::of(config);
    let services = facts.values().filter_map(|facts| facts.engine.swarm());
    let of_services: BTreeSet<Service> =
        services.flat_map(|swarm| swarm.published.values().flatten().copied()).collect();
    let cutting = changes.iter().filter(|change| change.risk == Risk::MayCutSsh);
    for name in cutting.map(|change| &change.node).collect::<BTreeSet<_>>() {
        let (Some(node), Some(facts)) = (config.node(name), facts.get(name)) else { continue };
        let is_in = |openings: &[Opening], service: Service| {
            openings.iter().any(|opening| opening.service == service)
        };
        let to_containers = firewall.to_containers(node);
        let mut on_node = firewall.on_node(node, facts.ssh_session);
        on_node.extend(firewall.in_the_tunnel(node, facts.ssh_session).into_iter().flatten());
        let mut warn = |what: String, ports: Vec<Service>| {
            let message = format!("{what} {}, which the firewall closes to everybody", told(&ports));
            let hint =
                "what is wanted from outside: `firewall.public_ports`, or `firewall.openings` for some only";
            found.add(Severity::Warning, (Some(name), "3.2"), message, hint);
        };
        for (container, ports) in &facts.volatile.containers {
            let closed: Vec<Service> =
                ports.iter().filter(|port| !is_in(&to_containers, **port)).copied().collect();
            if !closed.is_empty() {
                warn(format!("the container {container} publishes"), closed);
            }
        }
        let of_containers: BTreeSet<Service> =
            facts.volatile.containers.values().flatten().copied().collect();
        let is_told = |service: &Service| {
            of_services.contains(service)
                || of_containers.contains(service)
                || *service == Service::Udp(config.swarm.data_path_port)
                || LET_IN_BY_UFW.contains(service)
        };
        let mut closed: BTreeMap<&str, Vec<Service>> = BTreeMap::new();
        for Listener { at, program } in &facts.volatile.listening {
            if !is_told(at) && !is_in(&on_node, *at) {
                closed.entry(program).or_default().push(*at);
            }
        }
        for (program, ports) in closed {
            let program = if program.is_empty() { "the kernel" } else { program };
            warn(format!("{program} listens at"), ports);
        }
    }
}

/// Ports as people read them.
fn told(ports: &[Service]) -> String {
    let text = |service: &Service| Some(format!("{} {}", service.protocol(), service.port()?));
    ports.iter().filter_map(text).collect::<Vec<_>>().join(", ")
}

/// What services publish and nobody outside would reach any more.
fn published(config: &Config, swarm: &SwarmFacts, found: &mut Findings) {
    let openings = firewall::public(config);
    for (service, ports) in &swarm.published {
        let is_open = |port: &&Service| openings.iter().any(|opening| opening.service == **port);
        let closed: Vec<Service> = ports.iter().filter(|port| !is_open(port)).copied().collect();
        if !closed.is_empty() {
            let message = format!(
                "the service {service} publishes {}, which the firewall closes to everybody",
                told(&closed)
            );
            let hint =
                "what is wanted from outside: `firewall.public_ports`, or `firewall.openings` for some only";
            found.add(Severity::Warning, (None, "3.2.3"), message, hint);
        }
    }
}

/// Rules that are nobody's whom enxame knows, in front of those that close: the guard stands before them, and they before
/// the rest.
pub(super) fn foreign_rules(node: &NodeConfig, facts: &NodeFacts, found: &mut Findings) {
    let mut warn = |section: &str, message: String, hint: &str| {
        found.add(Severity::Warning, (Some(&node.name), section), message, hint);
    };
    for (family, table) in [("iptables", &facts.filter.ipv4), ("ip6tables", &facts.filter.ipv6)] {
        let Observed::Known(table) = table else { continue };
        if !table.accepted_before_ufw.is_empty() {
            let message = format!(
                "{family} has rules of others in INPUT that let in before ufw has a say: {}",
                brief::named(&table.accepted_before_ufw)
            );
            let hint = "only the guard closes what they open; take them away, and name what is wanted in `firewall.openings`";
            warn("3.2.1", message, hint);
        }
        let passing = table.accepted_before_docker_user.as_deref().unwrap_or_default();
        if !passing.is_empty() {
            let message = format!(
                "{family} has rules in FORWARD that let pass before DOCKER-USER has a say: {}",
                brief::named(passing)
            );
            warn("3.2.3", message, "only the guard closes what they open; take them away, or restart docker");
        }
    }
    // The engine makes the jump where it starts, for IPv6 from 27 on.
    let Observed::Known(table) = &facts.filter.ipv4 else { return };
    let engine_runs = matches!(facts.engine.state, EngineState::Running { .. });
    if engine_runs && table.accepted_before_docker_user.is_none() {
        let message =
            "iptables' FORWARD does not come to DOCKER-USER: only the guard closes what Docker publishes"
                .to_owned();
        warn("3.2.3", message, "on the node: systemctl restart docker; somebody flushed its rules");
    }
}
