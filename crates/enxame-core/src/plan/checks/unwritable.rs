//! Files that a change would write and that cannot be: immutable ones, and what is mounted read-only.

use crate::change::Change;
use crate::declare::Finding;
use crate::facts::{ClusterFacts, Obstacle};

/// One finding for each file, and one for each filesystem or directory that holds several.
pub(super) fn findings(facts: &ClusterFacts, changes: &[Change]) -> Vec<Finding> {
    let mut found = Vec::new();
    for change in changes {
        let Some(facts) = facts.get(&change.node) else { continue };
        let touched = change.action.touches().files;
        let is_written = |path: &String| {
            touched.contains(path) || change.differences.iter().any(|difference| difference.field == *path)
        };
        for (path, obstacle) in facts.unwritable.iter().filter(|(path, _)| is_written(path)) {
            let (message, hint) = match obstacle {
                Obstacle::Immutable(what) => (
                    format!("{path} cannot be written: {what} is immutable or append-only"),
                    format!("see why somebody made it so; on the node: chattr -i -a {what}"),
                ),
                Obstacle::ReadOnly(what) => (
                    format!("{path} cannot be written: {what} is mounted read-only"),
                    format!(
                        "see `dmesg` on the node for a disk that fails; otherwise: mount -o remount,rw {what}"
                    ),
                ),
            };
            found.push(Finding::error(change.section.clone(), message, hint).on(&change.node));
        }
    }
    found
}
