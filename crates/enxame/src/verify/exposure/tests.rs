//! A look around with scripted eyes: who is asked to look at whom, and what becomes of those who cannot.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::pin::pin;

use enxame_core::facts::{InterfaceFacts, LinkFacts, NodeFacts};
use enxame_core::proofs::{self, Part, REGISTRY};
use enxame_core::report::{Observations, Report, Verdict};

use super::*;
use crate::verify::render;

/// Nodes and an operator that see SSH, the swarm and TCP 443 where they may, but for what fails.
#[derive(Default)]
struct Scripted {
    /// Addresses that the operator has no route to.
    unroutable: BTreeSet<IpAddr>,
    /// Nodes that cannot look.
    blind: BTreeSet<String>,
    /// Where the operator is, if not beyond everything.
    here: Option<IpAddr>,
    /// Nodes that nobody can ask.
    away: BTreeMap<NodeName, String>,
    /// `from target ports`, in order.
    asked: RefCell<Vec<String>>,
}

impl Scripted {
    fn see(&self, from: &str, source: &str, order: &Scan) -> Scanned {
        self.asked.borrow_mut().push(format!("{from} {} {}", order.target, order.tcp.len()));
        Scanned {
            source: source.parse().unwrap(),
            tried_tcp: order.tcp.clone(),
            open: order.controls.iter().copied().collect(),
            refused: PortSet::default(),
            rejected: PortSet::default(),
            udp: [].into(),
            control: order.controls.first().copied(),
        }
    }
}

impl Probing for Scripted {
    fn probe(
        &self,
        node: &NodeName,
        request: ProbeRequest,
        _: Duration,
    ) -> impl Future<Output = Result<ProbeReply, String>> {
        let ProbeRequest::Scan(order) = request else { panic!("{request:?}") };
        let source = match (node.as_str(), order.target.is_ipv4()) {
            ("kvm2", true) => "203.0.113.12",
            ("kvm2", false) => "2001:db8::12",
            _ => "203.0.113.18",
        };
        ready(if self.blind.contains(node.as_str()) {
            Err("scripted".to_owned())
        } else {
            Ok(ProbeReply::Scanned(self.see(node.as_str(), source, &order)))
        })
    }
}

impl Lookout for Scripted {
    fn source(&self, target: IpAddr) -> Option<IpAddr> {
        self.here.or_else(|| target.is_ipv6().then(|| "2001:db8::9".parse().unwrap()))
    }

    fn scan(&self, _: &NodeName, order: Scan, _: usize) -> impl Future<Output = Result<Scanned, Missed>> {
        ready(if self.unroutable.contains(&order.target) {
            Err(Missed::NoRoute)
        } else {
            let source = if order.target.is_ipv4() { "198.51.100.9" } else { "2001:db8::9" };
            Ok(self.see("operator", source, &order))
        })
    }
}

/// A node as the plan's scenarios have it, with a session and addresses of its own.
fn facts(session: &str, addresses: &[&str]) -> NodeFacts {
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../enxame-core/tests/scenarios/bases/bare.json");
    let nodes: ClusterFacts = serde_json::from_str(&std::fs::read_to_string(base).unwrap()).unwrap();
    let mut facts = nodes.values().next().unwrap().clone();
    facts.ssh_session = SshSession::parse(&format!("{session} 50022 203.0.113.12 22"));
    facts.interfaces = vec![InterfaceFacts {
        name: "eth0".to_owned(),
        mtu_bytes: 1500,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        link: LinkFacts::default(),
    }];
    facts
}

async fn look(eyes: &Scripted, cancelled: impl Future<Output = ()>) -> Vec<Sighting> {
    let text = "version: 1\ncluster: lab\nnodes:\n  - name: kvm2\n    address: 203.0.113.12\n\
                \x20 - name: kvm8\n    address: 203.0.113.18\n";
    let config = Config::parse("cluster.yaml", text).unwrap();
    let addresses: [&[&str]; 2] = [&["203.0.113.12"], &["203.0.113.18", "2001:db8::18", "fe80::1"]];
    let names = config.nodes.iter().map(|node| node.name.clone());
    let facts = names.zip(addresses.map(|addresses| facts("198.51.100.9", addresses)));
    let facts = facts.filter(|(name, _)| !eyes.away.contains_key(name)).collect();
    let unreachable = &eyes.away;
    let scene = Scene { config: &config, facts: &facts, unreachable, probing: eyes, lookout: eyes };
    look_around(&scene, pin!(cancelled)).await
}

fn judged(eyes: &Scripted, sightings: Vec<Sighting>) -> Report {
    let kinds: Vec<_> = REGISTRY.iter().copied().filter(|kind| kind.part == Part::Exposure).collect();
    proofs::judge(
        &Observations { unreachable: eyes.away.clone(), sightings, ..Observations::default() },
        &kinds,
    )
}

#[tokio::test]
async fn the_operator_tries_every_port_of_every_address_and_nodes_a_sample_of_each_other() {
    let eyes = Scripted::default();
    let sightings = look(&eyes, pending()).await;
    let asked = eyes.asked.borrow();
    let all = ["203.0.113.12 65535", "203.0.113.18 65535", "2001:db8::18 65535"];
    assert_eq!(asked[..3], all.map(|target| format!("operator {target}")));
    let pairs: Vec<_> = asked[3..].iter().map(|asked| asked.rsplit_once(' ').unwrap()).collect();
    assert_eq!(
        pairs.iter().map(|(pair, _)| *pair).collect::<Vec<_>>(),
        ["kvm8 203.0.113.12", "kvm2 203.0.113.18"]
    );
    assert!(pairs.iter().all(|(_, count)| count.parse::<usize>().unwrap() < 1500), "{pairs:?}");
    let report = judged(&eyes, sightings);
    assert_eq!(report.verdict(), Verdict::Pass, "{report:#?}");
    assert_eq!(report.proofs.len(), 10);
    let text = render::report(&report);
    insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
}

#[tokio::test]
async fn from_a_node_nobody_can_tell_what_strangers_meet() {
    let eyes = Scripted { here: Some("203.0.113.18".parse().unwrap()), ..Scripted::default() };
    let sightings = look(&eyes, pending()).await;
    assert!(!eyes.asked.borrow().iter().any(|asked| asked.starts_with("operator")));
    let report = judged(&eyes, sightings);
    assert_eq!(report.verdict(), Verdict::Unknown, "{report:#?}");
    assert!(format!("{report:?}").contains("you stand on kvm8"), "{report:#?}");
}

#[tokio::test]
async fn a_peer_looks_where_the_operator_has_no_route_and_as_itself() {
    let eyes = Scripted { unroutable: ["2001:db8::18".parse().unwrap()].into(), ..Scripted::default() };
    let sightings = look(&eyes, pending()).await;
    let sighting = sightings.iter().find(|sighting| sighting.address.is_ipv6()).unwrap();
    assert_eq!(sighting.from, Vantage::Peer(NodeName::new("kvm2").unwrap()));
    assert_eq!(sighting.seen_as, Some("2001:db8::12".parse().unwrap()));
    assert!(sighting.instead.is_some() && !sighting.expected.admitted.contains(22), "{sighting:?}");
    assert!(eyes.asked.borrow().contains(&"kvm2 2001:db8::18 65535".to_owned()));
}

#[tokio::test]
async fn where_nobody_can_look_nothing_is_proven() {
    let eyes = Scripted {
        unroutable: ["2001:db8::18".parse().unwrap()].into(),
        blind: ["kvm2".to_owned()].into(),
        ..Scripted::default()
    };
    let report = judged(&eyes, look(&eyes, pending()).await);
    let unknown = report.proofs.iter().filter(|proof| proof.verdict == Verdict::Unknown);
    let texts: Vec<&str> = unknown.map(|proof| proof.text.as_str()).collect();
    // Two proofs of the address, and two of the peer that was to be seen by the node that cannot look.
    assert_eq!(texts.len(), 4, "{texts:#?}");
    assert!(
        texts.iter().any(|text| text.contains("no route to it, and kvm2 saw nothing: scripted")),
        "{texts:#?}"
    );
}

#[tokio::test]
async fn an_interrupted_look_proves_nothing() {
    let eyes = Scripted::default();
    let report = judged(&eyes, look(&eyes, ready(())).await);
    assert!(report.proofs.len() == 10 && report.proofs.iter().all(|proof| proof.verdict == Verdict::Unknown));
}

#[tokio::test]
async fn nobody_looks_at_a_node_that_does_not_answer_or_from_it_and_its_proofs_name_it() {
    let kvm8 = NodeName::new("kvm8").unwrap();
    let eyes = Scripted {
        away: BTreeMap::from([(kvm8.clone(), "cannot connect: no route to host".to_owned())]),
        ..Scripted::default()
    };
    let sightings = look(&eyes, pending()).await;
    assert_eq!(*eyes.asked.borrow(), ["operator 203.0.113.12 65535"]);
    let why = "kvm8 does not answer: cannot connect: no route to host";
    let unseen = sightings.iter().filter(|sighting| sighting.seen == Observed::Unknown(why.to_owned()));
    // From the operator, from its peer, and of its peer.
    assert_eq!(unseen.count(), 3, "{sightings:#?}");
    let report = judged(&eyes, sightings);
    let (passed, others): (Vec<_>, Vec<_>) =
        report.proofs.iter().partition(|proof| proof.verdict == Verdict::Pass);
    assert!(passed.len() == 2 && passed.iter().all(|proof| proof.node.as_ref().unwrap().as_str() == "kvm2"));
    assert_eq!(others.len(), 6);
    assert!(others.iter().all(|proof| proof.verdict == Verdict::Unknown && proof.text == why), "{others:#?}");
}

#[tokio::test]
async fn a_peer_that_does_not_answer_looks_for_nobody() {
    let kvm2 = NodeName::new("kvm2").unwrap();
    let eyes = Scripted {
        unroutable: ["2001:db8::18".parse().unwrap()].into(),
        away: BTreeMap::from([(kvm2, "cannot connect: no route to host".to_owned())]),
        ..Scripted::default()
    };
    let sightings = look(&eyes, pending()).await;
    let sighting = sightings.iter().find(|sighting| sighting.address.is_ipv6()).unwrap();
    let why = "the operator has no route to it, and kvm2 does not answer: cannot connect: no route to host";
    assert_eq!(sighting.seen, Observed::Unknown(why.to_owned()));
}
