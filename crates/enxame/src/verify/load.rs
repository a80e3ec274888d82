//! The load on one network, between two looks at the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use enxame_core::facts::Observed;
use enxame_core::names::NodeName;
use enxame_core::probe::{
    Capture, Exchange, Marker, MeshTraffic, PeerTask, ProbeReply, ProbeRequest, ProbedNetwork, Traffic,
};
use enxame_core::proofs::Need;
use enxame_core::report::{LoadOutcome, PerNode, Phase, SubjectNetwork};

use super::Probing;
use super::run::Steps;

/// Payload of an exchange between two tasks in each direction: a mebibyte in whole blocks, in bytes.
const BULK_BYTES: u32 = whole_blocks(1024 * 1024);
/// Payload of a request through the mesh in each direction, in bytes.
const REQUEST_BYTES: u32 = whole_blocks(64 * 1024);
/// Datagrams to each task.
const DATAGRAMS: u32 = 5;
/// How long to try each exchange, in seconds.
const EXCHANGE_SECONDS: u64 = 45;
/// How long to try each request through the mesh, in seconds.
const REQUEST_SECONDS: u64 = 20;
/// IPVS serves the nodes in turn; more turns than one in case others talk in between.
const REQUESTS_PER_NODE: u32 = 4;

#[expect(
    clippy::cast_possible_truncation,
    reason = "a block is 40 bytes, and a constant cannot call try_from"
)]
const fn whole_blocks(bytes: u32) -> u32 {
    let block = Marker::BLOCK_BYTES as u32;
    bytes / block * block
}

impl<P: Probing> Steps<'_, P> {
    /// Loads one network from all nodes at once; gives what was seen afterwards.
    pub(super) async fn load(
        &mut self,
        network: &SubjectNetwork,
        before: PerNode<Capture>,
    ) -> PerNode<Capture> {
        let load = if network.is_ingress { self.mesh().await } else { self.traffic(network).await };
        let watches = self.needs(Need::Watch);
        let after = if watches { self.captures(ProbeRequest::WatchRead).await } else { PerNode::new() };
        self.seen.phases.push(Phase { network: network.id.clone(), before, load, after: after.clone() });
        after
    }

    async fn traffic(&self, network: &SubjectNetwork) -> PerNode<LoadOutcome> {
        let nodes = &self.seen.subject.nodes;
        let address =
            |node: &NodeName| -> Option<IpAddr> { self.task(node).ok()?.addresses.get(&network.id).copied() };
        let expected: BTreeSet<IpAddr> = nodes.keys().filter_map(address).collect();
        let orders = |node: &NodeName| -> Result<Traffic, String> {
            let peers = nodes.iter().filter(|(peer, _)| *peer != node);
            let targets: BTreeMap<IpAddr, PeerTask> = peers
                .filter_map(|(peer, subject)| {
                    Some((address(peer)?, PeerTask { node_id: subject.node_id.clone() }))
                })
                .collect();
            Ok(Traffic {
                container: self.task(node)?.container.clone(),
                service: self.deployed.as_ref().map(|deployed| deployed.service.clone()).unwrap_or_default(),
                network: ProbedNetwork { id: network.id.clone(), name: network.name.clone() },
                exchange: self.exchange(BULK_BYTES, EXCHANGE_SECONDS),
                peers: targets,
                expected: expected.clone(),
                datagrams: DATAGRAMS,
            })
        };
        // The name and every peer may take their whole time, one after the other.
        let turns = u64::try_from(nodes.len()).unwrap_or(u64::MAX);
        let datagrams = u64::from(DATAGRAMS).saturating_mul(turns);
        let deadline = Duration::from_secs(turns.saturating_mul(EXCHANGE_SECONDS) + datagrams + 60);
        self.loaded(|node| orders(node).map(ProbeRequest::Traffic), deadline).await
    }

    async fn mesh(&self) -> PerNode<LoadOutcome> {
        let nodes = &self.seen.subject.nodes;
        let port = self.deployed.as_ref().and_then(|deployed| deployed.published_port);
        let requests =
            REQUESTS_PER_NODE.saturating_mul(u32::try_from(self.nodes().count()).unwrap_or(u32::MAX));
        let orders = |node: &NodeName| -> Result<MeshTraffic, String> {
            let address = nodes.get(node).and_then(|node| node.mesh_address);
            Ok(MeshTraffic {
                address: address
                    .ok_or("the routing mesh answers on IPv4 only, and the node has no such address")?,
                port: port.ok_or("the engine published no port for the probe")?,
                requests,
                nodes: nodes
                    .iter()
                    .filter(|(name, _)| self.task(name).is_ok())
                    .map(|(_, node)| node.node_id.clone())
                    .collect(),
                exchange: self.exchange(REQUEST_BYTES, REQUEST_SECONDS),
            })
        };
        let deadline = Duration::from_secs(u64::from(requests).saturating_mul(REQUEST_SECONDS) + 90);
        self.loaded(|node| orders(node).map(ProbeRequest::Mesh), deadline).await
    }

    fn exchange(&self, payload_bytes: u32, wait_seconds: u64) -> Exchange {
        Exchange { marker: self.course.run.marker, payload_bytes, wait_seconds }
    }

    /// Has every node that can put its load on the network.
    async fn loaded(
        &self,
        order: impl Fn(&NodeName) -> Result<ProbeRequest, String>,
        deadline: Duration,
    ) -> PerNode<LoadOutcome> {
        let asking = self.nodes().map(|(node, _)| {
            let order = order(node);
            async move {
                let reply = match order {
                    Ok(request) => self.probing.probe(node, request, deadline).await,
                    Err(why) => Err(why),
                };
                let outcome = match reply {
                    Ok(ProbeReply::Traffic(outcome)) => Observed::Known(LoadOutcome::Traffic(outcome)),
                    Ok(ProbeReply::Mesh(outcome)) => Observed::Known(LoadOutcome::Mesh(outcome)),
                    Ok(_) => Observed::Unknown("answered out of turn".to_owned()),
                    Err(why) => Observed::Unknown(why),
                };
                (node.clone(), outcome)
            }
        });
        futures::future::join_all(asking).await.into_iter().collect()
    }
}
