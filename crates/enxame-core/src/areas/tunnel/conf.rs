//! Port and peers as `wg` reads them (wg(8), "CONFIGURATION FILE FORMAT"), without the node's own key, which is in a file of
//! its own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::CONF_PATH;
use crate::facts::PublicKey;
use crate::files::{HEADER, OwnedFile};
use crate::names::NodeName;

/// How often a peer that has nothing to say says so, in seconds: a way that is cut shows, and filters on the way that
/// remember connections do not forget (wg(8) has the same number).
pub(super) const KEEP_ALIVE_S: u32 = 25;

/// Whom a node lets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The node.
    pub node: NodeName,
    /// Where it is reached.
    pub endpoint: SocketAddr,
    /// The one address that it may send from.
    pub address: Ipv4Addr,
    /// Its key; `None`: it makes it meanwhile and hands it over.
    pub key: Option<PublicKey>,
}

/// An operator whom a node lets in. Where he is nobody knows but he, and whether he is there is his affair: no endpoint,
/// and nothing that keeps the way to him open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// His name.
    pub name: NodeName,
    /// The one address that he may send from.
    pub address: Ipv4Addr,
    /// The public half of his key.
    pub key: PublicKey,
}

/// A peer whose key nobody has handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has not handed over its key for the tunnels")]
pub struct KeyMissing(pub NodeName);

/// The file, with the keys that were handed over.
///
/// # Errors
/// [`KeyMissing`].
pub fn file(
    port: u16,
    peers: &[Peer],
    operators: &[Operator],
    handed: &BTreeMap<NodeName, PublicKey>,
) -> Result<OwnedFile, KeyMissing> {
    let key = |peer: &Peer| {
        let key = peer.key.as_ref().or_else(|| handed.get(&peer.node));
        key.map(ToString::to_string).ok_or_else(|| KeyMissing(peer.node.clone()))
    };
    let keys = peers.iter().map(key).collect::<Result<Vec<String>, KeyMissing>>()?;
    Ok(owned(text(port, peers.iter().zip(&keys), operators)))
}

/// The file as far as it can be told before keys are handed over.
pub(super) fn foretold(port: u16, peers: &[Peer], operators: &[Operator]) -> OwnedFile {
    let key = |peer: &Peer| match &peer.key {
        Some(key) => key.to_string(),
        None => format!("(the one that {} makes)", peer.node),
    };
    let keys: Vec<String> = peers.iter().map(key).collect();
    owned(text(port, peers.iter().zip(&keys), operators))
}

fn owned(text: String) -> OwnedFile {
    OwnedFile { mode: 0o600, ..OwnedFile::new(CONF_PATH, text) }
}

fn text<'a>(
    port: u16,
    peers: impl Iterator<Item = (&'a Peer, &'a String)>,
    operators: &[Operator],
) -> String {
    let mut text = format!("{HEADER}[Interface]\nListenPort = {port}\n");
    for (Peer { node, endpoint, address, .. }, key) in peers {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n[Peer]\n# {node}\nPublicKey = {key}\nEndpoint = {endpoint}\nAllowedIPs = {address}/32\n\
             PersistentKeepalive = {KEEP_ALIVE_S}\n"
        );
    }
    for Operator { name, address, key } in operators {
        let _ = write!(text, "\n[Peer]\n# operator {name}\nPublicKey = {key}\nAllowedIPs = {address}/32\n");
    }
    text
}

/// The key of the peer with that address, as a file of ours has it.
pub(super) fn key_at(text: &str, address: Ipv4Addr) -> Option<PublicKey> {
    let allowed = IpNet::from(IpAddr::V4(address)).to_string();
    let of_section = |section: &str| {
        let values = |key: &str| {
            let pairs = section.lines().filter_map(|line| line.split_once('='));
            pairs
                .filter(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim().to_owned())
                .collect::<Vec<_>>()
        };
        let is_it = values("AllowedIPs") == [allowed.clone()];
        values("PublicKey").pop().filter(|_| is_it).and_then(|key| PublicKey::new(key).ok())
    };
    text.split("[Peer]").skip(1).find_map(of_section)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(key: Option<&str>) -> Peer {
        Peer {
            node: NodeName::new("kvm4-manager").unwrap(),
            endpoint: "203.0.113.14:51820".parse().unwrap(),
            address: Ipv4Addr::new(192, 168, 255, 2),
            key: key.map(|key| PublicKey::new(key).unwrap()),
        }
    }

    const KEY: &str = "KnZN7Q7h0VHb336NXFrNItUP7FXSQKC548fQNR2C7gs=";

    #[test]
    fn keys_come_with_the_plan_or_are_handed_over_and_are_read_back() {
        let handed = [(peer(None).node, PublicKey::new(KEY).unwrap())].into();
        let known = file(51_820, &[peer(Some(KEY))], &[], &BTreeMap::new()).unwrap();
        assert_eq!(file(51_820, &[peer(None)], &[], &handed).unwrap(), known);
        assert_eq!(file(51_820, &[peer(None)], &[], &BTreeMap::new()), Err(KeyMissing(peer(None).node)));
        assert_eq!(foretold(51_820, &[peer(Some(KEY))], &[]), known);
        insta::assert_snapshot!(known.content);
        assert_eq!(key_at(&known.content, peer(None).address), Some(PublicKey::new(KEY).unwrap()));
        assert_eq!(key_at(&known.content, Ipv4Addr::new(192, 168, 255, 20)), None);
    }

    #[test]
    fn an_operator_is_a_peer_that_nobody_calls_and_nobody_keeps_awake() {
        let operator = Operator {
            name: NodeName::new("ana").unwrap(),
            address: Ipv4Addr::new(192, 168, 255, 254),
            key: PublicKey::new(KEY).unwrap(),
        };
        let other = peer(Some("WXOQKbdREPh1MS4tPVxFNafy8+cbdKM3Ff3GMnDQ3hs="));
        let text =
            file(51_820, std::slice::from_ref(&other), std::slice::from_ref(&operator), &BTreeMap::new());
        let text = text.unwrap().content;
        insta::assert_snapshot!(text);
        assert_eq!(foretold(51_820, &[other], std::slice::from_ref(&operator)).content, text);
        assert_eq!(key_at(&text, operator.address), Some(operator.key));
    }

    #[test]
    fn an_endpoint_of_ipv6_stands_in_brackets() {
        let peer = Peer { endpoint: "[2001:db8::14]:51820".parse().unwrap(), ..peer(Some(KEY)) };
        let text = file(51_820, &[peer], &[], &BTreeMap::new()).unwrap().content;
        assert!(text.contains("\nEndpoint = [2001:db8::14]:51820\n"), "{text}");
    }
}
