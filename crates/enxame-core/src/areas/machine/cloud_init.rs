//! cloud-init (manual 2.1, corrected): kept from rewriting the host name and `/etc/hosts` at boot.

use crate::change::Kind;
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::FactsQuery;
use serde::{Deserialize, Serialize};

use crate::files::{HEADER, OwnedFile};

pub(crate) const KIND: Kind = Kind::of("cloud_init");
// Read in alphabetical order, the last one wins.
const PATH: &str = "/etc/cloud/cloud.cfg.d/99-enxame.cfg";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action(pub OwnedFile);

/// See the module.
pub(crate) struct CloudInit;

impl Declare for CloudInit {
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
        &[]
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery { files: [PATH.to_owned()].into(), ..FactsQuery::default() }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        if !view.facts.cloud_init.is_active {
            return Declaration::nothing();
        }
        let mut declaration = Declaration::nothing();
        let given = &view.facts.cloud_init.hosts_rewritten_by;
        if !given.is_empty() {
            declaration.findings.push(Finding::warning("2.1", format!(
                    "`manage_etc_hosts: true` in the provider's {} goes before {PATH}: each boot takes the nodes' names out of \
                     /etc/hosts",
                    given.join(" and ")
                ), "change it at the provider, or on the node: touch /etc/cloud/cloud-init.disabled; until then \
                       apply after each boot puts them back"
                    ).on(&view.node.name));
        }
        let text = format!("{HEADER}preserve_hostname: true\nmanage_etc_hosts: false\n");
        let file = OwnedFile::new(PATH, text);
        let differences = file.differences(view.facts);
        if differences.is_empty() {
            return declaration;
        }
        let reason = "cloud-init rewrites both at every boot unless told otherwise";
        let summary = "keep cloud-init from rewriting the host name and /etc/hosts";
        declaration.change(Draft::new(summary, reason, Action(file)).differing(differences));
        declaration
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::file(view, PATH, "let cloud-init manage the host name and /etc/hosts again")
    }
}
