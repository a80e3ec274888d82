//! The node's own key for the tunnels: made on the node, once, with the tools that make it.

use serde::{Deserialize, Serialize};

use super::{KEY_PATH, MODULE, PACKAGE, Wanted, obstacle};
use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{FactsQuery, KeyFacts};

pub(crate) const KIND: Kind = Kind::of("tunnel_key");
/// For root alone.
pub const MODE: u32 = 0o600;

/// What to do. A key that can be used stays, unless another is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The packages to install before.
    pub install: Vec<String>,
    /// Whether it becomes another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew: bool,
}

/// See the module.
pub(crate) struct TunnelKey;

impl Declare for TunnelKey {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "4"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        &[]
    }

    fn asks(&self, config: &Config, _: &NodeConfig) -> FactsQuery {
        let is_wanted = config.tunnel.is_some();
        let one = |name: &str| is_wanted.then(|| name.to_owned()).into_iter().collect();
        FactsQuery { modules: one(MODULE), packages: one(PACKAGE), ..FactsQuery::default() }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        if Wanted::of(view.config).is_none() {
            return Declaration::nothing();
        }
        if let Some(message) = obstacle(view.facts) {
            let hint = format!(
                "take that away, or boot the distribution's own kernel (running: {}), or take `tunnel:` out of cluster.yaml",
                view.facts.kernel.release
            );
            let finding = Finding::error("4", message, hint).on(&view.node.name);
            return Declaration { drafts: Vec::new(), findings: vec![finding] };
        }
        let has_tools = view.facts.packages.get(PACKAGE).is_some_and(|package| package.installed.is_some());
        let mut differences = Vec::new();
        if !has_tools {
            differences.push(Difference::added(format!("packages.{PACKAGE}"), "installed"));
        }
        match &view.facts.tunnel.key {
            KeyFacts::Usable { mode: MODE, .. } => {}
            KeyFacts::Usable { mode, .. } => differences.push(Difference::changed(
                format!("{KEY_PATH} (mode)"),
                format!("{mode:04o}"),
                format!("{MODE:04o}"),
            )),
            KeyFacts::Absent => differences.push(Difference::added(KEY_PATH, "a new key")),
            // What is there is seen once the tools are.
            KeyFacts::Unread(_) if !has_tools => {}
            KeyFacts::Unread(why) => {
                let message = format!("{KEY_PATH} cannot be looked at: {why}");
                let hint = "see what is at that path on the node, then plan again";
                let finding = Finding::error("4", message, hint).on(&view.node.name);
                return Declaration { drafts: Vec::new(), findings: vec![finding] };
            }
            KeyFacts::Unusable(why) => {
                differences.push(Difference::changed(KEY_PATH, format!("({why})"), "a new key"));
            }
        }
        if differences.is_empty() {
            return Declaration::nothing();
        }
        let reason = "each node has a key of its own for the tunnels, which never leaves it";
        let install = if has_tools { Vec::new() } else { vec![PACKAGE.to_owned()] };
        Draft::new("make the node's key for the tunnels", reason, Action { install, renew: false })
            .differing(differences)
            .into()
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // It goes with the interface; packages that were installed stay.
        Declaration::nothing()
    }
}
