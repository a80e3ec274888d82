//! The host name (manual 2.1): the kernel's and `/etc/hostname`.

use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Scope, SwarmFate, View};
use crate::facts::FactsQuery;
use serde::{Deserialize, Serialize};

use crate::files::OwnedFile;

pub(crate) const KIND: Kind = Kind::of("hostname");
/// The file.
pub const PATH: &str = "/etc/hostname";

/// See the module.
pub(crate) struct Hostname;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// `/etc/hostname`.
    pub file: OwnedFile,
    /// The name.
    pub name: String,
}

impl Declare for Hostname {
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
        // Names are in /etc/hosts before the name changes: sudo looks its own host up.
        const { &[super::hosts::KIND, super::cloud_init::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery { files: [PATH.to_owned()].into(), ..FactsQuery::default() }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let name = view.node.name.to_string();
        let file = OwnedFile::new(PATH, format!("{name}\n"));
        let mut differences = file.differences(view.facts);
        if view.facts.hostname != name {
            differences.push(Difference::changed("kernel.hostname", &view.facts.hostname, &name));
        }
        if differences.is_empty() {
            return Declaration::nothing();
        }
        let reason = "the swarm and the other nodes know the node by this name";
        let summary = format!("set the host name to {name}");
        Draft::new(summary, reason, Action { file, name }).differing(differences).into()
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::hostname(view)
    }
}
