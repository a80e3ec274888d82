//! The steps of a run, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use enxame_core::facts::Observed;
use enxame_core::names::NodeName;
use enxame_core::probe::{
    Capture, Deployed, Deployment, Echoes, Marker, PathQuality, ProbeReply, ProbeRequest, ProbeTask,
    ProbedNetwork, Watch,
};
use enxame_core::proofs::Need;
use enxame_core::report::{PerNode, Subject, SubjectNetwork, SubjectNode, WireObservations};
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
pub(crate) struct RunIdentity {
    /// Its name: lower-case letters, digits and hyphens.
    pub(crate) name: String,
    /// Its marker: fresh random bytes.
    pub(crate) marker: Marker,
}

/// What a run does, and with whom.
#[derive(Clone, Debug)]
pub(crate) struct Course<'a> {
    pub(crate) run: RunIdentity,
    /// What the proofs need: nothing else is done.
    pub(crate) needs: BTreeSet<Need>,
    /// The nodes that nobody could ask anything, and why: they are left out.
    pub(crate) unreachable: &'a BTreeMap<NodeName, String>,
}

/// What a run brought.
#[derive(Debug)]
pub(crate) struct RunOutcome {
    /// What was seen.
    pub(crate) wire: WireObservations,
    /// What could not be taken away, and why.
    pub(crate) leftovers: Vec<String>,
}

/// What the steps share.
pub(super) struct Steps<'a, P> {
    pub(super) probing: &'a P,
    pub(super) course: &'a Course<'a>,
    pub(super) seen: WireObservations,
    pub(super) deployed: Option<Deployed>,
    /// The id of its image.
    image: Option<String>,
}

/// Why a run ended before its last step.
pub(super) struct Ended(pub(super) String);

/// Runs all steps. When `cancelled` completes, the step in hand is ended, the rest is left out, and what was put on
/// the nodes is taken away all the same.
pub(crate) async fn observe(
    probing: &impl Probing,
    subject: Subject,
    course: &Course<'_>,
    cancelled: Pin<&mut dyn Future<Output = ()>>,
) -> RunOutcome {
    let seen = WireObservations {
        subject,
        paths: PerNode::new(),
        tasks: PerNode::new(),
        phases: Vec::new(),
        whole: PerNode::new(),
        trouble: None,
    };
    let mut steps = Steps { probing, course, seen, deployed: None, image: None };
    let ended = match select(cancelled, pin!(steps.all())).await {
        Either::Left(_) => Err(Ended("the run was interrupted".to_owned())),
        Either::Right((ended, _)) => ended,
    };
    steps.seen.trouble = ended.err().map(|Ended(why)| why);
    let leftovers = if steps.loads() { steps.clean().await } else { Vec::new() };
    RunOutcome { wire: steps.seen, leftovers }
}

impl<P: Probing> Steps<'_, P> {
    async fn all(&mut self) -> Result<(), Ended> {
        if self.needs(Need::Echoes) {
            self.measure_paths().await;
        }
        // Without a load there is nothing to watch.
        if !self.loads() {
            return Ok(());
        }
        let images = self.prepare_images().await;
        // The watch begins before the probe comes, so that the first packets are seen as well.
        let mut capture = if self.needs(Need::Watch) { self.watch().await } else { PerNode::new() };
        self.deploy(&images).await?;
        self.locate(&images).await;
        let networks: Vec<SubjectNetwork> = self.loaded_networks().cloned().collect();
        for network in networks {
            capture = self.load(&network, capture).await;
        }
        if self.needs(Need::Watch) {
            self.seen.whole = self.captures(ProbeRequest::WatchStop).await;
        }
        Ok(())
    }

    pub(super) fn needs(&self, need: Need) -> bool {
        self.course.needs.contains(&need)
    }

    fn loads(&self) -> bool {
        self.needs(Need::TaskLoad) || self.needs(Need::MeshLoad)
    }

    /// The networks that a load is put on.
    fn loaded_networks(&self) -> impl Iterator<Item = &SubjectNetwork> {
        let load =
            |network: &SubjectNetwork| if network.is_ingress { Need::MeshLoad } else { Need::TaskLoad };
        self.seen.subject.networks.iter().filter(move |network| self.needs(load(network)))
    }

    fn managers(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes().filter(|(_, node)| node.is_manager).map(|(name, _)| name)
    }

    /// The nodes that can be asked.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&NodeName, &SubjectNode)> {
        self.seen.subject.nodes.iter().filter(|(name, _)| !self.course.unreachable.contains_key(*name))
    }

    /// Before anything is loaded: the way itself, not what we put on it.
    async fn measure_paths(&mut self) {
        let peers_of = |node: &NodeName| {
            let peers = self.nodes().filter(|(name, _)| *name != node);
            peers.map(|(_, peer)| peer.address).collect()
        };
        let mut paths = self.paths(peers_of, ECHOES).await;
        // A few lost of a hundred may be chance; of ten times as many they are not.
        let doubtful = |node: &NodeName| match paths.get(node) {
            Some(Observed::Known(paths)) => {
                let losing =
                    paths.iter().filter(|(_, path)| path.as_ref().is_ok_and(PathQuality::loses_too_much));
                losing.map(|(peer, _)| *peer).collect()
            }
            _ => BTreeSet::new(),
        };
        if self.nodes().any(|(node, _)| !doubtful(node).is_empty()) {
            for (node, longer) in self.paths(doubtful, MORE_ECHOES).await {
                let (Some(Observed::Known(paths)), Observed::Known(longer)) = (paths.get_mut(&node), longer)
                else {
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
            ProbeRequest::Paths(Echoes {
                peers: peers(node),
                count,
                interval_ms: ECHO_INTERVAL_MS,
                marker: None,
            })
        };
        let replies = self.everywhere(echoes, QUICK).await.into_iter();
        replies
            .map(|(node, reply)| match reply {
                Ok(ProbeReply::Paths(paths)) => (node, Observed::Known(paths)),
                Ok(_) => (node, Observed::Unknown("answered out of turn".to_owned())),
                Err(why) => (node, Observed::Unknown(why)),
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

    async fn watch(&self) -> PerNode<Capture> {
        let subject = &self.seen.subject;
        let watch = |node: &NodeName| {
            ProbeRequest::WatchStart(Watch {
                peers: subject.peers_of(node).collect(),
                data_path_port: subject.data_path_port,
                marker: self.course.run.marker,
            })
        };
        self.everywhere(watch, QUICK).await.into_iter().map(|(node, reply)| (node, capture(reply))).collect()
    }

    /// Deploys on the first manager that can.
    async fn deploy(&mut self, images: &BTreeMap<NodeName, Result<String, String>>) -> Result<(), Ended> {
        let attached = self.loaded_networks().filter(|network| !network.is_ingress);
        let networks: Vec<ProbedNetwork> = attached
            .map(|network| ProbedNetwork { id: network.id.clone(), name: network.name.clone() })
            .collect();
        let mut why = "no manager could make the probe's image".to_owned();
        let managers: Vec<NodeName> = self.managers().cloned().collect();
        for node in &managers {
            let image = match images.get(node) {
                Some(Ok(image)) => image,
                Some(Err(error)) => {
                    why = format!("{node}: {error}");
                    continue;
                }
                None => continue,
            };
            let has_it = |name: &NodeName| images.get(name).is_some_and(|other| other.as_ref() == Ok(image));
            let nodes: BTreeSet<String> = self
                .nodes()
                .filter(|(name, subject)| has_it(name) && subject.unavailable.is_none())
                .map(|(_, subject)| subject.node_id.clone())
                .collect();
            let request = ProbeRequest::Deploy(Deployment {
                run: self.course.run.name.clone(),
                image: image.clone(),
                networks: networks.clone(),
                publishes_a_port: self.loaded_networks().any(|network| network.is_ingress),
                marker: self.course.run.marker,
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
        let run = self.course.run.name.clone();
        let located = self.everywhere(|_| ProbeRequest::Locate { run: run.clone() }, QUICK).await;
        let deployed = self.deployed.as_ref();
        let mut tasks = PerNode::new();
        for (node, reply) in located {
            let subject = self.seen.subject.nodes.get(&node);
            let id = subject.map_or("", |node| &node.node_id);
            let missing = deployed.and_then(|deployed| deployed.missing.get(id));
            let missing = missing.or(subject.and_then(|node| node.unavailable.as_ref()));
            let task = match (images.get(&node), missing, reply) {
                (_, _, Ok(ProbeReply::Located(task))) => Observed::Known(task),
                (Some(Ok(image)), ..) if self.image.as_ref().is_some_and(|deployed| deployed != image) => {
                    let why = "its image store gives the probe's image another id than the other nodes'";
                    Observed::Unknown(why.to_owned())
                }
                (Some(Err(why)), ..) => Observed::Unknown(why.clone()),
                (_, Some(why), _) => Observed::Unknown(format!("the probe does not run there: {why}")),
                (_, None, Err(why)) => Observed::Unknown(why),
                (_, None, Ok(_)) => Observed::Unknown("answered out of turn".to_owned()),
            };
            tasks.insert(node, task);
        }
        self.seen.tasks = tasks;
    }

    /// Takes away everything, whatever happened before, and says what could not be.
    async fn clean(&mut self) -> Vec<String> {
        let mut leftovers = Vec::new();
        // Even a deployment that failed may have made the service.
        let mut why = None;
        for node in self.managers() {
            let removal = ProbeRequest::RemoveService { run: self.course.run.name.clone() };
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

    pub(super) async fn captures(&self, request: ProbeRequest) -> PerNode<Capture> {
        let replies = self.everywhere(|_| request.clone(), QUICK).await;
        replies.into_iter().map(|(node, reply)| (node, capture(reply))).collect()
    }

    /// Asks every node that can be asked, at once.
    pub(super) async fn everywhere(
        &self,
        request: impl Fn(&NodeName) -> ProbeRequest,
        deadline: Duration,
    ) -> BTreeMap<NodeName, Result<ProbeReply, String>> {
        let asking = self.nodes().map(|(node, _)| {
            let request = request(node);
            async move { (node.clone(), self.probing.probe(node, request, deadline).await) }
        });
        join_all(asking).await.into_iter().collect()
    }

    /// The task of a node.
    pub(super) fn task(&self, node: &NodeName) -> Result<&ProbeTask, String> {
        match self.seen.tasks.get(node) {
            Some(Observed::Known(task)) => Ok(task),
            Some(Observed::Unknown(why)) => Err(why.clone()),
            None => Err("the probe was not looked for".to_owned()),
        }
    }
}

fn capture(reply: Result<ProbeReply, String>) -> Observed<Capture> {
    match reply {
        Ok(ProbeReply::Wire(capture)) => Observed::Known(capture),
        Ok(_) => Observed::Unknown("answered out of turn".to_owned()),
        Err(why) => Observed::Unknown(format!("the wire could not be watched: {why}")),
    }
}
