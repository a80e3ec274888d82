//! Proofs about the load itself: names, TCP, UDP, the routing mesh.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::observations::{LoadOutcome, Observations, on};
use super::super::subject::SubjectNetwork;
use super::link::Link;
use super::{Finding, Proof, ProofId, Verdict};
use crate::names::NodeName;
use crate::probe::PeerOutcome;

/// The probe's name resolves to exactly its tasks.
pub(super) fn names_resolve(observations: &Observations, network: &SubjectNetwork, node: &NodeName) -> Proof {
    let name = Some(network.name.clone());
    let load = observations.phase(&network.id).and_then(|phase| on(&phase.load, node));
    let resolved = match load {
        Ok(LoadOutcome::Traffic(traffic)) => &traffic.resolved,
        Ok(LoadOutcome::Mesh(_)) => {
            let why = "the network was loaded through the routing mesh alone".to_owned();
            return Finding::unknown(ProofId::NamesResolve, why).on(name, node);
        }
        Err(why) => return Finding::unknown(ProofId::NamesResolve, why).on(name, node),
    };
    let mut expected = BTreeSet::<IpAddr>::new();
    for other in observations.subject.nodes.keys() {
        match on(&observations.tasks, other) {
            Ok(task) => expected.extend(task.addresses.get(&network.id)),
            Err(why) => return Finding::unknown(ProofId::NamesResolve, why).on(name, node),
        }
    }
    let (verdict, text) = match resolved {
        Ok(found) if *found == expected => {
            (Verdict::Pass, format!("the probe's name is {} tasks' addresses", found.len()))
        }
        Ok(found) => {
            let text = format!("the probe's name resolved to {} and not to {}", list(found), list(&expected));
            (Verdict::Fail, text)
        }
        Err(why) => (Verdict::Fail, why.clone()),
    };
    let found = resolved.as_ref().map_or(0, BTreeSet::len);
    let numbers = vec![("resolved", count(found)), ("expected", count(expected.len()))];
    Finding { id: ProofId::NamesResolve, verdict, numbers, text }.on(name, node)
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Bulk data over TCP arrives whole, and the right node answers.
pub(super) fn bulk_tcp(link: &Link<'_>) -> Proof {
    let outcome = match outcome(link) {
        Ok(outcome) => outcome,
        Err(why) => return link.proof(Finding::unknown(ProofId::BulkTcp, why)),
    };
    let id = ProofId::BulkTcp;
    let finding = match &outcome.tcp {
        Ok(exchanged) => {
            let right = link.observations.subject.node_with_id(&exchanged.answered_by) == Some(link.to);
            let numbers = vec![
                ("sent_bytes", exchanged.sent_bytes),
                ("received_bytes", exchanged.received_bytes),
                ("duration_ms", exchanged.duration_ms),
            ];
            if !right {
                let text = format!("the task of another node answered: {}", exchanged.answered_by);
                Finding { id, verdict: Verdict::Fail, numbers, text }
            } else if exchanged.sent_bytes == 0 || exchanged.received_bytes == 0 {
                Finding {
                    id,
                    verdict: Verdict::Unknown,
                    numbers,
                    text: "nothing was to be exchanged".to_owned(),
                }
            } else {
                let text = format!(
                    "{} bytes there and {} bytes back in {} ms",
                    exchanged.sent_bytes, exchanged.received_bytes, exchanged.duration_ms
                );
                Finding { id, verdict: Verdict::Pass, numbers, text }
            }
        }
        Err(why) => Finding { id, verdict: Verdict::Fail, numbers: Vec::new(), text: why.clone() },
    };
    link.proof(finding)
}

/// Datagrams come back; some may get lost, as datagrams do.
pub(super) fn udp_echo(link: &Link<'_>) -> Proof {
    let id = ProofId::UdpEcho;
    let finding = match outcome(link) {
        Err(why) => Finding::unknown(id, why),
        Ok(outcome) => {
            let verdict = match (outcome.udp_sent, outcome.udp_echoes) {
                (0, _) => Verdict::Unknown,
                (_, 0) => Verdict::Fail,
                _ => Verdict::Pass,
            };
            let numbers = vec![
                ("sent_packets", outcome.udp_sent.into()),
                ("returned_packets", outcome.udp_echoes.into()),
            ];
            let text = format!("{} of {} datagrams came back", outcome.udp_echoes, outcome.udp_sent);
            Finding { id, verdict, numbers, text }
        }
    };
    link.proof(finding)
}

fn outcome<'a>(link: &Link<'a>) -> Result<&'a PeerOutcome, String> {
    let load = link.phase.clone().and_then(|phase| on(&phase.load, link.from))?;
    on(&link.observations.tasks, link.to)?;
    link.peer_outcome(load, link.to).ok_or_else(|| format!("nothing was exchanged with {}", link.to))
}

/// A request to one node's published port reaches another node's task.
pub(super) fn mesh_reaches(link: &Link<'_>) -> Proof {
    let id = ProofId::MeshReaches;
    let load = match link.phase.clone().and_then(|phase| on(&phase.load, link.from)) {
        Ok(load) => load,
        Err(why) => return link.proof(Finding::unknown(id, why)),
    };
    let LoadOutcome::Mesh(mesh) = load else {
        return link.proof(Finding::unknown(id, "the routing mesh was not asked".to_owned()));
    };
    let node = link.observations.subject.nodes.get(link.to).map_or("", |node| &node.node_id);
    let requests = mesh.answered.get(node).map_or(0, |answers| answers.requests);
    let numbers = vec![("answered", requests.into()), ("failed", mesh.failed.into())];
    let failures = match &mesh.last_error {
        Some(error) => format!("; {} requests failed, the last one: {error}", mesh.failed),
        None => String::new(),
    };
    let (verdict, text) = match requests {
        0 => (
            Verdict::Fail,
            format!("no request to {}'s published port reached {}{failures}", link.from, link.to),
        ),
        // A mesh that answers some of the time does not reach.
        _ if mesh.failed > 0 => (Verdict::Fail, format!("{requests} requests were answered{failures}")),
        _ => (Verdict::Pass, format!("{requests} requests were answered")),
    };
    link.proof(Finding { id, verdict, numbers, text })
}
