//! A request to one node's published port reaches another node's task.

use super::judgement::Judgement;
use super::link::{Link, links};
use super::{Need, Part, ProofKind, Totals};
use crate::report::{LoadOutcome, Observations, Proof, ProofId, Verdict, on};

pub(super) const KIND: ProofKind = ProofKind {
    id: ProofId::MeshReaches,
    title: "routing mesh reaches",
    manual: "6.2",
    part: Part::Wire,
    needs: &[Need::Networks, Need::MeshLoad],
    judge,
    counted,
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let links = observations.wire.iter().flat_map(links).filter(|link| link.network.is_ingress);
    links.map(|link| of_link(&link)).collect()
}

fn counted(totals: &Totals<'_>) -> String {
    format!("{} requests answered", totals.of("answered"))
}

fn of_link(link: &Link<'_>) -> Proof {
    let id = ProofId::MeshReaches;
    let load = match link.phase.clone().and_then(|phase| on(&phase.load, link.from)) {
        Ok(load) => load,
        Err(why) => return link.proof(Judgement::unknown(id, why)),
    };
    let LoadOutcome::Mesh(mesh) = load else {
        return link.proof(Judgement::unknown(id, "the routing mesh was not asked".to_owned()));
    };
    let node = link.wire.subject.nodes.get(link.to).map_or("", |node| &node.node_id);
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
    link.proof(Judgement { id, verdict, numbers, text })
}
