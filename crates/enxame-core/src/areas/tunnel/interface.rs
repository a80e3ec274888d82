//! The interface, its address and its peers; and its end, where cluster.yaml has no `tunnel:` any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::conf::{self, Operator, Peer};
use super::{
    CONF_PATH, INTERFACE, NETWORK_PATH, UNIT, UNIT_PATH, Wanted, live, mtu, obstacle, removal, unit,
    unmanaged,
};
use crate::change::{Difference, Handover, Kind, Risk};
use crate::config::{Config, NodeConfig, OperatorConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{DeviceFacts, FactsQuery, FileFacts, Observed, PublicKey};
use crate::files::OwnedFile;
use crate::names::NodeName;

pub(crate) const KIND: Kind = Kind::of("tunnel");

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What makes the interface.
    pub unit: OwnedFile,
    /// The UDP port.
    pub port: u16,
    /// The peers.
    pub peers: Vec<Peer>,
    /// The operators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<Operator>,
    /// How what is there becomes another.
    pub how: How,
}

/// How what is there becomes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// In its place: sessions with peers that stay go on.
    Reload,
    /// From the start: an address goes that it has.
    Restart,
}

/// See the module.
pub(crate) struct TunnelInterface;

impl Declare for TunnelInterface {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "4"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        use crate::areas::firewall::{guard, ufw};
        // The firewall knows the interface before it is there.
        const { &[super::key::KIND, guard::KIND, ufw::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery {
            files: [CONF_PATH, NETWORK_PATH, UNIT_PATH].map(str::to_owned).into(),
            units: [UNIT.to_owned()].into(),
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        if view.config.tunnel.is_none() {
            return removal::tunnel(view, "cluster.yaml has no `tunnel:` any more");
        }
        match Wanted::of(view.config) {
            Some(wanted) if obstacle(view.facts).is_none() => declare(view, wanted),
            Some(_) | None => Declaration::nothing(),
        }
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        removal::tunnel(view, "the tunnel is of enxame's making")
    }
}

/// The peers, the nodes that hand over their key, and those that nobody has a key of.
struct Peers {
    known: Vec<Peer>,
    handing: Vec<NodeName>,
    unknown: Vec<NodeName>,
}

fn peers(view: &View<'_>, port: u16) -> Peers {
    let own = view.facts.files.get(CONF_PATH).and_then(FileFacts::content).unwrap_or_default();
    let mut peers = Peers { known: Vec::new(), handing: Vec::new(), unknown: Vec::new() };
    for node in view.config.peers_of(&view.node.name) {
        let Some(address) = node.tunnel else { continue };
        // A node that does not answer keeps the key that it has here.
        let seen = view.all.get(&node.name);
        let key = match seen {
            Some(facts) => facts.tunnel.key.public().cloned(),
            None => conf::key_at(own, address),
        };
        match (&key, seen) {
            (Some(_), _) => {}
            (None, Some(_)) => peers.handing.push(node.name.clone()),
            (None, None) => {
                peers.unknown.push(node.name.clone());
                continue;
            }
        }
        let endpoint = SocketAddr::new(node.address, port);
        peers.known.push(Peer { node: node.name.clone(), endpoint, address, key });
    }
    peers
}

/// Those who administer the node through the tunnel.
fn operators(config: &Config) -> Vec<Operator> {
    let of = |operator: &OperatorConfig| {
        let OperatorConfig { name, public_key, address } = operator;
        Some(Operator { name: name.clone(), address: (*address)?, key: public_key.clone() })
    };
    config.operators().filter_map(of).collect()
}

fn declare(view: &View<'_>, wanted: Wanted) -> Declaration {
    let Some(address) = view.node.tunnel else { return Declaration::nothing() };
    let Peers { known: peers, handing, unknown } = peers(view, wanted.port);
    let mut declaration = Declaration::nothing();
    for node in unknown {
        let message =
            format!("no tunnel to {node} yet: it does not answer, and its key was never handed over");
        let hint = "apply again when it answers";
        declaration.findings.push(Finding::warning("4", message, hint).on(&view.node.name));
    }
    let operators = operators(view.config);
    let mtu_bytes = mtu::wanted(view);
    let unit = unit(address, wanted.network, mtu_bytes);
    let mut differences = conf::foretold(wanted.port, &peers, &operators).differences(view.facts);
    differences.extend(unit.differences(view.facts));
    differences.extend(unmanaged().differences(view.facts));
    if let Some(seen) = view.facts.units.get(UNIT) {
        for (now, wanted) in [(&seen.enabled, "enabled"), (&seen.active, "active")] {
            if now != wanted && seen.exists {
                differences.push(Difference::changed(UNIT, now, wanted));
            }
        }
    }
    differences.extend(of_the_kernel(view, wanted.port, (&peers, &operators)));
    let mut how = How::Reload;
    if let Some((addresses, mtu_now)) = live(view.facts) {
        let has_other = addresses.iter().any(|one| *one != address);
        if has_other || addresses.is_empty() {
            let now = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let field = format!("{INTERFACE} address (live)");
            differences.push(Difference {
                field: field.into(),
                old: (!now.is_empty()).then_some(now),
                new: Some(address.to_string()),
            });
        }
        if has_other {
            how = How::Restart;
        }
        if mtu_now != mtu_bytes {
            let (old, new) = (mtu_now.to_string(), mtu_bytes.to_string());
            differences.push(Difference::changed(format!("{INTERFACE} MTU (live)"), old, new));
        }
    }
    if differences.is_empty() {
        return declaration;
    }
    let reason = "what the nodes share goes over the Internet; in the tunnels it is encrypted, and an address is a key";
    let action = Action { unit, port: wanted.port, peers, operators, how };
    let mut draft =
        Draft::new("connect the node to its peers by tunnels", reason, action).differing(differences);
    if how == How::Restart {
        draft = draft
            .risking(Risk::Restarts(format!("{INTERFACE}: what goes through it stands still meanwhile")));
    }
    if !handing.is_empty() {
        draft = draft.handed(Handover::TunnelKeys { from: handing });
    }
    declaration.change(draft);
    declaration
}

/// What differs in the kernel; where a peer roams to is its own affair.
fn of_the_kernel(view: &View<'_>, port: u16, (peers, operators): (&[Peer], &[Operator])) -> Vec<Difference> {
    let seen = match &view.facts.tunnel.interface {
        Observed::Known(Some(seen)) => seen,
        Observed::Known(None) => return vec![Difference::changed(INTERFACE, "absent", "up")],
        Observed::Unknown(why) => {
            return vec![Difference::changed(INTERFACE, format!("not seen: {why}"), "up")];
        }
    };
    let mut found = Vec::new();
    let mut compare = |what: &str, old: String, new: String| {
        if old != new {
            found.push(Difference::changed(format!("{INTERFACE} {what} (live)"), old, new));
        }
    };
    let DeviceFacts { public_key, port: port_now, is_up, peers: peers_now } = seen;
    let told =
        |key: Option<&PublicKey>, otherwise: &str| key.map_or(otherwise.to_owned(), ToString::to_string);
    compare(
        "key",
        told(public_key.as_ref(), "none"),
        told(view.facts.tunnel.key.public(), "the one that it makes"),
    );
    compare("port", port_now.to_string(), port.to_string());
    compare("link", (if *is_up { "up" } else { "down" }).to_owned(), "up".to_owned());
    let alone = |address| BTreeSet::from([IpNet::from(IpAddr::V4(address))]);
    let of_nodes = peers.iter().filter_map(|peer| Some((peer.key.clone()?, alone(peer.address))));
    let of_operators = operators.iter().map(|operator| (operator.key.clone(), alone(operator.address)));
    let wanted: BTreeMap<PublicKey, BTreeSet<IpNet>> = of_nodes.chain(of_operators).collect();
    let allowed =
        |networks: &BTreeSet<IpNet>| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for (key, networks) in &wanted {
        match peers_now.get(key) {
            Some(now) => compare(&format!("peer {key}"), allowed(now), allowed(networks)),
            None => compare(&format!("peer {key}"), "absent".to_owned(), allowed(networks)),
        }
    }
    for (key, networks) in peers_now.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
        compare(&format!("peer {key}"), allowed(networks), "absent".to_owned());
    }
    found
}
