//! Three nodes, an encrypted network and an encrypted ingress network, and nothing wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::{Part, REGISTRY, judge};
use crate::facts::Observed;
use crate::names::NodeName;
use crate::probe::{
    Association, Capture, Counts, Exchanged, MeshAnswers, MeshOutcome, PathQuality, PeerCounts, PeerOutcome,
    ProbeTask, TrafficOutcome,
};
use crate::report::{
    LoadOutcome, Observations, Phase, Proof, ProofId, Report, Subject, SubjectNetwork, SubjectNode, Verdict,
    WireObservations,
};

pub(super) const NODES: [&str; 3] = ["kvm2", "kvm4", "kvm8"];
pub(super) const SECURE: &str = "secure-id";
pub(super) const INGRESS: &str = "ingress-id";
pub(super) const SECURE_VNI: u32 = 4097;
pub(super) const INGRESS_VNI: u32 = 4096;

/// The payload of an exchange on the network, in bytes.
const BULK: u64 = 1_000_000;

/// The payload of a request through the mesh, in bytes.
const REQUEST: u64 = 10_000;

pub(super) fn name(node: &str) -> NodeName {
    NodeName::new(node).unwrap()
}

pub(super) fn address(node: &str) -> IpAddr {
    IpAddr::from([203, 0, 113, node.as_bytes()[3] - b'0' + 10])
}

pub(super) fn on_network(node: &str) -> IpAddr {
    IpAddr::from([10, 0, 1, node.as_bytes()[3] - b'0'])
}

pub(super) fn peers(of: &str) -> impl Iterator<Item = &'static str> {
    NODES.into_iter().filter(move |node| *node != of)
}

pub(super) fn network(id: &str, name: &str, vni: u32) -> SubjectNetwork {
    SubjectNetwork {
        id: id.to_owned(),
        name: name.to_owned(),
        vnis: vec![vni],
        is_ingress: id == INGRESS,
        is_encrypted: true,
    }
}

fn per_node<T>(make: impl Fn(&'static str) -> T) -> BTreeMap<NodeName, Observed<T>> {
    NODES.iter().map(|node| (name(node), Observed::Known(make(node)))).collect()
}

/// What a node saw once so many bytes of ESP went in each direction.
fn capture(node: &str, bytes: u64) -> Capture {
    let counts = Counts { esp_packets: bytes / 1000, esp_bytes: bytes, ..Counts::default() };
    let association =
        |source, destination| Association { source, destination, spi: 7, packets: bytes / 1000, bytes };
    let both_ways =
        |peer| [association(address(node), address(peer)), association(address(peer), address(node))];
    Capture {
        interfaces: vec!["eth0".to_owned()],
        packets: 5000,
        kernel_drops: 0,
        truncated: 0,
        is_behind: false,
        decrypts_before_watching: false,
        peers: peers(node)
            .map(|peer| (address(peer), PeerCounts { sent: counts.clone(), received: counts.clone() }))
            .collect(),
        marker_elsewhere: 0,
        clear_elsewhere: BTreeMap::new(),
        associations: Observed::Known(peers(node).flat_map(both_ways).collect()),
    }
}

fn traffic(node: &str) -> LoadOutcome {
    let outcome = |peer: &str| PeerOutcome {
        tcp: Ok(Exchanged {
            answered_by: format!("id-{peer}"),
            sent_bytes: BULK,
            received_bytes: BULK,
            duration_ms: 90,
        }),
        udp_echoes: 5,
        udp_sent: 5,
    };
    LoadOutcome::Traffic(TrafficOutcome {
        resolved: Ok(NODES.iter().map(|node| on_network(node)).collect::<BTreeSet<_>>()),
        peers: peers(node).map(|peer| (on_network(peer), outcome(peer))).collect(),
    })
}

fn mesh() -> LoadOutcome {
    let answers = MeshAnswers { requests: 4, sent_bytes: 4 * REQUEST, received_bytes: 4 * REQUEST };
    let answered = NODES.iter().map(|node| (format!("id-{node}"), answers.clone())).collect();
    LoadOutcome::Mesh(MeshOutcome { answered, failed: 0, last_error: None })
}

pub(super) fn good_path() -> PathQuality {
    PathQuality { sent: 100, returned: 99, mean_us: Some(12_345), jitter_us: 250 }
}

pub(super) fn healthy() -> WireObservations {
    let nodes = NODES.iter().map(|node| {
        let subject = SubjectNode {
            address: address(node),
            mesh_address: Some(address(node)),
            node_id: format!("id-{node}"),
            is_manager: true,
            unavailable: None,
        };
        (name(node), subject)
    });
    // Some more than the payload: headers, and what else the nodes had to say to each other.
    let after_bulk = 2 * BULK + 100_000;
    let after_mesh = after_bulk + 8 * REQUEST + 9_000;
    WireObservations {
        subject: Subject {
            nodes: nodes.collect(),
            networks: vec![network(INGRESS, "ingress", INGRESS_VNI), network(SECURE, "secure", SECURE_VNI)],
            plaintext: Vec::new(),
            data_path_port: 4789,
            strangers: Vec::new(),
            missing: None,
        },
        paths: per_node(|node| peers(node).map(|peer| (address(peer), Ok(good_path()))).collect()),
        tasks: per_node(|node| ProbeTask {
            container: format!("container-{node}"),
            addresses: BTreeMap::from([(SECURE.to_owned(), on_network(node))]),
        }),
        phases: vec![
            Phase {
                network: SECURE.to_owned(),
                before: per_node(|node| capture(node, 3_000)),
                load: per_node(traffic),
                after: per_node(|node| capture(node, after_bulk)),
            },
            Phase {
                network: INGRESS.to_owned(),
                before: per_node(|node| capture(node, after_bulk)),
                load: per_node(|_| mesh()),
                after: per_node(|node| capture(node, after_mesh)),
            },
        ],
        whole: per_node(|node| capture(node, after_mesh)),
        trouble: None,
    }
}

/// What was seen on one direction, at one of its ends, to be spoilt.
pub(super) fn sent<'a>(
    capture: &'a mut BTreeMap<NodeName, Observed<Capture>>,
    from: &str,
    to: &str,
) -> &'a mut Counts {
    &mut known(capture, from).peers.get_mut(&address(to)).unwrap().sent
}

pub(super) fn known<'a, T>(observed: &'a mut BTreeMap<NodeName, Observed<T>>, node: &str) -> &'a mut T {
    match observed.get_mut(&name(node)).unwrap() {
        Observed::Known(value) => value,
        Observed::Unknown(why) => panic!("{why}"),
    }
}

/// All proofs about the wire.
pub(super) fn judged(wire: &WireObservations) -> Report {
    judged_without(wire, &[])
}

/// The same where some nodes do not answer.
pub(super) fn judged_without(wire: &WireObservations, absent: &[&str]) -> Report {
    let kinds: Vec<_> = REGISTRY.iter().copied().filter(|kind| kind.part == Part::Wire).collect();
    let unreachable = absent.iter().map(|node| (name(node), "no route to host".to_owned())).collect();
    judge(&Observations { unreachable, wire: Some(wire.clone()), ..Observations::default() }, &kinds)
}

/// The proofs that are not passed, as `id network from>to`.
pub(super) fn not_passed(wire: &WireObservations, verdict: Verdict) -> Vec<String> {
    let report = judged(wire);
    let proofs = report.proofs.iter().filter(|proof| proof.verdict == verdict);
    proofs.map(short).collect()
}

pub(super) fn short(proof: &Proof) -> String {
    let place = match (&proof.pair, &proof.node) {
        (Some(pair), _) => format!("{}>{}", pair.from, pair.to),
        (None, Some(node)) => node.to_string(),
        (None, None) => "-".to_owned(),
    };
    format!("{:?} {} {place}", proof.id, proof.network.as_deref().unwrap_or("-"))
}

#[test]
fn a_healthy_run_passes_every_proof() {
    let report = judged(&healthy());
    assert_eq!(not_passed(&healthy(), Verdict::Fail), Vec::<String>::new());
    assert_eq!(not_passed(&healthy(), Verdict::Unknown), Vec::<String>::new());
    assert_eq!(report.verdict(), Verdict::Pass);
    // Per network: the declaration; per direction four of the wire; the mesh on one, TCP and UDP on the other. The ways.
    assert_eq!(report.proofs.len(), 2 + 2 * 6 * 4 + 6 + 6 * 2 + 3 + 6);
    let pair =
        |proof: &&Proof| proof.id == ProofId::NoClearPackets && proof.network.as_deref() == Some("secure");
    let proof = report.proofs.iter().find(pair).unwrap();
    assert_eq!(
        proof.numbers,
        BTreeMap::from([("clear_packets".into(), 0), ("payload_bytes".into(), 2 * BULK)])
    );
}

#[test]
fn a_report_without_proofs_proves_nothing() {
    assert_eq!(Report { proofs: Vec::new() }.verdict(), Verdict::Unknown);
}

#[test]
fn a_report_survives_its_evidence_file() {
    let (observations, report) = (healthy(), judged(&healthy()));
    let text = serde_json::to_string(&(&observations, &report)).unwrap();
    assert_eq!(serde_json::from_str::<(WireObservations, Report)>(&text).unwrap(), (observations, report));
}
