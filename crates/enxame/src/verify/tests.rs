//! A run against scripted agents: which steps, in which order, and what is taken away whatever happens.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending, ready};
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use enxame_core::config::Config;
use enxame_core::facts::Observed;
use enxame_core::names::NodeName;
use enxame_core::probe::{
    Capture, Deployed, DoorsTried, Marker, MeshOutcome, ProbeReply, ProbeRequest, ProbeTask, ProbedExport,
    SharedOutcome, Sharing, SharingStep, TrafficOutcome,
};
use enxame_core::proofs::{self, Need, Part, ProofKind, REGISTRY};
use enxame_core::report::{
    Observations, Report, SharedObservations, SharedSubject, Subject, SubjectNetwork, SubjectNode, Verdict,
    WireObservations,
};

use super::run::{Course, RunIdentity, RunOutcome, observe};
use super::{Look, Probing, observe_shared, render};

const NODES: [&str; 2] = ["kvm2", "kvm4"];

/// Agents that do everything right, but for what fails.
#[derive(Default)]
struct Scripted {
    /// `node step` that answers with an error.
    failing: BTreeSet<String>,
    /// The step that never ends.
    endless: Option<&'static str>,
    /// `node step`, in order.
    asked: RefCell<Vec<String>>,
    /// The image's id on a node, where it is another.
    other_image: BTreeMap<String, String>,
    /// The nodes the deployment expected.
    expected: RefCell<BTreeSet<String>>,
    /// The nodes that nobody can ask.
    away: BTreeMap<NodeName, String>,
}

fn step(request: &ProbeRequest) -> &'static str {
    match request {
        ProbeRequest::Paths(_) => "paths",
        ProbeRequest::PrepareImage => "image",
        ProbeRequest::WatchStart(_) => "watch",
        ProbeRequest::Deploy(_) => "deploy",
        ProbeRequest::Locate { .. } => "locate",
        ProbeRequest::WatchRead => "read",
        ProbeRequest::Traffic(_) => "traffic",
        ProbeRequest::Mesh(_) => "mesh",
        ProbeRequest::WatchStop => "stop",
        ProbeRequest::RemoveService { .. } => "remove",
        ProbeRequest::Clean => "clean",
        ProbeRequest::Scan(_) => "scan",
        ProbeRequest::Share(Sharing { step: SharingStep::Write, .. }) => "write",
        ProbeRequest::Share(Sharing { step: SharingStep::Read(_), .. }) => "read files",
        ProbeRequest::Share(Sharing { step: SharingStep::Erase, .. }) => "erase",
        ProbeRequest::Doors(_) => "doors",
    }
}

impl Probing for Scripted {
    fn probe(
        &self,
        node: &NodeName,
        request: ProbeRequest,
        _: Duration,
    ) -> impl Future<Output = Result<ProbeReply, String>> {
        let asked = format!("{node} {}", step(&request));
        let fails = self.failing.contains(&asked);
        self.asked.borrow_mut().push(asked);
        let is_endless = self.endless == Some(step(&request));
        let reply = if fails { Err("scripted".to_owned()) } else { Ok(self.reply(node, request)) };
        async move {
            if is_endless {
                loop {
                    tokio::task::yield_now().await;
                }
            }
            reply
        }
    }
}

impl Scripted {
    fn failing(steps: &[&str]) -> Self {
        Self { failing: steps.iter().map(|step| (*step).to_owned()).collect(), ..Self::default() }
    }

    fn reply(&self, node: &NodeName, request: ProbeRequest) -> ProbeReply {
        match request {
            ProbeRequest::Paths(order) => {
                assert_eq!(order.peers.len(), 1 - self.away.len());
                ProbeReply::Paths(BTreeMap::new())
            }
            ProbeRequest::PrepareImage => {
                let id =
                    self.other_image.get(node.as_str()).cloned().unwrap_or_else(|| "sha256:1".to_owned());
                ProbeReply::Image { id }
            }
            ProbeRequest::Deploy(deployment) => {
                self.expected.replace(deployment.nodes.clone());
                ProbeReply::Deployed(Deployed {
                    service: "probe".to_owned(),
                    published_port: Some(30_000),
                    running: deployment.nodes,
                    missing: BTreeMap::new(),
                })
            }
            ProbeRequest::Locate { .. } => ProbeReply::Located(ProbeTask {
                container: format!("of-{node}"),
                addresses: BTreeMap::from([("secure-id".to_owned(), IpAddr::from([10, 0, 0, digit(node)]))]),
            }),
            ProbeRequest::WatchStart(_) | ProbeRequest::WatchRead | ProbeRequest::WatchStop => {
                ProbeReply::Wire(Capture {
                    interfaces: vec!["eth0".to_owned()],
                    packets: 0,
                    kernel_drops: 0,
                    truncated: 0,
                    is_behind: false,
                    decrypts_before_watching: false,
                    peers: BTreeMap::new(),
                    marker_elsewhere: 0,
                    clear_elsewhere: BTreeMap::new(),
                    associations: Observed::Known(Vec::new()),
                })
            }
            ProbeRequest::Traffic(order) => {
                assert_eq!(order.container, format!("of-{node}"));
                let answering = NODES.len() - self.away.len();
                assert_eq!((order.expected.len(), order.peers.len()), (answering, answering - 1));
                ProbeReply::Traffic(TrafficOutcome { resolved: Ok(order.expected), peers: BTreeMap::new() })
            }
            ProbeRequest::Mesh(order) => {
                assert_eq!((order.address, order.port), (address(node), 30_000));
                ProbeReply::Mesh(MeshOutcome { answered: BTreeMap::new(), failed: 0, last_error: None })
            }
            ProbeRequest::RemoveService { .. } | ProbeRequest::Clean => ProbeReply::Cleaned,
            ProbeRequest::Scan(_) => unreachable!("a run on the wire scans nothing"),
            ProbeRequest::Share(order) => {
                let outcome = |export: &ProbedExport| (export.name.clone(), Ok(SharedOutcome::default()));
                ProbeReply::Shared(order.exports.iter().map(outcome).collect())
            }
            ProbeRequest::Doors(_) => {
                ProbeReply::Doors(DoorsTried { control: Ok(()), open: BTreeMap::new() })
            }
        }
    }
}

fn digit(node: &NodeName) -> u8 {
    node.as_str().as_bytes()[3] - b'0'
}

fn address(node: &NodeName) -> IpAddr {
    IpAddr::from([203, 0, 113, 10 + digit(node)])
}

fn subject() -> Subject {
    let node = |name: &str| {
        let name = NodeName::new(name).unwrap();
        let node = SubjectNode {
            address: address(&name),
            mesh_address: Some(address(&name)),
            node_id: format!("id-{name}"),
            is_manager: true,
            unavailable: None,
        };
        (name, node)
    };
    let network = |name: &str, is_ingress| SubjectNetwork {
        id: format!("{name}-id"),
        name: name.to_owned(),
        vnis: vec![4096],
        is_ingress,
        is_encrypted: true,
    };
    Subject {
        nodes: NODES.iter().map(|name| node(name)).collect(),
        networks: vec![network("secure", false), network("ingress", true)],
        plaintext: Vec::new(),
        data_path_port: 4789,
        strangers: Vec::new(),
        missing: None,
    }
}

fn of_the_wire() -> Vec<&'static ProofKind> {
    REGISTRY.iter().copied().filter(|kind| kind.part == Part::Wire).collect()
}

async fn run(agents: &Scripted, cancelled: impl Future<Output = ()>) -> RunOutcome {
    run_for(agents, subject(), proofs::needs(&of_the_wire()), cancelled).await
}

async fn run_for(
    agents: &Scripted,
    subject: Subject,
    needs: BTreeSet<Need>,
    cancelled: impl Future<Output = ()>,
) -> RunOutcome {
    let run = RunIdentity { name: "test".to_owned(), marker: Marker::new([7; 32]) };
    let course = Course { run, needs, unreachable: &agents.away };
    observe(agents, subject, &course, pin!(cancelled)).await
}

fn judged(agents: &Scripted, wire: WireObservations) -> Report {
    let seen = Observations { unreachable: agents.away.clone(), wire: Some(wire), ..Observations::default() };
    proofs::judge(&seen, &of_the_wire())
}

fn steps_of(agents: &Scripted, node: &str) -> Vec<String> {
    let prefix = format!("{node} ");
    agents.asked.borrow().iter().filter_map(|asked| asked.strip_prefix(&prefix)).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_run_watches_before_it_deploys_and_between_the_loads() {
    let agents = Scripted::default();
    let observed = run(&agents, pending()).await;
    assert_eq!(observed.wire.trouble, None);
    assert_eq!(observed.leftovers, Vec::<String>::new());
    let steps = [
        "paths", "image", "watch", "deploy", "locate", "traffic", "read", "mesh", "read", "stop", "remove",
        "clean",
    ];
    assert_eq!(steps_of(&agents, "kvm2"), steps);
    let of_the_other = steps.into_iter().filter(|step| !["deploy", "remove"].contains(step));
    assert_eq!(steps_of(&agents, "kvm4"), of_the_other.collect::<Vec<_>>());
    let networks: Vec<_> = observed.wire.phases.iter().map(|phase| phase.network.as_str()).collect();
    assert_eq!(networks, ["secure-id", "ingress-id"]);
}

#[tokio::test]
async fn whatever_fails_everything_is_taken_away_and_nothing_is_passed() {
    for step in ["paths", "image", "watch", "deploy", "locate", "traffic", "read", "mesh", "stop"] {
        let agents = Scripted::failing(&[&format!("kvm2 {step}"), &format!("kvm4 {step}")]);
        let observed = run(&agents, pending()).await;
        assert_ne!(judged(&agents, observed.wire).verdict(), Verdict::Pass, "{step}");
        assert_eq!(steps_of(&agents, "kvm2").last().map(String::as_str), Some("clean"), "{step}");
        assert_eq!(steps_of(&agents, "kvm4").last().map(String::as_str), Some("clean"), "{step}");
        assert!(steps_of(&agents, "kvm2").contains(&"remove".to_owned()), "{step}");
    }
}

#[tokio::test]
async fn another_manager_deploys_and_removes_where_the_first_cannot() {
    let agents = Scripted::failing(&["kvm2 deploy", "kvm2 remove"]);
    let observed = run(&agents, pending()).await;
    assert_eq!(observed.wire.trouble, None);
    assert_eq!(observed.leftovers, Vec::<String>::new());
    assert!(steps_of(&agents, "kvm4").contains(&"deploy".to_owned()));
    assert!(steps_of(&agents, "kvm4").contains(&"remove".to_owned()));
}

#[tokio::test]
async fn what_could_not_be_taken_away_is_told() {
    let agents = Scripted::failing(&["kvm2 remove", "kvm4 remove", "kvm4 clean"]);
    let observed = run(&agents, pending()).await;
    assert_eq!(observed.leftovers.len(), 2, "{:?}", observed.leftovers);
    assert!(observed.leftovers[1].contains("kvm4: scripted"), "{:?}", observed.leftovers);
}

#[tokio::test]
async fn an_interrupted_run_stops_and_takes_everything_away() {
    let agents = Scripted::default();
    let observed = run(&agents, ready(())).await;
    assert_eq!(observed.wire.trouble.as_deref(), Some("the run was interrupted"));
    assert_eq!(steps_of(&agents, "kvm2"), ["remove", "clean"]);

    let agents = Scripted { endless: Some("traffic"), ..Scripted::default() };
    let at_the_loads = std::future::poll_fn(|_| {
        let loading = agents.asked.borrow().iter().any(|asked| asked.ends_with("traffic"));
        if loading { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    let observed = run(&agents, at_the_loads).await;
    assert_eq!(observed.wire.phases.len(), 0, "nobody waited for the end of the load");
    let tail = ["traffic", "remove", "clean"];
    assert_eq!(steps_of(&agents, "kvm2")[5..], tail);
}

#[tokio::test]
async fn a_node_with_another_image_is_not_waited_for() {
    // The first manager's image decides; the other node's task cannot run.
    let agents = Scripted {
        other_image: BTreeMap::from([("kvm4".to_owned(), "sha256:2".to_owned())]),
        ..Scripted::failing(&["kvm4 locate"])
    };
    let mut subject = subject();
    subject.networks.retain(|network| network.is_ingress);
    let observed = run_for(&agents, subject, proofs::needs(&of_the_wire()), pending()).await;
    assert_eq!(observed.wire.trouble, None);
    assert_eq!(*agents.expected.borrow(), BTreeSet::from(["id-kvm2".to_owned()]));
}

#[tokio::test]
async fn a_drained_node_is_not_waited_for_and_its_proofs_say_why() {
    let agents = Scripted::failing(&["kvm4 locate"]);
    let mut subject = subject();
    subject.networks.retain(|network| network.is_ingress);
    subject.nodes.get_mut(&NodeName::new("kvm4").unwrap()).unwrap().unavailable = Some("drained".to_owned());
    let observed = run_for(&agents, subject, proofs::needs(&of_the_wire()), pending()).await;
    assert_eq!(*agents.expected.borrow(), BTreeSet::from(["id-kvm2".to_owned()]));
    let task = &observed.wire.tasks[&NodeName::new("kvm4").unwrap()];
    assert_eq!(*task, Observed::Unknown("the probe does not run there: drained".to_owned()));
}

#[tokio::test]
async fn a_report_has_a_line_per_proof_and_spells_out_what_did_not_pass() {
    let agents = Scripted::failing(&["kvm4 mesh"]);
    let observed = run(&agents, pending()).await;
    let text = render::report(&judged(&agents, observed.wire));
    let plain = anstream::adapter::strip_str(&text).to_string();
    insta::assert_snapshot!(plain);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_left_out_and_the_others_are_proven() {
    let kvm4 = NodeName::new("kvm4").unwrap();
    let agents = Scripted {
        away: BTreeMap::from([(kvm4, "cannot connect: no route to host".to_owned())]),
        ..Scripted::default()
    };
    let observed = run(&agents, pending()).await;
    assert_eq!(observed.wire.trouble, None);
    assert_eq!(observed.leftovers, Vec::<String>::new());
    assert_eq!(steps_of(&agents, "kvm4"), Vec::<String>::new());
    assert_eq!(*agents.expected.borrow(), BTreeSet::from(["id-kvm2".to_owned()]));
    let report = judged(&agents, observed.wire);
    let text = anstream::adapter::strip_str(&render::report(&report)).to_string();
    let line = "kvm2 -> kvm4, kvm4 -> kvm2: kvm4 does not answer: cannot connect: no route to host";
    // Once for each proof of pairs: the ways, five of the ingress network, six of the other.
    assert_eq!(text.matches(line).count(), 12, "{text}");
    let by_itself = report.proofs.iter().filter(|proof| proof.verdict == Verdict::Pass).count();
    assert_eq!(by_itself, 3, "two declarations, and the name that kvm2 resolves: {report:#?}");
    let others = report.proofs.iter().filter(|proof| proof.verdict != Verdict::Pass);
    for proof in others {
        assert_eq!(proof.verdict, Verdict::Unknown, "{proof:#?}");
        assert_eq!(proof.text, "kvm4 does not answer: cannot connect: no route to host");
    }
}

#[tokio::test]
async fn only_what_the_proofs_need_is_done() {
    let steps = |needs: &[Need]| {
        let needs = needs.iter().copied().collect();
        async {
            let agents = Scripted::default();
            let observed = run_for(&agents, subject(), needs, pending()).await;
            assert_eq!((observed.wire.trouble, observed.leftovers), (None, Vec::new()));
            steps_of(&agents, "kvm4")
        }
    };
    assert_eq!(steps(&[Need::Networks]).await, Vec::<String>::new());
    assert_eq!(steps(&[Need::Echoes]).await, ["paths"]);
    assert_eq!(steps(&[Need::TaskLoad]).await, ["image", "locate", "traffic", "clean"]);
    let watched = [Need::MeshLoad, Need::Watch];
    assert_eq!(steps(&watched).await, ["image", "watch", "locate", "mesh", "read", "stop", "clean"]);
}

async fn look_at_files(
    agents: &Scripted,
    cancelled: impl Future<Output = ()>,
) -> (SharedObservations, Vec<String>) {
    let yaml = "version: 1\ncluster: lab\nnodes:\n  \
                - {name: kvm2, address: 203.0.113.12, tunnel: 192.168.255.1, roles: [storage]}\n  \
                - {name: kvm4, address: 203.0.113.14, tunnel: 192.168.255.2}\n\
                tunnel: {network: 192.168.255.0/24}\nstorage: {size: 2G, exports: [{name: web, uid: 1000}]}\n";
    let subject = SharedSubject::of(&Config::parse("cluster.yaml", yaml).unwrap()).unwrap();
    let run = RunIdentity { name: "test".to_owned(), marker: Marker::new([7; 32]) };
    let look = Look { run: &run, data_path_port: 4789, unreachable: &agents.away };
    observe_shared(agents, subject, &look, pin!(cancelled)).await
}

#[tokio::test]
async fn files_are_written_and_read_while_the_wire_is_watched_and_erased_whatever_happens() {
    let whole = ["watch", "paths", "write", "read files", "doors", "stop", "erase"];
    let agents = Scripted::default();
    let (seen, leftovers) = look_at_files(&agents, pending()).await;
    assert_eq!(
        (steps_of(&agents, "kvm2"), steps_of(&agents, "kvm4")),
        (whole.map(str::to_owned).into(), whole.map(str::to_owned).into())
    );
    assert_eq!((seen.watched.len(), leftovers.len()), (2, 0));

    for step in ["watch", "paths", "write", "read files", "doors", "stop"] {
        let agents = Scripted::failing(&[&format!("kvm2 {step}"), &format!("kvm4 {step}")]);
        let (seen, _) = look_at_files(&agents, pending()).await;
        assert_eq!(steps_of(&agents, "kvm4").last().map(String::as_str), Some("erase"), "{step}");
        let kinds: Vec<_> = REGISTRY.iter().copied().filter(|kind| kind.part == Part::Storage).collect();
        let report = proofs::judge(&Observations { shared: Some(seen), ..Observations::default() }, &kinds);
        assert_ne!(report.verdict(), Verdict::Pass, "{step}");
    }

    let agents = Scripted::default();
    let (seen, _) = look_at_files(&agents, ready(())).await;
    assert_eq!(steps_of(&agents, "kvm4"), ["erase"]);
    assert!(seen.watched.is_empty());
    let agents = Scripted::failing(&["kvm4 erase"]);
    let (_, leftovers) = look_at_files(&agents, pending()).await;
    assert_eq!(leftovers, ["files of the proof may be left: kvm4: scripted"]);
}
