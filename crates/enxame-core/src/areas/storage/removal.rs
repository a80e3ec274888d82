//! Serving no more: settings, exports and units go; the files that were shared stay where they are, mounted.

use serde::{Deserialize, Serialize};

use super::{
    CONF_PATH, DROP_IN_PATH, EXPORTS_PATH, IMAGE_PATH, MOUNT_UNIT, ROOT, SERVER_UNIT, client, server,
};
use crate::change::Difference;
use crate::declare::{Declaration, Draft, Finding, View};
use crate::facts::FileFacts;
use crate::files::is_owned;

/// What goes.
pub const FILES: [&str; 3] = [EXPORTS_PATH, DROP_IN_PATH, CONF_PATH];

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The units to unmask.
    pub unmask: Vec<String>,
    /// Whether it serves.
    pub serves: bool,
    /// Whether the server stops with it.
    pub stop: bool,
}

fn owned<'a>(view: &'a View<'_>, path: &str) -> Option<&'a str> {
    view.facts.files.get(path).and_then(FileFacts::content).filter(|text| is_owned(text))
}

/// Whether the node serves shared files by enxame's hand.
pub(super) fn serves(view: &View<'_>) -> bool {
    server::OWN_FILES.iter().any(|path| owned(view, path).is_some())
}

/// What of it is there, and goes.
pub(super) fn storage(view: &View<'_>, reason: &str) -> Declaration {
    let of_file = |path: &str| {
        let text = owned(view, path)?;
        Some(Difference::removed(path.to_owned(), format!("{} lines", text.lines().count())))
    };
    let mut differences: Vec<Difference> = FILES.iter().filter_map(|path| of_file(path)).collect();
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let serves = serves(view);
    // Whoever exports files of their own keeps the server.
    let stop = serves && view.facts.storage.foreign_exports.is_empty();
    let mut findings = Vec::new();
    if stop {
        differences.push(Difference::changed(SERVER_UNIT, "enabled", "disabled"));
    }
    if serves {
        let message = format!("the shared files stay in {ROOT}");
        let hint = format!(
            "where enxame made their file system, to be rid of them: systemctl disable --now {MOUNT_UNIT} && rm {IMAGE_PATH}"
        );
        findings.push(Finding::warning("4.1", message, hint).on(&view.node.name));
    }
    let action = Action { unmask: client::MASKED.map(str::to_owned).into(), serves, stop };
    differences.extend(action.unmask.iter().map(|unit| Difference::removed(unit.clone(), "masked")));
    let summary = if serves { "share no files any more" } else { "mount no shared files any more" };
    Declaration { drafts: vec![Draft::new(summary, reason, action).differing(differences)], findings }
}
