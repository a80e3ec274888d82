//! Who gets in: the operator by SSH, and what rules of others let past the firewall's own.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Findings;
use crate::config::{Config, NodeConfig};
use crate::declare::{Severity, Waiver};
use crate::facts::{EngineState, NodeFacts, Observed, SshSession};
use crate::firewall::{self, Firewall, Service};

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
    let refuse = |found: &mut Findings, message: String, hint: &str| {
        found.add(Severity::Error, (Some(&node.name), "3.2"), message, hint);
        if let Some(finding) = found.0.last_mut() {
            finding.waiver = Some(Waiver::AllowSshCut);
        }
    };
    let is_somebody_elses = |network: &IpNet| {
        !network.addr().is_loopback()
            && !config.nodes.iter().any(|node| IpNet::from(node.address) == *network)
    };
    let is_covered = |from: IpAddr| config.ssh.allow_from.iter().any(|network| network.contains(&from));
    if let Some(session) = facts.ssh_session {
        tunnel(config, node, facts, session, found);
    }
    match facts.ssh_session {
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
            refuse(found, message, "add it to `ssh.allow_from`, or take `ssh.allow_operator: false` away");
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

/// Whether the operator comes through a tunnel that ends on the node: what carries the tunnel has to get in too.
fn tunnel(config: &Config, node: &NodeConfig, facts: &NodeFacts, session: SshSession, found: &mut Findings) {
    let carries = |address: &IpAddr| *address == session.to;
    let reached = facts.interfaces.iter().find(|interface| interface.addresses.iter().any(carries));
    let Some(tunnel) = reached.filter(|interface| firewall::is_tunnel(&interface.name)) else { return };
    if config.firewall.openings.is_empty() {
        let message =
            format!("you come through the tunnel {}, and nothing lets the tunnel itself in", tunnel.name);
        let hint = "name its port in `firewall.openings`, unless the node opens the tunnel to the outside; the node goes back \
                    by itself if you are cut off";
        found.add(Severity::Warning, (Some(&node.name), "3.2"), message, hint);
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
                table.accepted_before_ufw.join("; ")
            );
            let hint = "only the guard closes what they open; take them away, and name what is wanted in `firewall.openings`";
            warn("3.2.1", message, hint);
        }
        let passing = table.accepted_before_docker_user.as_deref().unwrap_or_default();
        if !passing.is_empty() {
            let message = format!(
                "{family} has rules in FORWARD that let pass before DOCKER-USER has a say: {}",
                passing.join("; ")
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
