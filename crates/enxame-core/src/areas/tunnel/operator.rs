//! An operator's own end of the tunnels: the file that `wg-quick` reads on his machine.
//!
//! Invariant: nothing secret is in it. The private half of his key is his alone, and he puts it in himself.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::conf::KEEP_ALIVE_S;
use crate::config::{Config, NodeConfig, OperatorConfig, TunnelConfig};
use crate::facts::{ClusterFacts, DeviceFacts, NodeFacts, Observed, PublicKey};
use crate::names::NodeName;

/// The file, and what of it is not as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// Its text.
    pub text: String,
    /// The nodes that did not say their key, and why not.
    pub missing: Vec<(NodeName, String)>,
    /// The nodes that do not let the operator in yet.
    pub waiting: Vec<NodeName>,
}

/// Why there is no such file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFile {
    /// Nobody is called so.
    #[error("cluster.yaml has no operator {name}")]
    Unknown {
        /// The name.
        name: NodeName,
        /// The names that there are.
        known: Vec<NodeName>,
    },
    /// Something of the tunnels is not written.
    #[error("{0} has no address in the tunnels yet")]
    NoAddress(NodeName),
}

impl NoFile {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { known, .. } if known.is_empty() => {
                "write it: `tunnel: {operators: [{name: ..., public_key: ...}]}`, and apply".to_owned()
            }
            Self::Unknown { known, .. } => {
                let known: Vec<&str> = known.iter().map(NodeName::as_str).collect();
                format!("`tunnel.operators` has {}", known.join(", "))
            }
            Self::NoAddress(_) => {
                "`enxame plan` proposes one; write it into cluster.yaml and apply".to_owned()
            }
        }
    }
}

/// The file of one operator.
///
/// # Errors
/// [`NoFile`].
pub fn file(config: &Config, all: &ClusterFacts, name: &NodeName) -> Result<OwnFile, NoFile> {
    let operator = config.operators().find(|operator| operator.name == *name);
    let (Some(tunnel), Some(operator)) = (&config.tunnel, operator) else {
        let known = config.operators().map(|operator| operator.name.clone()).collect();
        return Err(NoFile::Unknown { name: name.clone(), known });
    };
    let address = operator.address.ok_or_else(|| NoFile::NoAddress(name.clone()))?;
    let OperatorConfig { public_key, .. } = operator;
    let mut text = format!(
        "# The operator {name}'s end of the tunnels to {cluster}, for wg-quick(8): e.g. /etc/wireguard/enxame.conf, mode 0600.\n\
         [Interface]\n\
         # Your private key, which nobody else has. Either here:\n\
         # PrivateKey = <yours: the one that belongs to {public_key}>\n\
         # or in a file of its own:\n\
         # PostUp = wg set %i private-key /etc/wireguard/%i.key\n\
         Address = {address}/32\n",
        cluster = config.cluster,
    );
    let (mut missing, mut waiting) = (Vec::new(), Vec::new());
    for node in &config.nodes {
        let in_the_tunnels = node.tunnel.ok_or_else(|| NoFile::NoAddress(node.name.clone()))?;
        let (key, said) = match key_of(all, node) {
            Told::Itself(key, facts) => {
                if !is_let_in(facts, operator) {
                    waiting.push(node.name.clone());
                }
                (key, String::new())
            }
            Told::Peer { key, peer, why } => {
                missing.push((node.name.clone(), why));
                (key, format!(" (does not answer; {peer} has this key of it)"))
            }
            Told::Nobody(why) => {
                missing.push((node.name.clone(), why));
                continue;
            }
        };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n[Peer]\n# {}{said}\nPublicKey = {key}\nEndpoint = {}\nAllowedIPs = {in_the_tunnels}/32\n\
             PersistentKeepalive = {KEEP_ALIVE_S}\n",
            node.name,
            endpoint(tunnel, node),
        );
    }
    Ok(OwnFile { text, missing, waiting })
}

fn endpoint(tunnel: &TunnelConfig, node: &NodeConfig) -> SocketAddr {
    SocketAddr::new(node.address, tunnel.port)
}

/// Who says which key a node has.
enum Told<'a> {
    Itself(PublicKey, &'a NodeFacts),
    Peer { key: PublicKey, peer: NodeName, why: String },
    Nobody(String),
}

fn key_of<'a>(all: &'a ClusterFacts, node: &NodeConfig) -> Told<'a> {
    if let Some(facts) = all.get(&node.name) {
        return match facts.tunnel.key.public() {
            Some(key) => Told::Itself(key.clone(), facts),
            None => Told::Nobody("it has no key for the tunnels yet: apply first".to_owned()),
        };
    }
    let why = all.holes().find(|(hole, _)| **hole == node.name).map(|(_, why)| why.to_owned());
    let why = why.unwrap_or_else(|| "it was not asked".to_owned());
    let by_peer = all.iter().find_map(|(peer, facts)| {
        let address = IpNet::from(IpAddr::V4(node.tunnel?));
        let found = device(facts)?.peers.iter().find(|(_, allowed)| allowed.contains(&address));
        found.map(|(key, _)| (key.clone(), peer.clone()))
    });
    match by_peer {
        Some((key, peer)) => Told::Peer { key, peer, why },
        None => Told::Nobody(why),
    }
}

fn device(facts: &NodeFacts) -> Option<&DeviceFacts> {
    match &facts.tunnel.interface {
        Observed::Known(device) => device.as_ref(),
        Observed::Unknown(_) => None,
    }
}

/// Whether a node takes the operator for a peer already.
pub(crate) fn is_let_in(facts: &NodeFacts, operator: &OperatorConfig) -> bool {
    let Some(address) = operator.address else { return false };
    let allowed = device(facts).and_then(|device| device.peers.get(&operator.public_key));
    allowed.is_some_and(|allowed| allowed.contains(&IpNet::from(IpAddr::V4(address))))
}

/// The key by which a node lets in whoever sends from that address now.
pub(crate) fn key_in_force(facts: &NodeFacts, from: IpAddr) -> Option<&PublicKey> {
    let from = IpNet::from(from);
    device(facts)?.peers.iter().find(|(_, allowed)| allowed.contains(&from)).map(|(key, _)| key)
}
