//! What was done on a node, in order: an intent is written before the act, its outcome after it.
//!
//! The file itself is the node's; here is its shape and which transitions are legal. An entry that is begun and
//! not ended is how a killed agent or a power cut shows at the next look.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::ChangeId;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in milliseconds since 1970 by the node's clock.
    pub at_unix_ms: u64,
    /// Who: account and machine of the operator.
    pub operator: String,
    /// The change.
    pub change: ChangeId,
    /// What happened to it.
    pub event: ChangeEvent,
}

/// What happens to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeEvent {
    /// It is about to be made.
    Begun,
    /// It was made.
    Done,
    /// It could not be made; the text is the first cause.
    Failed(String),
    /// It was begun and not ended, and a later run found nothing of it left to do.
    Settled,
}

/// An entry that cannot follow the ones before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `{change}` ended without having begun")]
pub struct IllegalTransition {
    /// The entry's line, from 1.
    pub line: usize,
    /// The change.
    pub change: ChangeId,
}

/// The changes that were begun and not ended, with the entry that began each, in the order of their identities.
///
/// # Errors
/// [`IllegalTransition`] when a change ends that had not begun: the journal was cut or edited.
pub fn interrupted(entries: &[Entry]) -> Result<Vec<&Entry>, IllegalTransition> {
    let mut open = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if follow(&mut open, entry) == Transition::Illegal {
            return Err(IllegalTransition { line: index + 1, change: entry.change.clone() });
        }
    }
    Ok(open.into_values().collect())
}

/// The same of a journal that may have been cut or edited: what is known to be open.
#[must_use]
pub fn open(entries: &[Entry]) -> Vec<&Entry> {
    let mut open = BTreeMap::new();
    for entry in entries {
        // What ends without a beginning opens nothing.
        let _ = follow(&mut open, entry);
    }
    open.into_values().collect()
}

#[derive(PartialEq, Eq)]
enum Transition {
    Legal,
    Illegal,
}

fn follow<'a>(open: &mut BTreeMap<&'a ChangeId, &'a Entry>, entry: &'a Entry) -> Transition {
    match entry.event {
        // Begun twice is a second try after an interruption.
        ChangeEvent::Begun => {
            open.insert(&entry.change, entry);
            Transition::Legal
        }
        ChangeEvent::Done | ChangeEvent::Failed(_) | ChangeEvent::Settled => {
            open.remove(&entry.change).map_or(Transition::Illegal, |_| Transition::Legal)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(change: &str, event: ChangeEvent) -> Entry {
        Entry { at_unix_ms: 1, operator: "root@desk".into(), change: ChangeId(change.into()), event }
    }

    #[test]
    fn a_change_that_was_begun_and_not_ended_is_interrupted() {
        let entries = [
            entry("a/hosts", ChangeEvent::Begun),
            entry("a/hosts", ChangeEvent::Done),
            entry("a/engine", ChangeEvent::Begun),
            entry("a/sysctl", ChangeEvent::Begun),
            entry("a/sysctl", ChangeEvent::Failed("no space".into())),
        ];
        assert_eq!(interrupted(&entries).unwrap(), [&entries[2]]);
    }

    #[test]
    fn a_second_try_closes_an_interrupted_change() {
        let entries = [
            entry("a/hosts", ChangeEvent::Begun),
            entry("a/hosts", ChangeEvent::Begun),
            entry("a/hosts", ChangeEvent::Done),
        ];
        assert_eq!(interrupted(&entries).unwrap(), Vec::<&Entry>::new());
    }

    #[test]
    fn an_end_without_a_beginning_is_illegal() {
        let entries = [entry("a/hosts", ChangeEvent::Done)];
        let expected = IllegalTransition { line: 1, change: ChangeId("a/hosts".into()) };
        assert_eq!(interrupted(&entries), Err(expected));
    }
}
