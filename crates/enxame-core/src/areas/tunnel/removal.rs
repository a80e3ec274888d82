//! Taking the tunnel off a node: unit, interface, peers and key. The package stays.

use serde::{Deserialize, Serialize};

use super::{CONF_PATH, INTERFACE, KEY_PATH, NETWORK_PATH, UNIT_PATH};
use crate::change::Difference;
use crate::declare::{Declaration, Draft, View};
use crate::facts::{FileFacts, KeyFacts, Observed};
use crate::files::is_owned;

/// What to do: all of it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action;

/// What of it is there, and goes.
pub(super) fn tunnel(view: &View<'_>, reason: &str) -> Declaration {
    let mut differences = Vec::new();
    for path in [UNIT_PATH, CONF_PATH, NETWORK_PATH] {
        let text = view.facts.files.get(path).and_then(FileFacts::content).filter(|text| is_owned(text));
        differences
            .extend(text.map(|text| Difference::removed(path, format!("{} lines", text.lines().count()))));
    }
    match &view.facts.tunnel.key {
        KeyFacts::Absent => {}
        KeyFacts::Unread(_) | KeyFacts::Unusable(_) | KeyFacts::Usable { .. } => {
            differences.push(Difference::removed(KEY_PATH, "the node's key"));
        }
    }
    match &view.facts.tunnel.interface {
        Observed::Known(None) => {}
        Observed::Known(Some(_)) => differences.push(Difference::removed(INTERFACE, "there")),
        Observed::Unknown(why) => {
            differences.push(Difference::removed(INTERFACE, format!("not seen: {why}")));
        }
    }
    if differences.is_empty() {
        return Declaration::nothing();
    }
    Draft::new("take the tunnel away", reason, Action).differing(differences).into()
}
