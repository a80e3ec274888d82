//! From observations to proofs, one file per kind of evidence.

mod exposure;
mod link;
mod load;
mod path;
mod wire;

use std::collections::BTreeMap;

use super::exposure::View;
use super::observations::Observations;
use super::subject::SubjectNetwork;
use super::{Pair, Proof, ProofId, Report, Verdict};
use crate::names::NodeName;

/// Judges. Pure: the same observations make the same report.
#[must_use]
pub fn judge(observations: &Observations) -> Report {
    let subject = &observations.subject;
    let mut proofs = Vec::new();
    for network in &subject.networks {
        proofs.push(declared_encrypted(network));
        if !network.is_ingress {
            for node in subject.nodes.keys() {
                proofs.push(load::names_resolve(observations, network, node));
            }
        }
        for (from, to) in pairs(observations) {
            let link = link::Link::of(observations, network, from, to);
            proofs.push(wire::no_clear_packets(&link));
            proofs.push(wire::marker_hidden(&link));
            proofs.push(wire::esp_seen(&link));
            proofs.push(wire::associations_rose(&link));
            if network.is_ingress {
                proofs.push(load::mesh_reaches(&link));
            } else {
                proofs.push(load::bulk_tcp(&link));
                proofs.push(load::udp_echo(&link));
            }
        }
    }
    for (from, to) in pairs(observations) {
        proofs.push(path::quality(observations, from, to));
        proofs.extend(wire::clear_on_unknown_networks(observations, from, to));
        proofs.extend(wire::marker_outside_of_loads(observations, from, to));
    }
    for node in subject.nodes.keys() {
        proofs.extend(wire::towards_strangers(observations, node));
    }
    proofs.extend(unwatched(observations));
    proofs.extend(subject.missing.as_ref().map(|name| missing(name)));
    proofs.sort_by(|left, right| sort_key(left).cmp(&sort_key(right)));
    Report { proofs }
}

/// Judges who reaches what. Pure, as [`judge`] is.
#[must_use]
pub fn judge_exposure(views: &[View]) -> Report {
    let mut proofs: Vec<Proof> = views.iter().flat_map(exposure::proofs).collect();
    proofs.sort_by(|left, right| sort_key(left).cmp(&sort_key(right)));
    Report { proofs }
}

fn sort_key(proof: &Proof) -> (ProofId, &Option<String>, &Option<Pair>, &Option<NodeName>) {
    (proof.id, &proof.network, &proof.pair, &proof.node)
}

fn pairs(observations: &Observations) -> impl Iterator<Item = (&NodeName, &NodeName)> {
    let nodes = &observations.subject.nodes;
    nodes.keys().flat_map(|from| nodes.keys().map(move |to| (from, to))).filter(|(from, to)| from != to)
}

fn declared_encrypted(network: &SubjectNetwork) -> Proof {
    let name = &network.name;
    let (verdict, text) = if network.is_encrypted {
        (Verdict::Pass, format!("{name} has the option `encrypted`"))
    } else {
        let text = format!(
            "{name} was made without the option `encrypted`, and no configuration declares it plaintext"
        );
        (Verdict::Fail, text)
    };
    Finding { id: ProofId::DeclaredEncrypted, verdict, numbers: Vec::new(), text }.about(Some(name.clone()))
}

/// Whom nobody watches: what they send and get may be in clear.
fn unwatched(observations: &Observations) -> Vec<Proof> {
    let unknown = |why| Finding::unknown(ProofId::NoClearPackets, why).about(None);
    let subject = &observations.subject;
    let strangers = subject.strangers.iter().map(|stranger| {
        unknown(format!(
            "{stranger} is in the swarm and not in cluster.yaml: nothing is known of its traffic"
        ))
    });
    let alone =
        (subject.nodes.len() < 2).then(|| unknown("a single node: nothing crosses the wire".to_owned()));
    strangers.chain(alone).collect()
}

fn missing(name: &str) -> Proof {
    let text = format!("{name} is not there: `enxame apply` makes it");
    let finding =
        Finding { id: ProofId::DeclaredEncrypted, verdict: Verdict::Fail, numbers: Vec::new(), text };
    finding.about(Some(name.to_owned()))
}

/// A proof in the making.
struct Finding {
    id: ProofId,
    verdict: Verdict,
    numbers: Vec<(&'static str, u64)>,
    text: String,
}

impl Finding {
    fn unknown(id: ProofId, why: String) -> Self {
        Self { id, verdict: Verdict::Unknown, numbers: Vec::new(), text: why }
    }

    fn about(self, network: Option<String>) -> Proof {
        Proof {
            id: self.id,
            manual: self.id.manual().to_owned(),
            verdict: self.verdict,
            network,
            pair: None,
            node: None,
            numbers: self
                .numbers
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<BTreeMap<_, _>>(),
            text: self.text,
        }
    }

    fn between(self, network: Option<String>, from: &NodeName, to: &NodeName) -> Proof {
        Proof { pair: Some(Pair { from: from.clone(), to: to.clone() }), ..self.about(network) }
    }

    fn on(self, network: Option<String>, node: &NodeName) -> Proof {
        Proof { node: Some(node.clone()), ..self.about(network) }
    }
}
