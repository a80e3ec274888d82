//! Who reaches what of a node that is as declared, and every way not to be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::{Part, REGISTRY, judge};
use crate::config::Config;
use crate::facts::{InterfaceFacts, LinkFacts, NodeFacts, Observed, SshSession};
use crate::names::NodeName;
use crate::ports::PortSet;
use crate::probe::{Scanned, UdpAnswer};
use crate::report::exposure::{Expected, Sighting, Vantage, addresses_of, udp_ports};
use crate::report::{Observations, Proof, ProofId, Report, Verdict};

const OPERATOR: &str = "198.51.100.9";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ports(text: &str) -> PortSet {
    text.parse().unwrap()
}

fn config(more: &str) -> Config {
    let text = format!(
        "version: 1\ncluster: lab\n{more}\nnodes:\n  - name: kvm2\n    address: 203.0.113.12\n\
         \x20 - name: kvm8\n    address: 203.0.113.18\n    roles: [storage]\n"
    );
    Config::parse("cluster.yaml", &text).unwrap()
}

/// What is expected of kvm8.
fn expected(config: &Config, vantage: &Vantage, from: &str) -> Expected {
    let session = SshSession::parse(&format!("{OPERATOR} 50022 203.0.113.12 22"));
    Expected::of(config, &config.nodes[1], session, (vantage, ip(from)))
}

fn kvm2() -> Vantage {
    Vantage::Peer(NodeName::new("kvm2").unwrap())
}

fn scanned(source: &str, open: &str, refused: &str) -> Scanned {
    Scanned {
        source: ip(source),
        tried_tcp: PortSet::all(),
        open: ports(open),
        refused: ports(refused),
        rejected: PortSet::default(),
        udp: udp_ports(&config("")).iter().map(|port| (port, UdpAnswer::Silent)).collect(),
        control: Some(22),
    }
}

/// kvm8 as the operator sees it: SSH, a web server, nothing on TCP 443.
fn from_the_operator() -> Sighting {
    Sighting {
        from: Vantage::Operator,
        node: NodeName::new("kvm8").unwrap(),
        address: ip("203.0.113.18"),
        seen_as: Some(ip(OPERATOR)),
        instead: None,
        expected: expected(&config(""), &Vantage::Operator, OPERATOR),
        seen: Observed::Known(scanned(OPERATOR, "22,80", "443")),
    }
}

/// kvm8 as kvm2 sees it.
fn from_a_peer() -> Sighting {
    Sighting {
        from: kvm2(),
        seen_as: Some(ip("203.0.113.12")),
        expected: expected(&config(""), &kvm2(), "203.0.113.12"),
        seen: Observed::Known(scanned("203.0.113.12", "80,2377,7946", "443,2049,29877")),
        ..from_the_operator()
    }
}

fn spoilt(mut sighting: Sighting, spoil: impl FnOnce(&mut Scanned)) -> Sighting {
    match &mut sighting.seen {
        Observed::Known(scanned) => spoil(scanned),
        Observed::Unknown(why) => panic!("{why}"),
    }
    sighting
}

fn judged(sighting: Sighting) -> Report {
    let kinds: Vec<_> = REGISTRY.iter().copied().filter(|kind| kind.part == Part::Exposure).collect();
    judge(&Observations { sightings: vec![sighting], ..Observations::default() }, &kinds)
}

fn proof(sighting: Sighting, id: ProofId) -> Proof {
    judged(sighting).proofs.into_iter().find(|proof| proof.id == id).unwrap()
}

fn verdicts(sighting: Sighting) -> Vec<(ProofId, Verdict)> {
    judged(sighting).proofs.into_iter().map(|proof| (proof.id, proof.verdict)).collect()
}

#[test]
fn everybody_is_expected_to_reach_what_is_declared_and_only_that() {
    let operator = expected(&config(""), &Vantage::Operator, OPERATOR);
    assert_eq!((operator.open, operator.declared), (ports("22"), ports("22,80,443")));
    assert_eq!((operator.admitted, operator.admitted_udp), (ports("22,80,443"), ports("")));
    let stranger = expected(&config(""), &Vantage::Operator, "198.51.100.66");
    assert_eq!((stranger.open.clone(), stranger.admitted.clone()), (ports(""), ports("80,443")));
    assert_eq!(stranger.controls(), [80, 443]);
    let peer = expected(&config(""), &kvm2(), "203.0.113.12");
    assert_eq!((&peer.open, &peer.admitted_udp), (&ports("2377,7946"), &ports("4789,7946")));
    assert!(ports("80,443,2049,2377,7946").without(&peer.declared).is_empty());
    assert!(ports("1-1023,2049,2375,2377,7946,9000").without(&peer.sample()).is_empty());
    // Another address of the same peer is a stranger's.
    assert_eq!(expected(&config(""), &kvm2(), "2001:db8::12").open, ports(""));
    let full = expected(&config("firewall: {mesh: full}"), &kvm2(), "203.0.113.12");
    assert_eq!((full.admitted, full.open), (PortSet::all(), ports("2377,7946")));
    assert!(!full.declared.contains(9000));
}

#[test]
fn a_node_that_is_as_declared_passes_from_everywhere() {
    for sighting in [from_the_operator(), from_a_peer()] {
        let expected = [(ProofId::NothingElseOpen, Verdict::Pass), (ProofId::DeclaredOpen, Verdict::Pass)];
        assert_eq!(verdicts(sighting), expected);
    }
    let proof = proof(from_the_operator(), ProofId::NothingElseOpen);
    assert_eq!(
        proof.text,
        "203.0.113.18 from the operator (198.51.100.9): of 65535 TCP ports 3 answer, and all are declared"
    );
    let numbers: BTreeMap<&str, u64> =
        proof.numbers.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    assert_eq!((numbers["open_tcp_ports"], numbers["silent_tcp_ports"]), (2, 65_532));
    assert_eq!((numbers["unexpected_tcp_ports"], numbers["scanned_tcp_ports"]), (0, 65_535));
}

#[test]
fn what_answers_undeclared_fails_by_name_whether_it_listens_or_not() {
    let sighting = spoilt(from_the_operator(), |seen| {
        seen.open.insert(8080);
        seen.refused.insert(9000);
        seen.udp.insert(111, UdpAnswer::Answered);
        seen.udp.insert(65_000, UdpAnswer::Unreachable);
    });
    let proof = proof(sighting, ProofId::NothingElseOpen);
    assert_eq!(proof.verdict, Verdict::Fail);
    assert_eq!(
        proof.text,
        "203.0.113.18 from the operator (198.51.100.9): TCP 8080 answers, and nothing declares it; TCP 9000 is \
         not filtered, though nothing listens; UDP 111 answers, and nothing declares it; UDP 65000 is not \
         filtered, though nothing listens"
    );
}

#[test]
fn what_is_for_peers_fails_where_others_reach_it_and_passes_from_peers() {
    let open = |seen: &mut Scanned| seen.open.insert(2377);
    let failed = proof(spoilt(from_the_operator(), open), ProofId::NothingElseOpen);
    assert!(failed.verdict == Verdict::Fail && failed.text.contains("TCP 2377 answers"), "{}", failed.text);
    assert_eq!(proof(from_a_peer(), ProofId::NothingElseOpen).verdict, Verdict::Pass);
    let failed = proof(spoilt(from_a_peer(), |seen| seen.open.insert(22)), ProofId::NothingElseOpen);
    assert_eq!(failed.verdict, Verdict::Fail);
    assert_eq!(failed.pair.unwrap().from.as_str(), "kvm2");
}

#[test]
fn what_is_declared_and_filtered_fails() {
    let sighting = spoilt(from_the_operator(), |seen| seen.refused = PortSet::default());
    let failed = proof(sighting, ProofId::DeclaredOpen);
    assert_eq!(failed.verdict, Verdict::Fail);
    assert!(failed.text.ends_with("TCP 443 is declared open, and is filtered"), "{}", failed.text);
    let sighting = spoilt(from_a_peer(), |seen| {
        seen.open = ports("80,7946");
        seen.rejected = ports("2377");
    });
    let failed = proof(sighting, ProofId::DeclaredOpen);
    assert!(failed.text.ends_with("TCP 2377 should take connections from here, and is filtered"));
    let sighting = spoilt(from_a_peer(), |seen| {
        seen.open = ports("80,7946");
        seen.refused.insert(2377);
    });
    let failed = proof(sighting, ProofId::DeclaredOpen);
    assert!(failed.verdict == Verdict::Fail && failed.text.ends_with("and nothing listens"));
}

#[test]
fn ssh_that_is_shut_fails_unless_the_login_may_have_come_another_way() {
    let shut = |seen: &mut Scanned| seen.open = ports("80");
    assert_eq!(proof(spoilt(from_the_operator(), shut), ProofId::DeclaredOpen).verdict, Verdict::Fail);
    let sighting = spoilt(from_the_operator(), |seen| {
        shut(seen);
        seen.source = ip("192.168.1.5");
    });
    let unknown = proof(sighting, ProofId::DeclaredOpen);
    assert_eq!(unknown.verdict, Verdict::Unknown);
    assert!(unknown.text.contains("behind address translation or a jump host"), "{}", unknown.text);
}

#[test]
fn who_could_not_look_proves_nothing() {
    let sighting = Sighting { seen: Observed::Unknown("the way was lost".to_owned()), ..from_the_operator() };
    let expected = [(ProofId::NothingElseOpen, Verdict::Unknown), (ProofId::DeclaredOpen, Verdict::Unknown)];
    assert_eq!(verdicts(sighting), expected);
}

#[test]
fn what_the_one_who_looks_could_not_send_proves_nothing_and_an_open_port_fails_all_the_same() {
    let sighting = spoilt(from_the_operator(), |seen| {
        seen.udp.insert(4789, UdpAnswer::Unsent);
    });
    let unknown = proof(sighting.clone(), ProofId::NothingElseOpen);
    assert_eq!(unknown.verdict, Verdict::Unknown);
    assert!(unknown.text.contains("UDP 4789 was not tried"), "{}", unknown.text);
    // Where an answer would be in order, it is no matter.
    let at_a_peers_address = expected(&config(""), &Vantage::Operator, "203.0.113.12");
    assert!(at_a_peers_address.admitted_udp.contains(4789));
    let in_order = Sighting { expected: at_a_peers_address, ..sighting.clone() };
    assert!(!proof(in_order, ProofId::NothingElseOpen).text.contains("not tried"));
    let sighting = spoilt(sighting, |seen| seen.open.insert(2375));
    assert_eq!(proof(sighting, ProofId::NothingElseOpen).verdict, Verdict::Fail);
}

#[test]
fn silence_that_nothing_vouches_for_proves_nothing_and_an_open_port_fails_all_the_same() {
    let mut sighting = spoilt(from_the_operator(), |seen| {
        (seen.open, seen.refused, seen.control) = (ports(""), ports(""), None);
    });
    sighting.expected = Expected::default();
    assert_eq!(verdicts(sighting.clone()), [(ProofId::NothingElseOpen, Verdict::Unknown)]);
    let sighting = spoilt(sighting, |seen| seen.open = ports("2375"));
    assert_eq!(verdicts(sighting), [(ProofId::NothingElseOpen, Verdict::Fail)]);
}

#[test]
fn an_unfiltered_node_is_told_in_one_sentence() {
    let sighting = spoilt(from_the_operator(), |seen| seen.refused = PortSet::all().without(&seen.open));
    let failed = proof(sighting, ProofId::NothingElseOpen);
    let end = "TCP 1-21, 23-79, 81-442, 444-65535 is not filtered, though nothing listens";
    assert!(failed.text.ends_with(end), "{}", failed.text);
}

#[test]
fn a_node_is_looked_at_at_every_public_address_and_at_the_one_declared() {
    let interface = |name: &str, addresses: &[&str]| InterfaceFacts {
        name: name.to_owned(),
        mtu_bytes: 1500,
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        link: LinkFacts::default(),
    };
    let facts = NodeFacts {
        interfaces: vec![
            interface("eth0", &["203.0.113.18", "10.1.0.1", "2001:db8::18", "fe80::1"]),
            interface("eth1", &["10.0.0.8"]),
        ],
        ..crate::facts::blank::blank()
    };
    let config = config("");
    let node = &config.nodes[1];
    let found: Vec<IpAddr> = addresses_of(node, Some(&facts)).into_iter().collect();
    assert_eq!(found, [ip("203.0.113.18"), ip("2001:db8::18")]);
    // Behind one-to-one translation no interface carries it.
    assert!(addresses_of(node, None).contains(&ip("203.0.113.18")));
}
