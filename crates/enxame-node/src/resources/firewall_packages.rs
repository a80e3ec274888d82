//! The programs the firewall is made with: ufw and nft (manual 3.2).

use enxame_core::change::{Difference, Kind};
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View};
use enxame_core::facts::FactsQuery;

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::apt;

pub(super) const KIND: Kind = Kind::of("firewall_packages");
const PACKAGES: [&str; 2] = ["nftables", "ufw"];
/// Whoever loads rules of its own throws ours, ufw's or Docker's away.
const RIVALS: [(&str, Severity, &str); 3] = [
    ("firewalld.service", Severity::Error, "two managers of one firewall undo each other: systemctl disable --now firewalld"),
    ("netfilter-persistent.service", Severity::Error, "its saved rules replace ufw's at boot: systemctl disable --now netfilter-persistent"),
    ("nftables.service", Severity::Warning, "`systemctl restart nftables` flushes Docker's and ufw's rules: systemctl disable --now nftables"),
];

/// See the module.
pub(super) struct FirewallPackages;

impl Declare for FirewallPackages {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "3.2"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        &[]
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery {
            packages: PACKAGES.map(str::to_owned).into(),
            units: RIVALS.map(|(unit, ..)| unit.to_owned()).into(),
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let mut declaration = Declaration::nothing();
        for (unit, severity, hint) in RIVALS {
            let facts = view.facts.units.get(unit);
            if facts.is_some_and(|unit| unit.active == "active" || unit.enabled == "enabled") {
                declaration.findings.push(Finding {
                    severity,
                    node: Some(view.node.name.clone()),
                    section: "3.2".to_owned(),
                    message: format!("{unit} loads firewall rules of its own"),
                    hint: hint.to_owned(),
                });
            }
        }
        let is_missing = |name: &&str| {
            view.facts.packages.get(*name).is_none_or(|package| package.installed.is_none())
        };
        let missing: Vec<&str> = PACKAGES.into_iter().filter(is_missing).collect();
        if !missing.is_empty() {
            let draft = Draft::new("install the firewall's programs", "the node has no firewall", &missing);
            let differences =
                missing.iter().map(|name| Difference::added(format!("packages.{name}"), "installed"));
            declaration.change(draft.differing(differences));
        }
        declaration
    }
}

impl Resource for FirewallPackages {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        let packages: Vec<String> = read_action(action)?;
        apt::refresh_lists(on)?;
        apt::install(on, &packages)
    }
}
