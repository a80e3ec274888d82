//! The overlay networks for services (manual 5.3, corrected): one encrypted, with the MTU of the measured path,
//! and, only by name, one that is not.

use enxame_core::change::{Kind, Risk};
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View};
use enxame_core::facts::{FactsQuery, NetworkFacts};
use enxame_core::names::ObjectName;

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::overlay::{WantedNetwork, underlay_mtu};

const KIND: Kind = Kind::of("network");

/// See the module.
pub(super) struct Networks;

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
        &[]
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
                declaration.findings.push(Finding {
                    severity: Severity::Warning,
                    node: None,
                    section: "5.3".to_owned(),
                    message: format!(
                        "the network {} is not encrypted: the guard lets nothing of it out of a node",
                        open.name
                    ),
                    hint: format!("remove it, or write `networks.plaintext: {}`", open.name),
                    waiver: None,
                });
            }
        }
        declaration
    }
}

/// A network that carries traffic is not taken away for its MTU.
fn mtu_finding(wanted: &WantedNetwork) -> Finding {
    Finding {
        severity: Severity::Warning,
        node: None,
        section: "5.3".to_owned(),
        message: format!(
            "the network {} is not made for an underlay MTU of {}",
            wanted.name, wanted.underlay_mtu_bytes
        ),
        hint: format!("when nothing uses it: docker network rm {}; apply makes it again", wanted.name),
        waiver: None,
    }
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
    let draft = Draft::new(format!("{verb} the {kind} network {}", wanted.name), reason, wanted);
    Some(draft.item(&wanted.name).differing(differences).risking(risk))
}

impl Resource for Networks {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        read_action::<WantedNetwork>(action)?.make(&on.engine()?)
    }
}
