//! The programs the firewall is made with: ufw and nft, there and started at boot (manual 3.2). ufw's unit does nothing
//! while ufw is off.

use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{FactsQuery, RivalFacts};
use serde::{Deserialize, Serialize};

pub(crate) const KIND: Kind = Kind::of("firewall_packages");
/// ufw's unit.
pub const UNIT: &str = "ufw.service";
/// What they come in.
pub const PACKAGES: [&str; 2] = ["nftables", "ufw"];
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

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The packages to install.
    pub install: Vec<String>,
}

/// See the module.
pub(crate) struct FirewallPackages;

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
        let unit = |name: &str| view.facts.units.get(name);
        let unseen: Vec<&str> =
            RIVALS.iter().map(|(name, _)| *name).chain([UNIT]).filter(|name| unit(name).is_none()).collect();
        if !unseen.is_empty() {
            let message = format!("systemd did not say which of these start: {}", unseen.join(", "));
            let hint = "plan again; on the node: systemctl is-system-running";
            declaration.findings.push(Finding::error("3.2", message, hint).on(&view.node.name));
        }
        let loads_rules = |name: &str| {
            // nftables.service has done its work at boot, and only stops by a flush.
            unit(name).is_some_and(|unit| {
                unit.enabled == "enabled" || (unit.active == "active" && name != NFTABLES)
            })
        };
        for (name, hint) in RIVALS.into_iter().filter(|(name, _)| loads_rules(name)) {
            let message = format!("{name} loads firewall rules of its own");
            declaration.findings.push(Finding::error("3.2", message, hint).on(&view.node.name));
        }
        declaration.findings.extend(rivals(view));
        let is_missing =
            |name: &&str| view.facts.packages.get(*name).is_none_or(|package| package.installed.is_none());
        let missing: Vec<&str> = PACKAGES.into_iter().filter(is_missing).collect();
        declaration.findings.extend(in_the_way(view, &missing));
        // A unit that was not seen is not known to be off.
        let is_enabled = unit(UNIT).is_none_or(|unit| unit.enabled == "enabled");
        if !missing.is_empty() || !is_enabled {
            let reason = "the node has no firewall that starts with it";
            let mut draft = Draft::new(
                "install the firewall's programs",
                reason,
                Action { install: missing.iter().map(|name| (*name).to_owned()).collect() },
            )
            .differing(missing.iter().map(|name| Difference::added(format!("packages.{name}"), "installed")));
            if !is_enabled {
                draft = draft.differing([Difference::added(UNIT, "enabled")]);
            }
            declaration.change(draft);
        }
        declaration
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // Nothing of its own: packages that were installed stay.
        Declaration::nothing()
    }
}

/// Who else throws rules away when he starts.
fn rivals<'a>(view: &View<'a>) -> impl Iterator<Item = Finding> + 'a {
    let is_told = |rival: &&RivalFacts| RIVALS.iter().any(|(unit, _)| *unit == rival.started_by);
    let node = &view.node.name;
    view.facts.filter.rivals.iter().filter(move |rival| !is_told(rival)).map(move |rival| {
        let RivalFacts { started_by, place, text, is_sure } = rival;
        let how = if *is_sure { "throws" } else { "may throw" };
        let message = format!(
            "{started_by} {how} away everybody's firewall rules, ufw's and Docker's too, when it starts ({place}: {text})"
        );
        let hint = if started_by.ends_with(".service") {
            format!(
                "on the node: systemctl disable {started_by} (and do not stop it: that may flush them now); name what it lets \
                 in in `firewall.openings`"
            )
        } else {
            format!("take that line out of {place}, and name what it lets in in `firewall.openings`")
        };
        let finding =
            if *is_sure { Finding::error("3.2", message, hint) } else { Finding::warning("3.2", message, hint) };
        finding.on(node)
    })
}

/// What has to go before the firewall's programs come: apt is not let remove anything.
fn in_the_way(view: &View<'_>, missing: &[&str]) -> Option<Finding> {
    let removed = &view.facts.filter.installing_removes;
    (!removed.is_empty() && !missing.is_empty()).then(|| {
        let (removed, missing) = (removed.join(" "), missing.join(" and "));
        let message = format!("{missing} cannot be installed beside {removed}");
        let hint = format!(
            "on the node, when its rules are no longer needed: apt-get remove {removed} (its files in /etc stay); name what they \
             let in in `firewall.openings`"
        );
        Finding::error("3.2", message, hint).on(&view.node.name)
    })
}
