//! Files that root makes belong to whom cluster.yaml says: what is squashed is squashed, and nothing else.

use super::files_shared::outcome;
use super::judgement::Judgement;
use super::{Need, Part, ProofKind};
use crate::names::NodeName;
use crate::report::{Observations, Proof, ProofId, SharedExport, SharedObservations, Verdict};

const ID: ProofId = ProofId::FilesOwned;

pub(super) const KIND: ProofKind = ProofKind {
    id: ID,
    title: "root is who it is to be",
    manual: "4.1",
    part: Part::Storage,
    needs: &[Need::Shared],
    judge,
    counted: |_| String::new(),
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let Some(seen) = &observations.shared else { return Vec::new() };
    let of_export = |export: &SharedExport| {
        let proof = |node: &NodeName| {
            let judgement = judged(seen, export, node).unwrap_or_else(|why| Judgement::unknown(ID, why));
            judgement.on(Some(export.mount.name.as_str().to_owned()), node)
        };
        export.clients.iter().map(proof).collect::<Vec<_>>()
    };
    seen.subject.exports.iter().flat_map(of_export).collect()
}

fn judged(seen: &SharedObservations, export: &SharedExport, node: &NodeName) -> Result<Judgement, String> {
    let written = outcome(&seen.written, export, node)?.as_ref()?;
    let made = written.roots_file.as_ref().ok_or_else(|| format!("{node} made no file as root"))?;
    let is = match made {
        Ok(uid) => format!("files that root makes are user {uid}'s"),
        Err(why) => format!("root makes no files ({why})"),
    };
    let (verdict, text) = if made.as_ref().ok() == export.roots_files.as_ref() {
        (Verdict::Pass, is)
    } else {
        let wanted = match export.roots_files {
            Some(uid) => format!("they are to be user {uid}'s"),
            None => "root is to make none".to_owned(),
        };
        (Verdict::Fail, format!("{is}, and {wanted}"))
    };
    Ok(Judgement { id: ID, verdict, numbers: Vec::new(), text })
}
