//! The server of shared files answers no other way than the one that is declared.

use super::judgement::Judgement;
use super::{Need, Part, ProofKind};
use crate::names::NodeName;
use crate::probe::Door;
use crate::report::{Observations, Proof, ProofId, SharedObservations, Verdict, on};

const ID: ProofId = ProofId::FilesShut;

pub(super) const KIND: ProofKind = ProofKind {
    id: ID,
    title: "no other way to the files",
    manual: "4.1",
    part: Part::Storage,
    needs: &[Need::Shared],
    judge,
    counted: |_| String::new(),
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let Some(seen) = &observations.shared else { return Vec::new() };
    if seen.subject.server.is_none() {
        return Vec::new();
    }
    let proof =
        |node: &NodeName| judged(seen, node).unwrap_or_else(|why| Judgement::unknown(ID, why)).on(None, node);
    seen.subject.nodes.keys().map(proof).collect()
}

fn judged(seen: &SharedObservations, node: &NodeName) -> Result<Judgement, String> {
    let tried = on(&seen.doors, node)?;
    let numbers = vec![("open_ways", u64::try_from(tried.open.len()).unwrap_or(u64::MAX))];
    let (verdict, text) = match &tried.control {
        _ if !tried.open.is_empty() => {
            let told = tried.open.iter().map(|(door, how)| format!("{} {how}", words(*door)));
            (Verdict::Fail, told.collect::<Vec<_>>().join("; "))
        }
        Err(why) => (Verdict::Unknown, format!("the server does not answer at all: {why}")),
        Ok(()) => {
            let text = "version 3, version 4.0, UDP and the server's public address do not answer".to_owned();
            (Verdict::Pass, text)
        }
    };
    Ok(Judgement { id: ID, verdict, numbers, text })
}

fn words(door: Door) -> &'static str {
    match door {
        Door::V3 => "NFSv3",
        Door::V40 => "NFSv4.0",
        Door::Udp => "NFS over UDP",
        Door::Public => "the server's public address",
    }
}
