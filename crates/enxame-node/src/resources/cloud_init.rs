//! cloud-init (manual 2.1, corrected): kept from rewriting the host name and `/etc/hosts` at boot.

use enxame_core::change::Kind;
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View};
use enxame_core::facts::FactsQuery;

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::files::{HEADER, OwnedFile};

pub(super) const KIND: Kind = Kind::of("cloud_init");
// Read in alphabetical order, the last one wins.
const PATH: &str = "/etc/cloud/cloud.cfg.d/99-enxame.cfg";

/// See the module.
pub(super) struct CloudInit;

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
            declaration.findings.push(Finding {
                severity: Severity::Warning,
                node: Some(view.node.name.clone()),
                section: "2.1".to_owned(),
                message: format!(
                    "`manage_etc_hosts: true` in the provider's {} goes before {PATH}: each boot takes the nodes' names out of \
                     /etc/hosts",
                    given.join(" and ")
                ),
                hint: "change it at the provider, or on the node: touch /etc/cloud/cloud-init.disabled; until then \
                       apply after each boot puts them back"
                    .to_owned(),
                waiver: None,
            });
        }
        let text = format!("{HEADER}preserve_hostname: true\nmanage_etc_hosts: false\n");
        let file = OwnedFile::new(PATH, text);
        let differences = file.differences(view.facts);
        if differences.is_empty() {
            return declaration;
        }
        let reason = "cloud-init rewrites both at every boot unless told otherwise";
        let summary = "keep cloud-init from rewriting the host name and /etc/hosts";
        declaration.change(Draft::new(summary, reason, &file).differing(differences));
        declaration
    }
}

impl Resource for CloudInit {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        Ok(read_action::<OwnedFile>(action)?.write(on.host)?)
    }
}
