//! What every node needs to mount shared files (manual 4.2): the client's programs, without what `NFSv4` does without.

use serde::{Deserialize, Serialize};

use super::{CLIENT_PACKAGE, Wanted, texts, volumes};
use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::FactsQuery;
use crate::files::OwnedFile;

pub(crate) const KIND: Kind = Kind::of("storage_client");
/// They listen at port 111 and at ports of chance, and come with the client's package.
pub const MASKED: [&str; 3] = ["rpcbind.service", "rpcbind.socket", "rpc-statd.service"];

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The units to mask, before packages come that would start them.
    pub mask: Vec<String>,
    /// The packages to install.
    pub install: Vec<String>,
    /// The settings.
    pub conf: OwnedFile,
}

/// See the module.
pub(crate) struct StorageClient;

impl Declare for StorageClient {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "4.2"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        use crate::areas::firewall::{guard, ufw};
        // What a package starts meets the firewall.
        const { &[guard::KIND, ufw::KIND] }
    }

    fn asks(&self, config: &Config, _: &NodeConfig) -> FactsQuery {
        let Some(storage) = &config.storage else { return FactsQuery::default() };
        FactsQuery {
            packages: [CLIENT_PACKAGE.to_owned()].into(),
            units: MASKED.map(str::to_owned).into(),
            shared: storage.exports.iter().map(|export| export.name.as_str().to_owned()).collect(),
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let Some(wanted) = Wanted::of(view.config) else { return Declaration::nothing() };
        let mut declaration = Declaration::nothing();
        declaration.findings.extend(old_mounts(view));
        if !declaration.findings.is_empty() {
            return declaration;
        }
        declaration.findings.extend(volumes::findings(view, wanted));
        let mut differences = Vec::new();
        let is_free = |name: &&str| {
            let unit = view.facts.units.get(*name);
            unit.is_none_or(|unit| unit.enabled != "masked" || unit.active == "active")
        };
        let mask: Vec<String> = MASKED.into_iter().filter(is_free).map(str::to_owned).collect();
        differences.extend(mask.iter().map(|unit| Difference::added(unit.clone(), "masked")));
        let is_missing =
            view.facts.packages.get(CLIENT_PACKAGE).is_none_or(|package| package.installed.is_none());
        let install = if is_missing { vec![CLIENT_PACKAGE.to_owned()] } else { Vec::new() };
        differences
            .extend(install.iter().map(|name| Difference::added(format!("packages.{name}"), "installed")));
        // The server's own are written by what starts it.
        let is_server = view.node.name == wanted.server.name;
        let conf = if is_server { texts::server_conf(wanted.address) } else { texts::client_conf() };
        differences.extend(conf.differences(view.facts));
        if !differences.is_empty() {
            let reason =
                "the shared files are mounted by NFSv4, which needs one port and neither rpcbind nor statd";
            declaration.change(
                Draft::new("prepare the node for shared files", reason, Action { mask, install, conf })
                    .differing(differences),
            );
        }
        declaration
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // It goes with the server's part.
        Declaration::nothing()
    }
}

fn old_mounts(view: &View<'_>) -> Option<Finding> {
    let mounts = &view.facts.storage.old_mounts;
    if mounts.is_empty() {
        return None;
    }
    let message =
        format!("{} is mounted by NFS before version 4, which needs rpcbind and statd", mounts.join(", "));
    let hint = format!("mount it with vers=4.2, or not at all: enxame masks {}", MASKED.join(", "));
    Some(Finding::error("4.2", message, hint).on(&view.node.name))
}
