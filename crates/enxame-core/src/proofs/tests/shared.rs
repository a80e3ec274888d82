//! Tunnels and shared files: a healthy look, and every way to spoil it.

use std::net::IpAddr;

use super::super::{Part, REGISTRY, judge};
use super::healthy::{address, known, name};
use crate::config::Config;
use crate::facts::Observed;
use crate::names::NodeName;
use crate::probe::{Capture, Door, DoorsTried, PathQuality, PeerCounts, Shared, SharedOutcome};
use crate::report::{Observations, PerNode, Proof, SharedObservations, SharedSubject, Verdict};

const NODES: [&str; 3] = ["kvm2", "kvm4", "kvm8"];
const YAML: &str = "\
version: 1
cluster: lab
nodes:
  - {name: kvm2, address: 203.0.113.12, tunnel: 192.168.255.1}
  - {name: kvm4, address: 203.0.113.14, tunnel: 192.168.255.2}
  - {name: kvm8, address: 203.0.113.18, tunnel: 192.168.255.3, roles: [storage]}
tunnel: {network: 192.168.255.0/24}
storage:
  size: 2G
  exports:
    - {name: web, uid: 1000}
    - {name: mail, uid: 500, squash: root}
    - {name: database, uid: 999, squash: none, clients: [kvm8]}
";

fn per_node<T>(make: impl Fn(&'static str) -> T) -> PerNode<T> {
    NODES.iter().map(|node| (name(node), Observed::Known(make(node)))).collect()
}

fn healthy() -> SharedObservations {
    let subject = SharedSubject::of(&Config::parse("cluster.yaml", YAML).unwrap()).unwrap();
    let peers = |node: &'static str| NODES.into_iter().filter(move |peer| *peer != node);
    let tunnel = |node: &str| IpAddr::from(subject.nodes[&name(node)].tunnel);
    let quality = PathQuality { sent: 20, returned: 19, mean_us: Some(30_000), jitter_us: 100 };
    let written = |node: &str| -> Shared {
        let of_export = |(export, root): (&str, Result<u32, &str>)| {
            let outcome = SharedOutcome {
                written_bytes: 10_000,
                roots_file: Some(root.map_err(str::to_owned)),
                ..SharedOutcome::default()
            };
            let outcome = if export == "database" && node != "kvm8" {
                Err("access denied".to_owned())
            } else {
                Ok(outcome)
            };
            (name(export), outcome)
        };
        [("web", Ok(1000)), ("mail", Err("permission denied")), ("database", Ok(0))].map(of_export).into()
    };
    let read = |node: &'static str| -> Shared {
        let of_export = |export: &str| {
            let others = if export == "database" { Vec::new() } else { peers(node).collect() };
            let outcome = SharedOutcome {
                count: if export == "database" { 5 } else { 15 },
                read_from: others.into_iter().map(|peer| (name(peer), Ok(10_000))).collect(),
                ..SharedOutcome::default()
            };
            let outcome = if export == "database" && node != "kvm8" {
                Err("access denied".to_owned())
            } else {
                Ok(outcome)
            };
            (name(export), outcome)
        };
        ["web", "mail", "database"].map(of_export).into()
    };
    let capture = |node: &'static str| Capture {
        interfaces: vec!["eth0".to_owned()],
        packets: 900,
        kernel_drops: 0,
        truncated: 0,
        is_behind: false,
        decrypts_before_watching: false,
        peers: peers(node).map(|peer| (address(peer), PeerCounts::default())).collect(),
        marker_elsewhere: 0,
        clear_elsewhere: [].into(),
        associations: Observed::Known(Vec::new()),
    };
    SharedObservations {
        echoes: per_node(|node| peers(node).map(|peer| (tunnel(peer), Ok(quality.clone()))).collect()),
        written: per_node(written),
        read: per_node(read),
        doors: per_node(|_| DoorsTried { control: Ok(()), open: [].into() }),
        watched: per_node(capture),
        subject: subject.clone(),
    }
}

fn proofs(seen: &SharedObservations, absent: &[&str]) -> Vec<Proof> {
    let kinds: Vec<_> = REGISTRY.iter().copied().filter(|kind| kind.part == Part::Storage).collect();
    let unreachable = absent.iter().map(|node| (name(node), "no route to host".to_owned())).collect();
    judge(&Observations { unreachable, shared: Some(seen.clone()), ..Observations::default() }, &kinds).proofs
}

fn not_passed(seen: &SharedObservations) -> Vec<String> {
    let proofs = proofs(seen, &[]).into_iter().filter(|proof| proof.verdict != Verdict::Pass);
    proofs
        .map(|proof| format!("{:?} {} {}", proof.verdict, super::healthy::short(&proof), proof.text))
        .collect()
}

fn outcome<'a>(of: &'a mut PerNode<Shared>, node: &str, export: &str) -> &'a mut SharedOutcome {
    known(of, node).get_mut(&name(export)).unwrap().as_mut().unwrap()
}

#[test]
fn a_healthy_look_passes_every_proof() {
    assert_eq!(not_passed(&healthy()), [""; 0]);
    // Pairs; exports by nodes; exports by clients; nodes, twice.
    assert_eq!(proofs(&healthy(), &[]).len(), 6 + 9 + 7 + 3 + 3);
}

#[test]
fn whatever_is_spoilt_fails_where_it_is_and_nowhere_else() {
    type Spoil = fn(&mut SharedObservations);
    let spoils: [(&str, Spoil); 12] = [
        ("Fail TunnelsCarry - kvm2>kvm4 none of 20", |seen| {
            known(&mut seen.echoes, "kvm2")
                .get_mut(&"192.168.255.2".parse().unwrap())
                .unwrap()
                .as_mut()
                .unwrap()
                .returned = 0;
        }),
        ("Fail FilesShared web kvm4 could not write: no space left", |seen| {
            known(&mut seen.written, "kvm4").insert(name("web"), Err("no space left".to_owned()));
        }),
        ("Fail FilesShared web kvm2 could not read what kvm4 wrote: stale file handle", |seen| {
            let read = outcome(&mut seen.read, "kvm2", "web");
            read.read_from.insert(name("kvm4"), Err("stale file handle".to_owned()));
        }),
        ("Fail FilesShared web kvm8 3 nodes counted to 14 under a lock", |seen| {
            outcome(&mut seen.read, "kvm8", "web").count = 14;
        }),
        ("Fail FilesShared database kvm2 is no client of it by cluster.yaml, and could write", |seen| {
            known(&mut seen.written, "kvm2").insert(name("database"), Ok(SharedOutcome::default()));
        }),
        (
            "Fail FilesOwned web kvm2 files that root makes are user 0's, and they are to be user 1000's",
            |seen| {
                outcome(&mut seen.written, "kvm2", "web").roots_file = Some(Ok(0));
            },
        ),
        ("Fail FilesOwned mail kvm2 files that root makes are user 0's, and root is to make none", |seen| {
            outcome(&mut seen.written, "kvm2", "mail").roots_file = Some(Ok(0));
        }),
        ("Fail FilesHidden - kvm4 what went through the tunnels was readable in 3 packets", |seen| {
            let peers = &mut known(&mut seen.watched, "kvm4").peers;
            peers.get_mut(&address("kvm8")).unwrap().received.marker = 3;
        }),
        ("Unknown FilesHidden - kvm4 the kernel dropped 1 packets", |seen| {
            known(&mut seen.watched, "kvm4").kernel_drops = 1;
        }),
        ("Fail FilesShut - kvm2 NFSv4.0 takes calls", |seen| {
            known(&mut seen.doors, "kvm2").open = [(Door::V40, "takes calls".to_owned())].into();
        }),
        ("Fail FilesShut - kvm8 the server's public address takes connections", |seen| {
            known(&mut seen.doors, "kvm8").open = [(Door::Public, "takes connections".to_owned())].into();
        }),
        ("Unknown FilesShut - kvm2 the server does not answer at all: timed out", |seen| {
            known(&mut seen.doors, "kvm2").control = Err("timed out".to_owned());
        }),
    ];
    for (expected, spoil) in spoils {
        let mut seen = healthy();
        spoil(&mut seen);
        let found = not_passed(&seen);
        assert!(found.iter().any(|one| one.starts_with(expected)), "{expected}: {found:#?}");
        // Whoever could not write made no file as root either.
        assert!(found.len() <= 2 && found.iter().all(|one| one.contains("kvm")), "{expected}: {found:#?}");
    }
}

#[test]
fn a_load_that_never_flowed_hides_nothing() {
    let mut seen = healthy();
    known(&mut seen.echoes, "kvm2").clear();
    known(&mut seen.written, "kvm2").clear();
    let found = not_passed(&seen);
    assert!(found.iter().any(|one| one.starts_with("Unknown FilesHidden - kvm2 nothing went")), "{found:#?}");
}

#[test]
fn of_a_node_that_does_not_answer_nothing_is_known_and_the_others_stand() {
    let mut seen = healthy();
    let gone: NodeName = name("kvm4");
    for of in [&mut seen.written, &mut seen.read] {
        of.remove(&gone);
    }
    seen.echoes.remove(&gone);
    seen.doors.remove(&gone);
    seen.watched.remove(&gone);
    for node in ["kvm2", "kvm8"] {
        for export in ["web", "mail"] {
            let read = outcome(&mut seen.read, node, export);
            read.read_from.remove(&gone);
            read.count = 10;
        }
    }
    for proof in proofs(&seen, &["kvm4"]) {
        let ends = proof.pair.iter().flat_map(|pair| [&pair.from, &pair.to]).chain(&proof.node);
        let is_about_it = ends.into_iter().any(|node| *node == gone);
        let expected = if is_about_it { Verdict::Unknown } else { Verdict::Pass };
        assert_eq!(proof.verdict, expected, "{proof:?}");
    }
}

#[test]
fn without_tunnels_there_is_nothing_to_prove() {
    let config = Config::parse(
        "cluster.yaml",
        "version: 1\ncluster: lab\nnodes:\n  - {name: kvm2, address: 203.0.113.12}\n",
    );
    assert_eq!(SharedSubject::of(&config.unwrap()), None);
}
