//! The overlay networks for services (manual 5.3, corrected): one encrypted, with the MTU of the measured path,
//! and, only by name, one that is not.

use crate::change::{Kind, Risk};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{FactsQuery, NetworkFacts};
use crate::names::ObjectName;

use serde::{Deserialize, Serialize};

use super::overlay::{WantedNetwork, underlay_mtu};

pub(crate) const KIND: Kind = Kind::of("network");

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action(pub WantedNetwork);

/// See the module.
pub(crate) struct Networks;

impl Declare for Networks {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "5.3"
    }

    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn after(&self) -> &'static [Kind] {
        const { &[super::ingress::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery::default()
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let (underlay_mtu_bytes, findings) = underlay_mtu(view);
        let mut declaration = Declaration { drafts: Vec::new(), findings };
        let networks = &view.config.networks;
        let secure = Some((&networks.secure, true));
        let plaintext = networks.plaintext.as_ref().map(|name| (name, false));
        let there = view.facts.engine.swarm().map(|swarm| swarm.networks.as_slice()).unwrap_or_default();
        for (name, is_encrypted) in secure.into_iter().chain(plaintext) {
            let wanted = WantedNetwork {
                name: name.to_string(),
                is_ingress: false,
                is_attachable: true,
                is_encrypted,
                underlay_mtu_bytes,
            };
            let there = there.iter().find(|network| network.name == wanted.name);
            let is_only_the_mtu = there.is_some_and(|there| wanted.differs_only_in_mtu(there));
            if is_only_the_mtu {
                declaration.findings.push(mtu_finding(&wanted));
            } else if let Some(draft) = network(&wanted, there) {
                declaration.change(draft);
            }
        }
        for open in there.iter().filter(|network| !network.is_encrypted && !network.is_ingress) {
            if networks.plaintext.as_ref().map(ObjectName::as_str) != Some(&open.name)
                && open.name != networks.secure.as_str()
            {
                declaration.findings.push(Finding::warning(
                    "5.3",
                    format!(
                        "the network {} is not encrypted: the guard lets nothing of it out of a node",
                        open.name
                    ),
                    format!("remove it, or write `networks.plaintext: {}`", open.name),
                ));
            }
        }
        declaration
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // Nothing of its own: they go with the swarm.
        Declaration::nothing()
    }
}

/// A network that carries traffic is not taken away for its MTU.
fn mtu_finding(wanted: &WantedNetwork) -> Finding {
    Finding::warning(
        "5.3",
        format!(
            "the network {} is not made for an underlay MTU of {}",
            wanted.name, wanted.underlay_mtu_bytes
        ),
        format!("when nothing uses it: docker network rm {}; apply makes it again", wanted.name),
    )
}

fn network(wanted: &WantedNetwork, there: Option<&NetworkFacts>) -> Option<Draft> {
    let differences = there.map_or_else(|| wanted.all_new(), |there| wanted.differences(there));
    if differences.is_empty() {
        return None;
    }
    let (verb, risk) = match there {
        None => ("make", Risk::Safe),
        Some(_) => (
            "make again",
            Risk::Disruptive("refused while a service or container is attached to it".to_owned()),
        ),
    };
    let kind = if wanted.is_encrypted { "encrypted" } else { "UNENCRYPTED" };
    let reason = if wanted.is_encrypted {
        "services on different nodes talk over the public Internet"
    } else {
        "cluster.yaml asks for a network without encryption"
    };
    let draft =
        Draft::new(format!("{verb} the {kind} network {}", wanted.name), reason, Action(wanted.clone()));
    Some(draft.item(&wanted.name).differing(differences).risking(risk))
}
