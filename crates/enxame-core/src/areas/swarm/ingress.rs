//! The routing mesh's network (manual 6.2, corrected): Docker makes it unencrypted; it is made again, encrypted,
//! before anything publishes through it.

use crate::change::{Kind, Risk};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, SwarmFate, View};
use crate::facts::FactsQuery;
use serde::{Deserialize, Serialize};

use super::overlay::{WantedNetwork, underlay_mtu};

pub(crate) const KIND: Kind = Kind::of("ingress");
const NAME: &str = "ingress";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action(pub WantedNetwork);

/// See the module.
pub(crate) struct Ingress;

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
        const { &[super::init::KIND] }
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
            let severity = if is_open { Severity::Error } else { Severity::Warning };
            let message =
                format!("the ingress network {what}, and {} publish through it", services.join(", "));
            let hint =
                "remove these services' ports (docker service update --publish-rm), apply, publish again";
            let finding = Finding::new(severity, "6.2", message, hint);
            return Declaration { drafts: Vec::new(), findings: vec![finding] };
        }
        let reason =
            "the routing mesh sends requests from node to node; Docker does not encrypt that by itself";
        let risk = match there {
            Some(_) => Risk::Disruptive("published ports do not answer until the network is back".to_owned()),
            None => Risk::Safe,
        };
        let summary = "make the ingress network again, encrypted";
        Draft::new(summary, reason, Action(wanted)).differing(differences).risking(risk).into()
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // Nothing of its own: it goes with the swarm.
        Declaration::nothing()
    }
}
