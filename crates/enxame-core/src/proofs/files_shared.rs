//! What one node writes to shared files, every other reads; locks hold between them; and who may not mount does not.

use super::judgement::Judgement;
use super::{Need, Part, ProofKind, Totals};
use crate::names::NodeName;
use crate::probe::{COUNTS_OF_EACH, Shared, SharedOutcome};
use crate::report::{Observations, PerNode, Proof, ProofId, SharedExport, SharedObservations, Verdict, on};

const ID: ProofId = ProofId::FilesShared;

pub(super) const KIND: ProofKind = ProofKind {
    id: ID,
    title: "written, read, locked",
    manual: "4.2",
    part: Part::Storage,
    needs: &[Need::Shared],
    judge,
    counted,
};

fn judge(observations: &Observations) -> Vec<Proof> {
    let Some(seen) = &observations.shared else { return Vec::new() };
    let of_export = |export| {
        let nodes = seen.subject.nodes.keys();
        nodes.map(move |node| {
            let judgement = judged(observations, seen, export, node);
            let judgement = judgement.unwrap_or_else(|why| Judgement::unknown(ID, why));
            judgement.on(Some(export.mount.name.as_str().to_owned()), node)
        })
    };
    seen.subject.exports.iter().flat_map(of_export).collect()
}

fn counted(totals: &Totals<'_>) -> String {
    format!("{} bytes written, {} read of others", totals.of("written_bytes"), totals.of("read_bytes"))
}

/// What came of a step on an export.
pub(super) fn outcome<'a>(
    of: &'a PerNode<Shared>,
    export: &SharedExport,
    node: &NodeName,
) -> Result<&'a Result<SharedOutcome, String>, String> {
    on(of, node)?.get(&export.mount.name).ok_or_else(|| format!("{node} tried nothing"))
}

fn judged(
    observations: &Observations,
    seen: &SharedObservations,
    export: &SharedExport,
    node: &NodeName,
) -> Result<Judgement, String> {
    let said = |verdict, numbers, text| Ok(Judgement { id: ID, verdict, numbers, text });
    let failed = |text| said(Verdict::Fail, Vec::new(), text);
    let written = outcome(&seen.written, export, node)?;
    if !export.clients.contains(node) {
        return match written {
            Err(why) => said(Verdict::Pass, Vec::new(), format!("is not let in, as declared: {why}")),
            Ok(_) => failed("is no client of it by cluster.yaml, and could write".to_owned()),
        };
    }
    let written = match written {
        Ok(written) => written,
        Err(why) => return failed(format!("could not write: {why}")),
    };
    let read = match outcome(&seen.read, export, node)? {
        Ok(read) => read,
        Err(why) => return failed(format!("could not read: {why}")),
    };
    let answers = |peer: &&NodeName| !observations.unreachable.contains_key(*peer);
    let writers: Vec<&NodeName> = export.clients.iter().filter(answers).collect();
    for peer in writers.iter().filter(|peer| **peer != node) {
        match read.read_from.get(*peer) {
            Some(Ok(_)) => {}
            Some(Err(why)) => return failed(format!("could not read what {peer} wrote: {why}")),
            None => return Err(format!("{node} did not read what {peer} wrote")),
        }
    }
    // All have counted by the time anybody reads.
    let expected = COUNTS_OF_EACH * u32::try_from(writers.len()).unwrap_or(u32::MAX);
    if read.count != expected {
        let text =
            format!("{} nodes counted to {} under a lock, and not to {expected}", writers.len(), read.count);
        return failed(text);
    }
    let read_bytes: u64 = read.read_from.values().flatten().sum();
    let numbers = vec![("written_bytes", written.written_bytes), ("read_bytes", read_bytes)];
    said(
        Verdict::Pass,
        numbers,
        format!("wrote {} bytes, read {read_bytes} of the others", written.written_bytes),
    )
}
