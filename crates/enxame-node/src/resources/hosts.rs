//! `/etc/hosts` (manual 2.1): every node's name and public address, in a marked block; the rest of the file stays.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use enxame_core::change::Kind;
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View, declare_sharing};
use enxame_core::facts::{FactsQuery, FileFacts};

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::files::{line_differences, with_block};

pub(super) const KIND: Kind = Kind::of("hosts");
const PATH: &str = "/etc/hosts";
/// A server without the file gets this beside the block.
const LOCALHOST: &str = "127.0.0.1 localhost\n";

/// See the module.
pub(super) struct Hosts;

impl Declare for Hosts {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "2.1"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        const { &[super::cloud_init::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery { files: [PATH.to_owned()].into(), ..FactsQuery::default() }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        declare(view, &Mesh::of(view.config))
    }

    fn declare_each(&self, views: &[View<'_>]) -> Vec<Declaration> {
        declare_sharing(views, Mesh::of, declare)
    }
}

/// What every node's file must say of all of them.
struct Mesh<'a> {
    lines: String,
    addresses: BTreeMap<&'a str, IpAddr>,
}

impl<'a> Mesh<'a> {
    fn of(config: &'a Config) -> Self {
        let mut lines = String::new();
        for node in &config.nodes {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "{} {}", node.address, node.name);
        }
        let addresses = config.nodes.iter().map(|node| (node.name.as_str(), node.address)).collect();
        Self { lines, addresses }
    }
}

fn declare(view: &View<'_>, mesh: &Mesh<'_>) -> Declaration {
    let old = match view.facts.files.get(PATH) {
        Some(FileFacts::Text { content, .. }) => content.as_str(),
        Some(FileFacts::Unreadable(why)) => return refusal(view, &format!("cannot be read: {why}")),
        Some(FileFacts::Absent) | None => LOCALHOST,
    };
    let new = match with_block(old, &mesh.lines) {
        Ok(new) => new,
        Err(broken) => return refusal(view, &format!("{broken}")),
    };
    let mut declaration = contradictions(view, mesh, old);
    if new != old {
        let reason = "there is no name server of the nodes' own; people and stacks know them by these names";
        let differences = line_differences(PATH, old, &new);
        let draft = Draft::new("name every node in /etc/hosts", reason, &mesh.lines);
        declaration.change(draft.differing(differences));
    }
    declaration
}

fn refusal(view: &View<'_>, why: &str) -> Declaration {
    let finding = Finding {
        severity: Severity::Error,
        node: Some(view.node.name.clone()),
        section: "2.1".to_owned(),
        message: format!("{PATH}: {why}"),
        hint: "mend the file by hand, then plan again".to_owned(),
        waiver: None,
    };
    Declaration { drafts: Vec::new(), findings: vec![finding] }
}

/// Lines outside the block that give a node's name to another address: the first line of the file wins.
fn contradictions(view: &View<'_>, mesh: &Mesh<'_>, text: &str) -> Declaration {
    let mut declaration = Declaration::nothing();
    for line in text.lines().map(str::trim).take_while(|line| !line.starts_with("# BEGIN enxame")) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address = words.next().unwrap_or_default();
        for (name, wanted) in words.filter_map(|word| mesh.addresses.get_key_value(word)) {
            // Debian gives a machine's own name to 127.0.1.1.
            let is_own = *name == view.node.name.as_str() && address.starts_with("127.");
            if address.parse() != Ok(*wanted) && !is_own {
                declaration.findings.push(Finding {
                    severity: Severity::Warning,
                    node: Some(view.node.name.clone()),
                    section: "2.1".to_owned(),
                    message: format!("{PATH} gives {name} the address {address} before the enxame block"),
                    hint: format!("remove the name from the line `{}`", line.trim()),
                    waiver: None,
                });
            }
        }
    }
    declaration
}

impl Resource for Hosts {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        let lines: String = read_action(action)?;
        let path = Path::new(PATH);
        // Read again: what the user wrote since the plan was made stays.
        let (old, mode) = match on.host.read(path) {
            FileFacts::Text { content, mode, .. } => (content, mode),
            FileFacts::Absent => (LOCALHOST.to_owned(), 0o644),
            FileFacts::Unreadable(why) => {
                return Err(ActuateError::wrong(format!("{PATH} cannot be read: {why}"), "mend it by hand"));
            }
        };
        let new = with_block(&old, &lines)
            .map_err(|broken| ActuateError::wrong(format!("{PATH}: {broken}"), "mend it by hand"))?;
        Ok(on.host.write(path, new.as_bytes(), mode)?)
    }
}
