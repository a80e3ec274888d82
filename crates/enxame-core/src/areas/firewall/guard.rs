//! The guard on a node: its table loaded, and loaded again at every boot before the network is up (manual 3).

use crate::areas::firewall::{self, Firewall, Opening};
use crate::areas::tunnel::carries;
use crate::change::{Difference, Kind, Risk};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{FactsQuery, GuardState, Observed};
use serde::{Deserialize, Serialize};

use super::guard_table::{Guard, LIST, LISTING, PATH, why_closed};
use crate::files::{HEADER, OwnedFile};

pub(crate) const KIND: Kind = Kind::of("guard");
/// What loads the table at boot.
pub const UNIT: &str = "enxame-guard.service";
/// Its file.
pub const UNIT_PATH: &str = "/etc/systemd/system/enxame-guard.service";
/// The network that is declared plaintext gets this identifier, so that the guard can tell its packets from others'
/// before it is made. Swarm itself counts up from 4096 (swarmkit, `cnmallocator/drivers_network_linux.go`).
pub const PLAINTEXT_VNI: u32 = 0x00e0_0001;

/// See the module.
pub(crate) struct GuardTable;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The table.
    pub table: OwnedFile,
    /// What loads it at boot.
    pub unit: OwnedFile,
    /// Why the operator would be kept out, where he would.
    pub closed: Option<String>,
}

fn unit() -> OwnedFile {
    let list = LIST.join(" ");
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

fn table(view: &View<'_>, openings: &[Opening], tunnel: Option<&[Opening]>) -> Option<OwnedFile> {
    let interfaces = firewall::public_interfaces(view.node, view.facts);
    let guard = Guard {
        interfaces: interfaces.iter().map(|interface| interface.name.as_str()).collect(),
        openings,
        data_path_port: view.config.swarm.data_path_port,
        plaintext_vnis: plaintext_vnis(view),
        addresses: firewall::lasting_addresses(view.node, view.facts),
        tunnel,
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
        const { &[super::packages::KIND, crate::areas::machine::kernel_modules::KIND] }
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

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::guard(view)
    }
}

fn declare(view: &View<'_>, firewall: &Firewall<'_>) -> Declaration {
    let openings = firewall.on_node(view.node, view.facts.ssh_session);
    let tunnel = firewall.in_the_tunnel(view.node, view.facts.ssh_session);
    let Some(table) = table(view, &openings, tunnel.as_deref()) else {
        let finding = Finding::error(
            "3",
            format!("no interface carries {}: there is nothing to guard", view.node.address),
            "give the address that the server itself has",
        )
        .on(&view.node.name);
        return Declaration { drafts: Vec::new(), findings: vec![finding] };
    };
    if let Err(refusal) = super::ufw::fits(PATH, &table.content) {
        return Declaration { drafts: Vec::new(), findings: vec![refusal.finding(view)] };
    }
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
    if view.facts.units.get(UNIT).is_some_and(|unit| unit.enabled != "enabled") {
        differences.push(Difference::added(UNIT, "enabled"));
    }
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let closed = view.facts.ssh_session.and_then(|session| {
        let by_tunnel = tunnel.as_deref().filter(|_| carries(view.facts, session));
        why_closed(by_tunnel.unwrap_or(&openings), session.from, session.port)
    });
    let action = Action { table, unit, closed };
    let reason = "what Docker publishes is open to the world, and its encryption fails open: neither passes this table";
    let draft = Draft::new("guard the public interface", reason, action);
    draft.differing(differences).risking(Risk::MayCutSsh).into()
}
