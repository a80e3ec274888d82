//! The guard on a node: its table loaded, and loaded again at every boot before the network is up (manual 3).

use std::time::Duration;

use enxame_core::change::{Difference, Kind, Risk};
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View, declare_sharing};
use enxame_core::facts::{FactsQuery, GuardState, Observed};
use enxame_core::firewall::{self, Firewall, Opening, PLAINTEXT_VNI};
use serde::{Deserialize, Serialize};

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::deadman::{Step, WayBack};
use crate::files::{HEADER, OwnedFile};
use crate::guard::{self, Guard, LISTING, PATH, why_closed};
use crate::host::{Command, Host};

pub(super) const KIND: Kind = Kind::of("guard");
const UNIT: &str = "enxame-guard.service";
const UNIT_PATH: &str = "/etc/systemd/system/enxame-guard.service";

/// Loading a table takes a moment; the dead-man switch waits for all steps together.
const STEP: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct GuardTable;

#[derive(Serialize, Deserialize)]
struct Action {
    table: OwnedFile,
    unit: OwnedFile,
    /// Why the operator would be kept out, where he would.
    closed: Option<String>,
}

fn unit() -> OwnedFile {
    let list = guard::list().argv.join(" ");
    let text = format!(
        "{HEADER}[Unit]\nDescription=Packet filter in front of Docker's and ufw's\nDefaultDependencies=no\n\
         Wants=network-pre.target\nBefore=network-pre.target shutdown.target\nConflicts=shutdown.target\n\
         After=local-fs.target nftables.service\nConditionPathExists={PATH}\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/nft -f {PATH}\n\
         ExecStartPost=/bin/sh -c 'umask 077; exec {list} >{LISTING}'\n\n\
         [Install]\nWantedBy=sysinit.target\n"
    );
    OwnedFile::new(UNIT_PATH, text)
}

/// The identifiers of the network whose packets may be clear: those it has, or the one it will get.
fn plaintext_vnis(view: &View<'_>) -> Vec<u32> {
    let Some(name) = view.config.networks.plaintext.as_ref() else { return Vec::new() };
    let mut swarms = view.all.values().filter_map(|facts| facts.engine.swarm());
    let leading = swarms.find(|swarm| swarm.is_manager_with_quorum);
    let there = leading.and_then(|swarm| swarm.networks.iter().find(|network| network.name == name.as_str()));
    let vnis = there.map(|network| network.vnis.clone()).unwrap_or_default();
    if vnis.is_empty() { vec![PLAINTEXT_VNI] } else { vnis }
}

fn table(view: &View<'_>, openings: &[Opening]) -> Option<OwnedFile> {
    let interfaces = firewall::public_interfaces(view.node, view.facts);
    let guard = Guard {
        interfaces: interfaces.iter().map(|interface| interface.name.as_str()).collect(),
        openings,
        data_path_port: view.config.swarm.data_path_port,
        plaintext_vnis: plaintext_vnis(view),
        addresses: firewall::lasting_addresses(view.node, view.facts),
    };
    // Without one there is nothing to guard; that the node's address is nowhere is a finding of its own.
    (!guard.interfaces.is_empty()).then(|| OwnedFile { mode: 0o600, ..OwnedFile::new(PATH, guard.text()) })
}

impl Declare for GuardTable {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "3"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        const { &[super::firewall_packages::KIND, super::kernel_modules::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery {
            files: [PATH, UNIT_PATH].map(str::to_owned).into(),
            units: [UNIT.to_owned()].into(),
            filter: true,
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        declare(view, &Firewall::of(view.config))
    }

    fn declare_each(&self, views: &[View<'_>]) -> Vec<Declaration> {
        declare_sharing(views, Firewall::of, declare)
    }
}

fn declare(view: &View<'_>, firewall: &Firewall<'_>) -> Declaration {
    let openings = firewall.on_node(view.node, view.facts.ssh_session);
    let Some(table) = table(view, &openings) else {
        let finding = Finding {
            severity: Severity::Error,
            node: Some(view.node.name.clone()),
            section: "3".to_owned(),
            message: format!("no interface carries {}: there is nothing to guard", view.node.address),
            hint: "give the address that the server itself has".to_owned(),
            waiver: None,
        };
        return Declaration { drafts: Vec::new(), findings: vec![finding] };
    };
    let unit = unit();
    let mut differences = table.differences(view.facts);
    differences.extend(unit.differences(view.facts));
    let now = match &view.facts.filter.guard {
        Observed::Known(GuardState::AsLoaded) => None,
        Observed::Known(GuardState::Absent) => Some("absent".to_owned()),
        Observed::Known(GuardState::Changed) => Some("changed since it was loaded".to_owned()),
        Observed::Unknown(why) => Some(format!("not seen: {why}")),
    };
    differences.extend(now.map(|now| Difference::changed("table inet enxame (live)", now, "as in its file")));
    if view.facts.units.get(UNIT).is_none_or(|unit| unit.enabled != "enabled") {
        differences.push(Difference::added(UNIT, "enabled"));
    }
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let closed = view.facts.ssh_session.and_then(|session| why_closed(&openings, session.from, session.port));
    let action = Action { table, unit, closed };
    let reason = "what Docker publishes is open to the world, and its encryption fails open: neither passes this table";
    let draft = Draft::new("guard the public interface", reason, &action);
    draft.differing(differences).risking(Risk::MayCutSsh).into()
}

impl Resource for GuardTable {
    fn way_back(&self, host: &dyn Host, _: &serde_json::Value) -> Result<Option<WayBack>, ActuateError> {
        // What is live, not what the file says: it may be somebody's way out of a lock-out that there is no table.
        let live = match guard::look(host) {
            Observed::Known(GuardState::Absent) => String::new(),
            Observed::Known(GuardState::AsLoaded | GuardState::Changed) => host.run_ok(&guard::list())?,
            Observed::Unknown(why) => {
                let message = format!("cannot see what of the table inet enxame is there: {why}");
                return Err(ActuateError::wrong(message, ""));
            }
        };
        // Both lines, so that it is no error when there is none.
        let table = format!("table inet enxame\ndelete table inet enxame\n{live}");
        host.run_ok(&Command::new(["nft", "--check", "-f", "-"]).reading(table.as_bytes()).within(STEP))?;
        let load = Step::reading(["nft", "-f", "-"], table);
        let files = [PATH, UNIT_PATH, LISTING].map(str::to_owned).to_vec();
        let reload = vec![load, Step::new(["systemctl", "daemon-reload"])];
        Ok(Some(WayBack { files, reload }))
    }

    fn why_cut(&self, action: &serde_json::Value) -> Option<String> {
        let closed = read_action::<Action>(action).ok()?.closed?;
        Some(format!("table inet enxame, chain openings: {closed}"))
    }

    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        let Action { table, unit, .. } = read_action(action)?;
        let check = Command::new(["nft", "--check", "-f", "-"]).reading(table.content.as_bytes());
        on.host.run_ok(&check.within(STEP))?;
        table.write(on.host)?;
        unit.write(on.host)?;
        on.host.run_ok(&Command::new(["systemctl", "daemon-reload"]))?;
        on.host.run_ok(&Command::new(["systemctl", "enable", "--quiet", UNIT]))?;
        on.host.run_ok(&Command::new(["nft", "-f", PATH]).within(STEP))?;
        let listing = on.host.run_ok(&guard::list())?;
        on.host.write(std::path::Path::new(LISTING), listing.as_bytes(), 0o600)?;
        Ok(())
    }
}
