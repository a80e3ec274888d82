//! A look at the tunnels and the files that are shared in them: every node talks to every other, and uses every export, while
//! all watch the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use enxame_core::facts::Observed;
use enxame_core::names::NodeName;
use enxame_core::probe::{
    Capture, Doors, DoorsTried, Echoes, PathQuality, ProbeReply, ProbeRequest, Shared, Sharing, SharingStep,
    Watch,
};
use enxame_core::report::{PerNode, SharedObservations, SharedSubject};
use futures::future::{Either, join_all, select};

use super::{Probing, RunIdentity};

const ECHOES: u16 = 20;
const ECHO_INTERVAL_MS: u64 = 50;
/// `NFSv4`'s port.
const PORT: u16 = 2049;
const QUICK: Duration = Duration::from_secs(60);
/// A server that is away is given up after 15 s by each call (`timeo`, `retrans`), and one in its grace period waits 90 s.
const SHARE: Duration = Duration::from_secs(240);

/// Whom to look at, and how.
pub(crate) struct Look<'a> {
    pub(crate) run: &'a RunIdentity,
    /// Clear VXLAN's UDP port, which the watch wants to know.
    pub(crate) data_path_port: u16,
    /// The nodes that nobody could ask anything, and why: they are left out.
    pub(crate) unreachable: &'a BTreeMap<NodeName, String>,
}

/// What is seen, and what could not be taken away. When `cancelled` completes, the rest is left out, and what was written is
/// erased all the same.
pub(crate) async fn observe_shared(
    probing: &impl Probing,
    subject: SharedSubject,
    look: &Look<'_>,
    cancelled: Pin<&mut dyn Future<Output = ()>>,
) -> (SharedObservations, Vec<String>) {
    let seen = SharedObservations {
        subject,
        echoes: PerNode::new(),
        written: PerNode::new(),
        read: PerNode::new(),
        doors: PerNode::new(),
        watched: PerNode::new(),
    };
    let mut steps = Steps { probing, look, seen };
    // What was not done by then was not observed.
    match select(cancelled, pin!(steps.all())).await {
        Either::Left(_) | Either::Right(_) => {}
    }
    let leftovers = steps.erase().await;
    (steps.seen, leftovers)
}

struct Steps<'a, P> {
    probing: &'a P,
    look: &'a Look<'a>,
    seen: SharedObservations,
}

impl<P: Probing> Steps<'_, P> {
    async fn all(&mut self) {
        let watching: PerNode<Capture> = self.everywhere(|node| Some(self.watch(node)), QUICK, capture).await;
        let shares = !self.seen.subject.exports.is_empty();
        self.seen.echoes = self.everywhere(|node| Some(self.echoes(node)), QUICK, echoes).await;
        if shares {
            let write = |node: &NodeName| Some(self.sharing(node, SharingStep::Write));
            self.seen.written = self.everywhere(write, SHARE, shared).await;
            let read = |node: &NodeName| Some(self.sharing(node, SharingStep::Read(self.others(node))));
            self.seen.read = self.everywhere(read, SHARE, shared).await;
        }
        self.seen.doors = self.everywhere(|_| self.doors(), QUICK, doors).await;
        let is_watching = |node: &NodeName| matches!(watching.get(node), Some(Observed::Known(_)));
        let stop = |node: &NodeName| is_watching(node).then_some(ProbeRequest::WatchStop);
        let mut watched = self.everywhere(stop, QUICK, capture).await;
        // Why some could not begin to watch.
        watched.extend(watching.into_iter().filter(|(_, one)| matches!(one, Observed::Unknown(_))));
        self.seen.watched = watched;
    }

    async fn erase(&self) -> Vec<String> {
        if self.seen.subject.exports.is_empty() {
            return Vec::new();
        }
        let erase = |node: &NodeName| Some(self.sharing(node, SharingStep::Erase));
        let erased = self.everywhere(erase, SHARE, shared).await;
        let told = |(node, outcome): (NodeName, Observed<Shared>)| match outcome {
            Observed::Unknown(why) => vec![format!("files of the proof may be left: {node}: {why}")],
            Observed::Known(exports) => {
                let left = exports.into_iter().filter(|(export, _)| self.may(export, &node));
                let left = left.filter_map(|(export, outcome)| Some((export, outcome.err()?)));
                left.map(|(export, why)| format!("files of the proof may be left in {export}: {node}: {why}"))
                    .collect()
            }
        };
        erased.into_iter().flat_map(told).collect()
    }

    fn may(&self, export: &NodeName, node: &NodeName) -> bool {
        self.seen.subject.exports.iter().any(|one| one.mount.name == *export && one.clients.contains(node))
    }

    fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.seen.subject.nodes.keys().filter(|node| !self.look.unreachable.contains_key(*node))
    }

    fn others(&self, node: &NodeName) -> BTreeSet<NodeName> {
        self.nodes().filter(|other| *other != node).cloned().collect()
    }

    fn watch(&self, node: &NodeName) -> ProbeRequest {
        let others = self.seen.subject.nodes.iter().filter(|(other, _)| *other != node);
        ProbeRequest::WatchStart(Watch {
            peers: others.map(|(_, node)| node.public).collect(),
            data_path_port: self.look.data_path_port,
            marker: self.look.run.marker,
        })
    }

    fn echoes(&self, node: &NodeName) -> ProbeRequest {
        let others = self.seen.subject.nodes.iter().filter(|(other, _)| *other != node);
        ProbeRequest::Paths(Echoes {
            peers: others.map(|(_, node)| node.tunnel.into()).collect(),
            count: ECHOES,
            interval_ms: ECHO_INTERVAL_MS,
            marker: Some(self.look.run.marker),
        })
    }

    fn sharing(&self, node: &NodeName, step: SharingStep) -> ProbeRequest {
        ProbeRequest::Share(Sharing {
            run: self.look.run.name.clone(),
            node: node.clone(),
            exports: self.seen.subject.exports.iter().map(|export| export.mount.clone()).collect(),
            marker: self.look.run.marker,
            step,
        })
    }

    fn doors(&self) -> Option<ProbeRequest> {
        let server = self.seen.subject.nodes.get(self.seen.subject.server.as_ref()?)?;
        let doors = Doors { tunnel: server.tunnel.into(), public: server.public, port: PORT };
        Some(ProbeRequest::Doors(doors))
    }

    /// Asks every node that can be asked, at once.
    async fn everywhere<T>(
        &self,
        request: impl Fn(&NodeName) -> Option<ProbeRequest>,
        deadline: Duration,
        of: fn(ProbeReply) -> Option<T>,
    ) -> PerNode<T> {
        let asking = self.nodes().filter_map(|node| {
            let request = request(node)?;
            Some(async move {
                let seen = match self.probing.probe(node, request, deadline).await {
                    Ok(reply) => of(reply).map_or_else(
                        || Observed::Unknown("answered out of turn".to_owned()),
                        Observed::Known,
                    ),
                    Err(why) => Observed::Unknown(why),
                };
                (node.clone(), seen)
            })
        });
        join_all(asking).await.into_iter().collect()
    }
}

fn capture(reply: ProbeReply) -> Option<Capture> {
    if let ProbeReply::Wire(capture) = reply { Some(capture) } else { None }
}

fn echoes(reply: ProbeReply) -> Option<BTreeMap<IpAddr, Result<PathQuality, String>>> {
    if let ProbeReply::Paths(paths) = reply { Some(paths) } else { None }
}

fn shared(reply: ProbeReply) -> Option<Shared> {
    if let ProbeReply::Shared(shared) = reply { Some(shared) } else { None }
}

fn doors(reply: ProbeReply) -> Option<DoorsTried> {
    if let ProbeReply::Doors(tried) = reply { Some(tried) } else { None }
}
