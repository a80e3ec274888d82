//! The probe's name resolves to exactly its tasks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::judgement::Judgement;
use super::{Need, Part, ProofKind};
use crate::names::NodeName;
use crate::report::{
    LoadOutcome, Observations, Proof, ProofId, SubjectNetwork, Verdict, WireObservations, on, unanswered,
};

const ID: ProofId = ProofId::NamesResolve;

pub(super) const KIND: ProofKind = ProofKind {
    id: ID,
    title: "names resolve",
    manual: "5.3",
    part: Part::Wire,
    needs: &[Need::Networks, Need::TaskLoad],
    judge,
    counted: |_| String::new(),
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let Some(wire) = &observations.wire else { return Vec::new() };
    let networks = wire.subject.networks.iter().filter(|network| !network.is_ingress);
    let places = networks.flat_map(|network| wire.subject.nodes.keys().map(move |node| (network, node)));
    let proofs = places.map(|(network, node)| {
        let judgement =
            of_node(observations, wire, network, node).unwrap_or_else(|why| Judgement::unknown(ID, why));
        judgement.on(Some(network.name.clone()), node)
    });
    proofs.collect()
}

fn of_node(
    observations: &Observations,
    wire: &WireObservations,
    network: &SubjectNetwork,
    node: &NodeName,
) -> Result<Judgement, String> {
    let resolved = match on(&wire.phase(&network.id)?.load, node)? {
        LoadOutcome::Traffic(traffic) => &traffic.resolved,
        LoadOutcome::Mesh(_) => {
            return Err("the network was loaded through the routing mesh alone".to_owned());
        }
    };
    let mut expected = BTreeSet::<IpAddr>::new();
    // A node that nobody could ask was given no image, so it should run no task; if it does, nobody knows its address.
    for other in wire.subject.nodes.keys().filter(|other| !observations.unreachable.contains_key(*other)) {
        expected.extend(on(&wire.tasks, other)?.addresses.get(&network.id));
    }
    let (verdict, text) = match (resolved, observations.unreachable.first_key_value()) {
        (Ok(found), _) if *found == expected => {
            (Verdict::Pass, format!("the probe's name is {} tasks' addresses", found.len()))
        }
        (Ok(found), Some((absent, why))) if found.is_superset(&expected) => {
            let text = format!(
                "the probe's name resolved to {} too, and {}",
                list(found.difference(&expected)),
                unanswered(absent, why)
            );
            (Verdict::Unknown, text)
        }
        (Ok(found), _) => {
            let text = format!("the probe's name resolved to {} and not to {}", list(found), list(&expected));
            (Verdict::Fail, text)
        }
        (Err(why), _) => (Verdict::Fail, why.clone()),
    };
    let found = resolved.as_ref().map_or(0, BTreeSet::len);
    let numbers = vec![("resolved", count(found)), ("expected", count(expected.len()))];
    Ok(Judgement { id: ID, verdict, numbers, text })
}

fn list<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    let texts: Vec<String> = addresses.into_iter().map(IpAddr::to_string).collect();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
