//! The steps of a run, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use enxame_core::facts::Observed as Seen;
use enxame_core::names::NodeName;
use enxame_core::probe::{
    Deployed, Deployment, Echoes, Marker, PathQuality, ProbeReply, ProbeRequest, ProbeTask, ProbedNetwork,
    Watch, WireView,
};
use enxame_core::report::{Observations, PerNode, Subject};
use futures::future::{Either, join_all, select};

use super::Probing;

/// Echo requests to each peer.
const ECHOES: u16 = 100;
/// The same where too many of these were lost: 20 s.
const MORE_ECHOES: u16 = 1000;
const ECHO_INTERVAL_MS: u64 = 20;
/// Loading an image of some megabytes on a slow machine.
const IMAGE: Duration = Duration::from_secs(180);
/// How long the swarm may take to run the probe everywhere, in seconds.
const DEPLOY_SECONDS: u64 = 120;
/// What an agent answers at once.
const QUICK: Duration = Duration::from_secs(60);
/// Waiting for containers to go, and removing the image.
const CLEAN: Duration = Duration::from_secs(150);

/// What makes a run that run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Its name: lower-case letters, digits and hyphens.
    pub(crate) name: String,
    /// Its marker: fresh random bytes.
    pub(crate) marker: Marker,
}

/// What a run brought.
#[derive(Debug)]
pub(crate) struct Observed {
    /// What was seen.
    pub(crate) observations: Observations,
    /// What could not be taken away, and why.
    pub(crate) leftovers: Vec<String>,
}

/// What the steps share.
pub(super) struct Steps<'a, P> {
    pub(super) probing: &'a P,
    pub(super) run: &'a Run,
    pub(super) seen: Observations,
    pub(super) deployed: Option<Deployed>,
    /// The id of its image.
    image: Option<String>,
}

/// Why a run ended before its last step.
struct Ended(String);

/// Runs all steps. When `cancelled` completes, the step in hand is dropped, which ends it on the nodes as well; the rest is
/// left out, and what was put on the nodes is taken away all the same.
pub(crate) async fn observe(
    probing: &impl Probing,
    subject: Subject,
    run: &Run,
    cancelled: Pin<&mut dyn Future<Output = ()>>,
) -> Observed {
    let seen = Observations {
        subject,
        paths: PerNode::new(),
        tasks: PerNode::new(),
        phases: Vec::new(),
        whole: PerNode::new(),
        trouble: None,
    };
    let mut steps = Steps { probing, run, seen, deployed: None, image: None };
    let ended = match select(cancelled, pin!(steps.all())).await {
        Either::Left(_) => Err(Ended("the run was interrupted".to_owned())),
        Either::Right((ended, _)) => ended,
    };
    steps.seen.trouble = ended.err().map(|Ended(why)| why);
    let leftovers = steps.clean().await;
    Observed { observations: steps.seen, leftovers }
}

impl<P: Probing> Steps<'_, P> {
    async fn all(&mut self) -> Result<(), Ended> {
        self.measure_paths().await;
        let images = self.prepare_images().await;
        // The watch begins before the probe comes, so that the first packets are seen as well.
        let mut view = self.watch().await;
        self.deploy(&images).await?;
        self.locate(&images).await;
        for network in self.seen.subject.networks.clone() {
            view = self.load(&network, view).await;
        }
        self.seen.whole = self.views(ProbeRequest::WatchStop).await;
        Ok(())
    }

    /// Before anything is loaded: the way itself, not what we put on it.
    async fn measure_paths(&mut self) {
        let subject = &self.seen.subject;
        let mut paths = self.paths(|node| subject.peers_of(node).collect(), ECHOES).await;
        // A few lost of a hundred may be chance; of ten times as many they are not.
        let doubtful = |node: &NodeName| match paths.get(node) {
            Some(Seen::Known(paths)) => {
                let losing =
                    paths.iter().filter(|(_, path)| path.as_ref().is_ok_and(PathQuality::loses_too_much));
                losing.map(|(peer, _)| *peer).collect()
            }
            _ => BTreeSet::new(),
        };
        if subject.nodes.keys().any(|node| !doubtful(node).is_empty()) {
            for (node, longer) in self.paths(doubtful, MORE_ECHOES).await {
                let (Some(Seen::Known(paths)), Seen::Known(longer)) = (paths.get_mut(&node), longer) else {
                    continue;
                };
                for (peer, longer) in longer {
                    if let (Some(Ok(path)), Ok(longer)) = (paths.get_mut(&peer), longer) {
                        *path = path.and(&longer);
                    }
                }
            }
        }
        self.seen.paths = paths;
    }

    /// Has every node send echo requests to some peers.
    async fn paths(
        &self,
        peers: impl Fn(&NodeName) -> BTreeSet<IpAddr>,
        count: u16,
    ) -> PerNode<BTreeMap<IpAddr, Result<PathQuality, String>>> {
        let echoes = |node: &NodeName| {
            ProbeRequest::Paths(Echoes { peers: peers(node), count, interval_ms: ECHO_INTERVAL_MS })
        };
        let replies = self.everywhere(echoes, QUICK).await.into_iter();
        replies
            .map(|(node, reply)| match reply {
                Ok(ProbeReply::Paths(paths)) => (node, Seen::Known(paths)),
                Ok(_) => (node, Seen::Unknown("answered out of turn".to_owned())),
                Err(why) => (node, Seen::Unknown(why)),
            })
            .collect()
    }

    async fn prepare_images(&self) -> BTreeMap<NodeName, Result<String, String>> {
        let images = self.everywhere(|_| ProbeRequest::PrepareImage, IMAGE).await;
        let id = |reply| match reply {
            Ok(ProbeReply::Image { id }) => Ok(id),
            Ok(_) => Err("answered out of turn".to_owned()),
            Err(why) => Err(format!("the probe's image could not be made: {why}")),
        };
        images.into_iter().map(|(node, reply)| (node, id(reply))).collect()
    }

    async fn watch(&self) -> PerNode<WireView> {
        let subject = &self.seen.subject;
        let watch = |node: &NodeName| {
            ProbeRequest::WatchStart(Watch {
                peers: subject.peers_of(node).collect(),
                data_path_port: subject.data_path_port,
                marker: self.run.marker,
            })
        };
        self.everywhere(watch, QUICK).await.into_iter().map(|(node, reply)| (node, view(reply))).collect()
    }

    /// Deploys on the first manager that can.
    async fn deploy(&mut self, images: &BTreeMap<NodeName, Result<String, String>>) -> Result<(), Ended> {
        let subject = &self.seen.subject;
        let attached = subject.networks.iter().filter(|network| !network.is_ingress);
        let networks: Vec<ProbedNetwork> = attached
            .map(|network| ProbedNetwork { id: network.id.clone(), name: network.name.clone() })
            .collect();
        let mut why = "no manager could make the probe's image".to_owned();
        for (node, _) in subject.nodes.iter().filter(|(_, node)| node.is_manager) {
            let image = match images.get(node) {
                Some(Ok(image)) => image,
                Some(Err(error)) => {
                    why = format!("{node}: {error}");
                    continue;
                }
                None => continue,
            };
            let has_it = |name: &NodeName| images.get(name).is_some_and(|other| other.as_ref() == Ok(image));
            let nodes: BTreeSet<String> = subject
                .nodes
                .iter()
                .filter(|(name, subject)| has_it(name) && subject.unavailable.is_none())
                .map(|(_, subject)| subject.node_id.clone())
                .collect();
            let request = ProbeRequest::Deploy(Deployment {
                run: self.run.name.clone(),
                image: image.clone(),
                networks: networks.clone(),
                publishes_a_port: subject.networks.iter().any(|network| network.is_ingress),
                marker: self.run.marker,
                nodes,
                wait_seconds: DEPLOY_SECONDS,
            });
            let deadline = Duration::from_secs(DEPLOY_SECONDS) + QUICK;
            match self.probing.probe(node, request, deadline).await {
                Ok(ProbeReply::Deployed(deployed)) => {
                    self.image = Some(image.clone());
                    self.deployed = Some(deployed);
                    return Ok(());
                }
                Ok(_) => why = format!("{node} answered out of turn"),
                Err(error) => why = format!("the probe could not be deployed through {node}: {error}"),
            }
        }
        Err(Ended(why))
    }

    /// Finds every node's task, or says why there is none.
    async fn locate(&mut self, images: &BTreeMap<NodeName, Result<String, String>>) {
        let run = self.run.name.clone();
        let located = self.everywhere(|_| ProbeRequest::Locate { run: run.clone() }, QUICK).await;
        let deployed = self.deployed.as_ref();
        let mut tasks = PerNode::new();
        for (node, reply) in located {
            let subject = self.seen.subject.nodes.get(&node);
            let id = subject.map_or("", |node| &node.node_id);
            let missing = deployed.and_then(|deployed| deployed.missing.get(id));
            let missing = missing.or(subject.and_then(|node| node.unavailable.as_ref()));
            let task = match (images.get(&node), missing, reply) {
                (_, _, Ok(ProbeReply::Located(task))) => Seen::Known(task),
                (Some(Ok(image)), ..) if self.image.as_ref().is_some_and(|deployed| deployed != image) => {
                    let why = "its image store gives the probe's image another id than the other nodes'";
                    Seen::Unknown(why.to_owned())
                }
                (Some(Err(why)), ..) => Seen::Unknown(why.clone()),
                (_, Some(why), _) => Seen::Unknown(format!("the probe does not run there: {why}")),
                (_, None, Err(why)) => Seen::Unknown(why),
                (_, None, Ok(_)) => Seen::Unknown("answered out of turn".to_owned()),
            };
            tasks.insert(node, task);
        }
        self.seen.tasks = tasks;
    }

    /// Takes away everything, whatever happened before, and says what could not be.
    async fn clean(&mut self) -> Vec<String> {
        let mut leftovers = Vec::new();
        // Even a deployment that failed may have made the service.
        let managers: Vec<&NodeName> = self
            .seen
            .subject
            .nodes
            .iter()
            .filter(|(_, node)| node.is_manager)
            .map(|(name, _)| name)
            .collect();
        let mut why = None;
        for node in managers {
            let removal = ProbeRequest::RemoveService { run: self.run.name.clone() };
            match self.probing.probe(node, removal, QUICK).await {
                Ok(_) => {
                    why = None;
                    break;
                }
                Err(error) => why = Some(format!("the probe's service may be left: {node}: {error}")),
            }
        }
        leftovers.extend(why);
        for (node, reply) in self.everywhere(|_| ProbeRequest::Clean, CLEAN).await {
            leftovers.extend(reply.err().map(|why| format!("the probe may be left on {node}: {why}")));
        }
        leftovers
    }

    pub(super) async fn views(&self, request: ProbeRequest) -> PerNode<WireView> {
        let replies = self.everywhere(|_| request.clone(), QUICK).await;
        replies.into_iter().map(|(node, reply)| (node, view(reply))).collect()
    }

    /// Asks every node at once.
    pub(super) async fn everywhere(
        &self,
        request: impl Fn(&NodeName) -> ProbeRequest,
        deadline: Duration,
    ) -> BTreeMap<NodeName, Result<ProbeReply, String>> {
        let asking = self.seen.subject.nodes.keys().map(|node| {
            let request = request(node);
            async move { (node.clone(), self.probing.probe(node, request, deadline).await) }
        });
        join_all(asking).await.into_iter().collect()
    }

    /// The task of a node.
    pub(super) fn task(&self, node: &NodeName) -> Result<&ProbeTask, String> {
        match self.seen.tasks.get(node) {
            Some(Seen::Known(task)) => Ok(task),
            Some(Seen::Unknown(why)) => Err(why.clone()),
            None => Err("the probe was not looked for".to_owned()),
        }
    }
}

fn view(reply: Result<ProbeReply, String>) -> Seen<WireView> {
    match reply {
        Ok(ProbeReply::Wire(view)) => Seen::Known(view),
        Ok(_) => Seen::Unknown("answered out of turn".to_owned()),
        Err(why) => Seen::Unknown(format!("the wire could not be watched: {why}")),
    }
}
