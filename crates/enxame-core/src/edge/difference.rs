//! From what the provider has to what is to be done about it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Activation, EdgeChange, EdgeFacts, EdgeRule, Machine, RuleFacts};
use crate::areas::firewall::{self, Firewall, Opening, Service, Source};
use crate::areas::tunnel;
use crate::change::Difference;
use crate::config::{Config, NodeConfig};
use crate::declare::{Finding, Severity, Waiver};
use crate::facts::{ClusterFacts, NodeFacts};

const SECTION: &str = "3.1";

/// What is to be done at the provider, if anything, and what stands in the way.
pub(crate) fn difference(
    config: &Config,
    facts: &ClusterFacts,
    edge: &EdgeFacts,
) -> (Option<EdgeChange>, Vec<Finding>) {
    // A connection from the machine to itself does not pass the provider.
    let sessions = facts.values().filter_map(|node| node.ssh_session);
    let sessions = sessions.filter(|session| !session.from.is_loopback()).collect();
    let openings = Firewall::of(config).at_the_edge(&sessions);
    let change = change(config, edge, &openings);
    let mut findings = of_machines(config, edge);
    findings.extend(of_strangers(edge, change.is_some()));
    if let Some(change) = &change {
        for node in &config.nodes {
            let seen = facts.get(&node.name);
            findings.extend(seen.and_then(|seen| cut_off(config, node, seen, &openings)));
        }
        findings.extend(locked(edge, change));
    }
    (change, findings)
}

fn change(config: &Config, edge: &EdgeFacts, openings: &[Opening]) -> Option<EdgeChange> {
    let wanted: BTreeMap<EdgeRule, &str> = openings
        .iter()
        .rev()
        .flat_map(|opening| EdgeRule::of(opening).into_iter().map(|rule| (rule, opening.purpose.as_ref())))
        .collect();
    let (kept, delete) = sorted_out(edge, &wanted);
    let add: Vec<EdgeRule> = wanted.keys().copied().filter(|rule| !kept.contains(rule)).collect();
    let is_out_of_sync = edge.firewall.as_ref().is_some_and(|firewall| !firewall.is_synced);
    let id = edge.firewall.as_ref().map(|firewall| firewall.id);
    let (mut sync, activate) = machines(config, edge, id);
    if add.is_empty() && delete.is_empty() && !is_out_of_sync {
        sync.clear();
    }
    let is_done = id.is_some() && add.is_empty() && delete.is_empty() && activate.is_empty();
    if is_done && sync.is_empty() {
        return None;
    }
    let name = &config.firewall.edge.firewall;
    let mut differences = Vec::new();
    if id.is_none() {
        differences
            .push(Difference::added(format!("firewall {name}"), "made; it drops what no rule accepts"));
    }
    differences.extend(add.iter().map(|rule| {
        let purpose = wanted.get(rule).copied().unwrap_or_default();
        Difference::added(format!("rule {rule}"), purpose)
    }));
    differences.extend(delete.iter().map(|rule| Difference::removed(format!("rule {rule}"), "not wanted")));
    if is_out_of_sync && !sync.is_empty() {
        differences.push(Difference::changed(
            format!("firewall {name}"),
            "changed since the servers were told",
            "in force",
        ));
    }
    differences.extend(activate.iter().map(|one| match one.replaces {
        Some(other) => {
            let other = edge.names.get(&other).cloned().unwrap_or_else(|| format!("number {other}"));
            Difference::changed(format!("firewall of {}", one.node), other, name.as_str())
        }
        None => Difference::added(format!("firewall of {}", one.node), name.as_str()),
    }));
    let (summary, reason) = told(id, activate.len(), add.len() + delete.len());
    Some(EdgeChange {
        provider: edge.provider.clone(),
        name: name.clone(),
        summary,
        reason: reason.to_owned(),
        section: SECTION.to_owned(),
        differences,
        firewall: id,
        is_out_of_sync,
        add,
        sync,
        activate,
        delete,
    })
}

/// The wanted rules that are there, and the rules that are not wanted: of two that say the same the second.
fn sorted_out(edge: &EdgeFacts, wanted: &BTreeMap<EdgeRule, &str>) -> (BTreeSet<EdgeRule>, Vec<RuleFacts>) {
    let (mut kept, mut stale) = (BTreeSet::new(), Vec::new());
    for rule in edge.firewall.iter().flat_map(|firewall| &firewall.rules) {
        let meaning = rule.meaning().filter(|meaning| wanted.contains_key(meaning));
        if !meaning.is_some_and(|meaning| kept.insert(meaning)) {
            stale.push(rule.clone());
        }
    }
    (kept, stale)
}

/// Who has the firewall, and who gets it.
fn machines(config: &Config, edge: &EdgeFacts, id: Option<u64>) -> (Vec<Machine>, Vec<Activation>) {
    let (mut sync, mut activate) = (Vec::new(), Vec::new());
    for (node, machine) in config.nodes.iter().filter_map(|node| Some((node, edge.machines.get(&node.name)?)))
    {
        let node = node.name.clone();
        if id.is_some() && machine.firewall == id {
            sync.push(Machine { id: machine.id, node });
        } else {
            activate.push(Activation { id: machine.id, node, replaces: machine.firewall });
        }
    }
    (sync, activate)
}

fn told(firewall: Option<u64>, activated: usize, rules: usize) -> (String, &'static str) {
    let servers = if activated == 1 { "1 server".to_owned() } else { format!("{activated} servers") };
    match (firewall, activated, rules) {
        (None, ..) => (
            format!("make the firewall and put it in front of {servers}"),
            "it drops what comes in before it costs the servers anything; nothing is dropped there now",
        ),
        (Some(_), 0, 0) => (
            "put the firewall's rules in force".to_owned(),
            "they were changed, and the servers are still filtered by the old ones",
        ),
        (Some(_), 0, _) => (
            "change the firewall's rules".to_owned(),
            "they are not what the swarm needs; new ones are in force before old ones go",
        ),
        (Some(_), ..) => (
            format!("put the firewall in front of {servers}"),
            "it drops what comes in before it costs the servers anything",
        ),
    }
}

fn of_machines(config: &Config, edge: &EdgeFacts) -> Vec<Finding> {
    let missing = config.nodes.iter().filter(|node| !edge.machines.contains_key(&node.name));
    let missing = missing.map(|node| {
        let message = format!("no virtual machine of the {} account has {}", edge.provider, node.address);
        let hint = "use the token of the account that the server is in, or `firewall.edge.provider: manual`";
        Finding::error(SECTION, message, hint).on(&node.name)
    });
    missing.collect()
}

/// Machines that are no nodes and have the firewall: another cluster's, perhaps, which a change of its rules would cut off.
fn of_strangers(edge: &EdgeFacts, is_changed: bool) -> Vec<Finding> {
    let severity = if is_changed { Severity::Error } else { Severity::Warning };
    let strangers = edge.strangers.iter().map(|(id, name)| {
        let message = format!(
            "the machine {name} ({id}) is no node and has the cluster's firewall: a change of its rules would reach it too"
        );
        let hint = "another cluster's: name a firewall of your own in `firewall.edge.firewall`; a node that was: take the \
                    firewall from it in the provider's panel";
        Finding::new(severity, SECTION, message, hint)
    });
    strangers.collect()
}

/// Whether the rules would cut off the connection that the node was looked at through.
fn cut_off(config: &Config, node: &NodeConfig, seen: &NodeFacts, openings: &[Opening]) -> Option<Finding> {
    let message = match seen.ssh_session {
        Some(session) if session.from.is_loopback() && !config.ssh.allow_from.is_empty() => return None,
        // What carries it is let in from wherever it comes.
        Some(session) if tunnel::carries(seen, session) && lets_tunnels_in(config, openings) => return None,
        Some(session) if firewall::admits(openings, session.from, Service::Tcp(session.port)) => return None,
        Some(session) => format!(
            "the provider's firewall would cut you off: {} may not reach port {} (SSH)",
            session.from, session.port
        ),
        None if config.ssh.allow_from.is_empty() => {
            "the provider's firewall would let in nobody by SSH, and where you come from is not known"
                .to_owned()
        }
        None => return None,
    };
    let hint = "write where you log in from: `ssh: {allow_from: [ADDRESS]}`";
    Some(Finding::error(SECTION, message, hint).on(&node.name).waived_by(Waiver::AllowSshCut))
}

fn lets_tunnels_in(config: &Config, openings: &[Opening]) -> bool {
    let service = config.tunnel.as_ref().map(|tunnel| Service::Udp(tunnel.port));
    openings.iter().any(|opening| Some(opening.service) == service && opening.source == Source::Anywhere)
}

fn locked(edge: &EdgeFacts, change: &EdgeChange) -> Vec<Finding> {
    let synced = change.sync.iter().map(|machine| &machine.node);
    let touched: BTreeSet<_> = synced.chain(change.activate.iter().map(|one| &one.node)).collect();
    let is_locked = |node| edge.machines.get(node).is_some_and(|machine| machine.is_locked);
    let locked = touched.into_iter().filter(|node| is_locked(node)).map(|node| {
        let message =
            format!("{} is busy with the virtual machine and takes no orders for it", edge.provider);
        let hint = "wait until what runs there has ended; the provider's panel shows it";
        Finding::error(SECTION, message, hint).on(node)
    });
    locked.collect()
}
