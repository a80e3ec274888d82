//! The programs the firewall is made with: ufw and nft, there and started at boot (manual 3.2). ufw's unit does nothing
//! while ufw is off.

use std::time::Duration;

use enxame_core::change::{Difference, Kind};
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View};
use enxame_core::facts::FactsQuery;

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::apt;
use crate::host::Command;

pub(super) const KIND: Kind = Kind::of("firewall_packages");
const UNIT: &str = "ufw.service";
/// It has an init script as well, which Debian's scripts look through.
const ENABLE: Duration = Duration::from_secs(120);
const PACKAGES: [&str; 2] = ["nftables", "ufw"];
const NFTABLES: &str = "nftables.service";
/// Whoever loads rules of its own throws ours, ufw's or Docker's away.
const RIVALS: [(&str, &str); 3] = [
    ("firewalld.service", "two managers of one firewall undo each other: systemctl disable --now firewalld"),
    (
        "netfilter-persistent.service",
        "its saved rules replace ufw's at boot: systemctl disable --now netfilter-persistent",
    ),
    (
        NFTABLES,
        "its file flushes everybody's rules, at boot after ufw has loaded its own: systemctl disable nftables (and do not \
         stop it: that flushes them now, with Docker's encryption among them)",
    ),
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
            units: RIVALS.iter().map(|(unit, _)| *unit).chain([UNIT]).map(str::to_owned).collect(),
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let mut declaration = Declaration::nothing();
        for (unit, hint) in RIVALS {
            let (message, hint) = match view.facts.units.get(unit) {
                None => (
                    format!("whether {unit} is there could not be seen: systemd did not answer"),
                    "plan again; on the node: systemctl is-system-running",
                ),
                // It has done its work at boot, and only stops by a flush.
                Some(facts) if facts.enabled != "enabled" && unit == NFTABLES => continue,
                Some(facts) if facts.enabled != "enabled" && facts.active != "active" => continue,
                Some(_) => (format!("{unit} loads firewall rules of its own"), hint),
            };
            declaration.findings.push(Finding {
                severity: Severity::Error,
                node: Some(view.node.name.clone()),
                section: "3.2".to_owned(),
                message,
                hint: hint.to_owned(),
                waiver: None,
            });
        }
        let is_missing =
            |name: &&str| view.facts.packages.get(*name).is_none_or(|package| package.installed.is_none());
        let missing: Vec<&str> = PACKAGES.into_iter().filter(is_missing).collect();
        let is_enabled = view.facts.units.get(UNIT).is_some_and(|unit| unit.enabled == "enabled");
        if !missing.is_empty() || !is_enabled {
            let reason = "the node has no firewall that starts with it";
            let mut draft = Draft::new("install the firewall's programs", reason, &missing).differing(
                missing.iter().map(|name| Difference::added(format!("packages.{name}"), "installed")),
            );
            if !is_enabled {
                draft = draft.differing([Difference::added(UNIT, "enabled")]);
            }
            declaration.change(draft);
        }
        declaration
    }
}

impl Resource for FirewallPackages {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        let packages: Vec<String> = read_action(action)?;
        if !packages.is_empty() {
            apt::refresh_lists(on)?;
            apt::install(on, &packages)?;
        }
        on.host.run_ok(&Command::new(["systemctl", "enable", "--quiet", UNIT]).within(ENABLE))?;
        Ok(())
    }
}
