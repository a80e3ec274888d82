//! The routing mesh's network (manual 6.2, corrected): Docker makes it unencrypted; it is made again, encrypted,
//! before anything publishes through it.

use enxame_core::change::{Kind, Risk};
use enxame_core::config::{Config, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View};
use enxame_core::facts::FactsQuery;

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::overlay::{WantedNetwork, underlay_mtu};

const KIND: Kind = Kind::of("ingress");
const NAME: &str = "ingress";

/// See the module.
pub(super) struct Ingress;

impl Declare for Ingress {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "6.2"
    }

    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn after(&self) -> &'static [Kind] {
        const { &[super::swarm_init::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery::default()
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        // What could not be measured is told by the networks' own resource.
        let (underlay_mtu_bytes, unmeasured) = underlay_mtu(view);
        let there = view
            .facts
            .engine
            .swarm()
            .and_then(|swarm| swarm.networks.iter().find(|network| network.is_ingress));
        let wanted = WantedNetwork {
            name: there.map_or(NAME, |there| &there.name).to_owned(),
            is_ingress: true,
            is_attachable: false,
            is_encrypted: true,
            underlay_mtu_bytes,
        };
        let differences = there.map_or_else(|| wanted.all_new(), |there| wanted.differences(there));
        if differences.is_empty() {
            return Declaration::nothing();
        }
        // What was not measured changes nothing that is there.
        if !unmeasured.is_empty() && there.is_some_and(|there| wanted.differs_only_in_mtu(there)) {
            return Declaration::nothing();
        }
        let services = view
            .facts
            .engine
            .swarm()
            .map(|swarm| swarm.services_publishing_through_ingress.as_slice())
            .unwrap_or_default();
        if !services.is_empty() {
            let is_open = there.is_some_and(|there| !there.is_encrypted);
            let what = if is_open { "is not encrypted" } else { "has another MTU than the path below it" };
            let finding = Finding {
                severity: if is_open { Severity::Error } else { Severity::Warning },
                node: None,
                section: "6.2".to_owned(),
                message: format!(
                    "the ingress network {what}, and {} publish through it",
                    services.join(", ")
                ),
                hint:
                    "remove these services' ports (docker service update --publish-rm), apply, publish again"
                        .to_owned(),
                waiver: None,
            };
            return Declaration { drafts: Vec::new(), findings: vec![finding] };
        }
        let reason =
            "the routing mesh sends requests from node to node; Docker does not encrypt that by itself";
        let risk = match there {
            Some(_) => Risk::Disruptive("published ports do not answer until the network is back".to_owned()),
            None => Risk::Safe,
        };
        let summary = "make the ingress network again, encrypted";
        Draft::new(summary, reason, &wanted).differing(differences).risking(risk).into()
    }
}

impl Resource for Ingress {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        read_action::<WantedNetwork>(action)?.make(&on.engine()?)
    }
}
