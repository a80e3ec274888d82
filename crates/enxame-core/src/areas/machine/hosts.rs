//! `/etc/hosts` (manual 2.1): every node's name and public address, in a marked block; the rest of the file stays.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use crate::change::Kind;
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{FactsQuery, FileFacts};
use serde::{Deserialize, Serialize};

use crate::files::{line_differences, with_block};

pub(crate) const KIND: Kind = Kind::of("hosts");
/// The file.
pub const PATH: &str = "/etc/hosts";
/// A server without the file gets this beside the block.
pub const LOCALHOST: &str = "127.0.0.1 localhost\n";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// A line for each node.
    pub lines: String,
}

/// See the module.
pub(crate) struct Hosts;

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
        declare(view, &Names::of(view.config))
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::hosts(view)
    }
}

/// What every node's file must say of all of them.
struct Names<'a> {
    lines: String,
    addresses: BTreeMap<&'a str, IpAddr>,
}

impl<'a> Names<'a> {
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

fn declare(view: &View<'_>, names: &Names<'_>) -> Declaration {
    let old = match view.facts.files.get(PATH) {
        Some(FileFacts::Text { content, .. }) => content.as_str(),
        Some(FileFacts::Unreadable(why)) => return refusal(view, &format!("cannot be read: {why}")),
        Some(FileFacts::Absent) | None => LOCALHOST,
    };
    let new = match with_block(old, &names.lines) {
        Ok(new) => new,
        Err(broken) => return refusal(view, &format!("{broken}")),
    };
    let mut declaration = contradictions(view, names, old);
    if new != old {
        let reason = "there is no name server of the nodes' own; people and stacks know them by these names";
        let differences = line_differences(PATH, old, &new);
        let draft =
            Draft::new("name every node in /etc/hosts", reason, Action { lines: names.lines.clone() });
        declaration.change(draft.differing(differences));
    }
    declaration
}

fn refusal(view: &View<'_>, why: &str) -> Declaration {
    let finding = Finding::error("2.1", format!("{PATH}: {why}"), "mend the file by hand, then plan again")
        .on(&view.node.name);
    Declaration { drafts: Vec::new(), findings: vec![finding] }
}

/// Lines outside the block that give a node's name to another address: the first line of the file wins.
fn contradictions(view: &View<'_>, names: &Names<'_>, text: &str) -> Declaration {
    let mut declaration = Declaration::nothing();
    for line in text.lines().map(str::trim).take_while(|line| !line.starts_with("# BEGIN enxame")) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address = words.next().unwrap_or_default();
        for (name, wanted) in words.filter_map(|word| names.addresses.get_key_value(word)) {
            // Debian gives a machine's own name to 127.0.1.1.
            let is_own = *name == view.node.name.as_str() && address.starts_with("127.");
            if address.parse() != Ok(*wanted) && !is_own {
                declaration.findings.push(
                    Finding::warning(
                        "2.1",
                        format!("{PATH} gives {name} the address {address} before the enxame block"),
                        format!("remove the name from the line `{}`", line.trim()),
                    )
                    .on(&view.node.name),
                );
            }
        }
    }
    declaration
}
