//! Every overlay network that is not declared plaintext has the option `encrypted`, and the one of the configuration is there.

use super::judgement::Judgement;
use super::{Need, Part, ProofKind};
use crate::report::{Observations, Proof, ProofId, SubjectNetwork, Verdict};

pub(super) const KIND: ProofKind = ProofKind {
    id: ProofId::DeclaredEncrypted,
    title: "declared encrypted",
    manual: "5.3",
    part: Part::Wire,
    needs: &[Need::Networks],
    judge,
    counted: |_| String::new(),
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let Some(wire) = &observations.wire else { return Vec::new() };
    let networks = wire.subject.networks.iter().map(of_network);
    networks.chain(wire.subject.missing.as_ref().map(|name| missing(name))).collect()
}

fn of_network(network: &SubjectNetwork) -> Proof {
    let name = &network.name;
    let (verdict, text) = if network.is_encrypted {
        (Verdict::Pass, format!("{name} has the option `encrypted`"))
    } else {
        let text = format!(
            "{name} was made without the option `encrypted`, and no configuration declares it plaintext"
        );
        (Verdict::Fail, text)
    };
    Judgement { id: ProofId::DeclaredEncrypted, verdict, numbers: Vec::new(), text }.about(Some(name.clone()))
}

fn missing(name: &str) -> Proof {
    let text = format!("{name} is not there: `enxame apply` makes it");
    let judgement =
        Judgement { id: ProofId::DeclaredEncrypted, verdict: Verdict::Fail, numbers: Vec::new(), text };
    judgement.about(Some(name.to_owned()))
}
