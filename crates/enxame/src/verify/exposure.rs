//! The looks from outside and from node to node: who reaches which ports of whom.
//!
//! Decides nothing of what was seen: [`enxame_core::proofs::judge`] does. Leaves nothing behind.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use enxame_core::areas::firewall::is_public;
use enxame_core::config::{Config, NodeConfig};
use enxame_core::facts::{ClusterFacts, Observed, SshSession};
use enxame_core::names::NodeName;
use enxame_core::ports::PortSet;
use enxame_core::probe::{ProbeReply, ProbeRequest, Scan, Scanned};
use enxame_core::report::exposure::{Expected, Sighting, Vantage, addresses_of, udp_ports};
use enxame_core::report::unanswered;
use futures::future::{Either, join_all, select};

use super::Probing;

/// A node's scan of a few ports of a peer.
const SAMPLE: Duration = Duration::from_secs(120);
/// A node's scan of all ports of a peer, which takes a little over a minute where nothing answers.
const EVERYTHING: Duration = Duration::from_secs(300);

/// Why the operator saw nothing.
#[derive(Clone, Debug)]
pub(crate) enum Missed {
    /// It has no way there; a peer may.
    NoRoute,
    /// The reason, with its causes.
    Failed(String),
}

/// The operator's own eyes.
pub(crate) trait Lookout {
    /// The address that the operator leaves from towards a target.
    fn source(&self, target: IpAddr) -> Option<IpAddr>;

    /// Tries the ports of one of a node's addresses; so many addresses are tried at once.
    fn scan(
        &self,
        node: &NodeName,
        order: Scan,
        targets: usize,
    ) -> impl Future<Output = Result<Scanned, Missed>>;
}

/// Who is looked at, and by whom.
pub(crate) struct Scene<'a, P, L> {
    pub(crate) config: &'a Config,
    pub(crate) facts: &'a ClusterFacts,
    /// The nodes that nobody could ask anything, and why: nobody looks at them, or from them.
    pub(crate) unreachable: &'a BTreeMap<NodeName, String>,
    pub(crate) probing: &'a P,
    pub(crate) lookout: &'a L,
}

/// Looks at every node from the operator, then from every other node. When `cancelled` completes, what is not yet seen
/// stays unseen.
pub(crate) async fn look_around<P: Probing, L: Lookout>(
    scene: &Scene<'_, P, L>,
    cancelled: Pin<&mut dyn Future<Output = ()>>,
) -> Vec<Sighting> {
    match select(cancelled, std::pin::pin!(scene.everything())).await {
        Either::Left(_) => scene.unseen("the run was interrupted"),
        Either::Right((sightings, _)) => sightings,
    }
}

impl<P: Probing, L: Lookout> Scene<'_, P, L> {
    async fn everything(&self) -> Vec<Sighting> {
        let targets = self.targets();
        let from_here =
            targets.iter().map(|(node, address)| self.look_from_here(node, *address, targets.len()));
        let mut sightings = Vec::new();
        for (look, (node, address)) in join_all(from_here).await.into_iter().zip(&targets) {
            sightings.push(match look {
                Some(sighting) => sighting,
                None => self.look_from_any_peer(node, *address).await,
            });
        }
        let in_the_mesh = self.pairs().into_iter().map(|(peer, node)| self.look_from_peer(peer, node));
        sightings.extend(join_all(in_the_mesh).await);
        sightings
    }

    /// As if nothing had been seen of anybody.
    pub(crate) fn unseen(&self, why: &str) -> Vec<Sighting> {
        let from_here = self.targets().into_iter().map(|(node, address)| {
            let seen_as = self.seen_as(node, address);
            self.sighting(node, address, (Vantage::Operator, seen_as), Err(why.to_owned()))
        });
        let in_the_mesh = self.pairs().into_iter().map(|(peer, node)| {
            let from = (Vantage::Peer(peer.name.clone()), Some(peer.address));
            self.sighting(node, node.address, from, Err(why.to_owned()))
        });
        from_here.chain(in_the_mesh).collect()
    }

    fn targets(&self) -> Vec<(&NodeConfig, IpAddr)> {
        let of_node = |node| {
            let addresses = addresses_of(node, self.facts.get(&node.name));
            addresses.into_iter().map(move |address| (node, address))
        };
        self.config.nodes.iter().flat_map(of_node).collect()
    }

    fn pairs(&self) -> Vec<(&NodeConfig, &NodeConfig)> {
        let nodes = &self.config.nodes;
        let all = nodes.iter().flat_map(|node| nodes.iter().map(move |peer| (peer, node)));
        all.filter(|(peer, node)| peer.name != node.name).collect()
    }

    /// `None` where there is no route.
    async fn look_from_here(&self, node: &NodeConfig, address: IpAddr, targets: usize) -> Option<Sighting> {
        let seen_as = self.seen_as(node, address);
        if let Some(why) = self.absent([node]) {
            return Some(self.sighting(node, address, (Vantage::Operator, seen_as), Err(why)));
        }
        if let Some(here) = self.stands_on(address) {
            let why = format!(
                "you stand on {here}, which is let in where strangers are not: verify from elsewhere"
            );
            return Some(self.sighting(node, address, (Vantage::Operator, seen_as), Err(why)));
        }
        let order = self.order(node, address, (&Vantage::Operator, seen_as), Extent::All);
        let seen = match self.lookout.scan(&node.name, order, targets).await {
            Ok(scanned) => Ok(scanned),
            Err(Missed::Failed(why)) => Err(why),
            Err(Missed::NoRoute) => return None,
        };
        Some(self.sighting(node, address, (Vantage::Operator, seen_as), seen))
    }

    /// The node that the operator is on, if he is on one.
    fn stands_on(&self, address: IpAddr) -> Option<&NodeName> {
        let source = self.lookout.source(address)?;
        self.targets().into_iter().find(|(_, own)| *own == source).map(|(node, _)| &node.name)
    }

    /// The first peer that can, in the place of the operator, who cannot.
    async fn look_from_any_peer(&self, node: &NodeConfig, address: IpAddr) -> Sighting {
        let instead = "the operator has no route to it";
        let mut why = format!("{instead}, and there is no other node");
        let others = self.config.nodes.iter().filter(|peer| peer.name != node.name);
        for peer in others {
            if let Some(absent) = self.absent([peer]) {
                why = format!("{instead}, and {absent}");
                continue;
            }
            let vantage = Vantage::Peer(peer.name.clone());
            let likely = self.address_of(peer, address);
            let order = self.order(node, address, (&vantage, likely), Extent::All);
            match self.ask(&peer.name, order, EVERYTHING).await {
                // It is let in where strangers are not: what strangers meet, it cannot tell.
                Ok(scanned) if scanned.source == peer.address => {
                    why = format!("{instead}, and {} is let in where strangers are not", peer.name);
                }
                Ok(scanned) => {
                    let from = (vantage, Some(scanned.source));
                    let sighting = self.sighting(node, address, from, Ok(scanned));
                    return Sighting { instead: Some(instead.to_owned()), ..sighting };
                }
                Err(error) => why = format!("{instead}, and {} saw nothing: {error}", peer.name),
            }
        }
        self.sighting(node, address, (Vantage::Operator, None), Err(why))
    }

    async fn look_from_peer(&self, peer: &NodeConfig, node: &NodeConfig) -> Sighting {
        let vantage = Vantage::Peer(peer.name.clone());
        let from = Some(peer.address);
        if let Some(why) = self.absent([peer, node]) {
            return self.sighting(node, node.address, (vantage, from), Err(why));
        }
        let order = self.order(node, node.address, (&vantage, from), Extent::Sample);
        let seen = self.ask(&peer.name, order, SAMPLE).await;
        self.sighting(node, node.address, (vantage, from), seen)
    }

    /// Why nobody looks, where one of these nodes does not answer.
    fn absent<const N: usize>(&self, nodes: [&NodeConfig; N]) -> Option<String> {
        nodes.into_iter().find_map(|node| Some(unanswered(&node.name, self.unreachable.get(&node.name)?)))
    }

    async fn ask(&self, peer: &NodeName, order: Scan, deadline: Duration) -> Result<Scanned, String> {
        match self.probing.probe(peer, ProbeRequest::Scan(order), deadline).await? {
            ProbeReply::Scanned(scanned) => Ok(scanned),
            _ => Err("answered out of turn".to_owned()),
        }
    }

    /// Whom a node takes the operator for: sshd says so for the family that the operator came in by. For the other it is
    /// the address that the kernel picks, unless somebody translates it on the way.
    fn seen_as(&self, node: &NodeConfig, address: IpAddr) -> Option<IpAddr> {
        let session = self.session(node).map(|session| session.from);
        // Whom it sees in a tunnel it sees otherwise outside.
        let session = session.filter(|from| !self.config.is_in_the_tunnels(*from));
        let same_family = session.filter(|from| from.is_ipv4() == address.is_ipv4());
        same_family.or_else(|| self.lookout.source(address))
    }

    fn session(&self, node: &NodeConfig) -> Option<SshSession> {
        self.facts.get(&node.name)?.ssh_session
    }

    /// The address that a peer most likely leaves from.
    fn address_of(&self, peer: &NodeConfig, target: IpAddr) -> Option<IpAddr> {
        let addresses = addresses_of(peer, self.facts.get(&peer.name));
        let mut addresses = addresses.into_iter().filter(|address| address.is_ipv4() == target.is_ipv4());
        addresses.find(|address| is_public(*address) == is_public(target))
    }

    fn expected(&self, node: &NodeConfig, (vantage, from): (&Vantage, Option<IpAddr>)) -> Expected {
        // Whoever has no address that is known is a stranger.
        let from = from.unwrap_or(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED));
        Expected::of(self.config, node, self.session(node), (vantage, from))
    }

    fn order(
        &self,
        node: &NodeConfig,
        address: IpAddr,
        from: (&Vantage, Option<IpAddr>),
        ports: Extent,
    ) -> Scan {
        let expected = self.expected(node, from);
        let tcp = match ports {
            Extent::All => PortSet::all(),
            Extent::Sample => expected.sample(),
        };
        let udp = match from.0 {
            Vantage::Operator => udp_ports(self.config),
            // A node's own guard lets no clear VXLAN out; what it would meet, the operator's look shows.
            Vantage::Peer(_) => {
                udp_ports(self.config).without(&[self.config.swarm.data_path_port].into_iter().collect())
            }
        };
        Scan { target: address, tcp, udp, controls: expected.controls() }
    }

    fn sighting(
        &self,
        node: &NodeConfig,
        address: IpAddr,
        (from, seen_as): (Vantage, Option<IpAddr>),
        seen: Result<Scanned, String>,
    ) -> Sighting {
        Sighting {
            expected: self.expected(node, (&from, seen_as)),
            from,
            node: node.name.clone(),
            address,
            seen_as,
            instead: None,
            seen: seen.map_or_else(Observed::Unknown, Observed::Known),
        }
    }
}

/// How many ports are tried.
#[derive(Clone, Copy)]
enum Extent {
    All,
    Sample,
}

#[cfg(test)]
mod tests;
