//! Founding the swarm (manual 5.2, corrected): with the data path's address and port and the address pool said.

use std::time::Duration;

use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, SwarmFate, View};
use crate::facts::{FactsQuery, LocalSwarmState, MEMBERSHIP_FILE, SwarmSettingsFacts};
use serde::{Deserialize, Serialize};

use super::{endpoint, pools};

pub(crate) const KIND: Kind = Kind::of("swarm_init");

/// See the module.
pub(crate) struct SwarmInit;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What it advertises, and where its data path is.
    pub address: std::net::IpAddr,
    /// The UDP port of VXLAN.
    pub data_path_port: u16,
    /// The pool of the overlay networks' subnets, as CIDR.
    pub address_pool: String,
    /// The prefix length of a subnet.
    pub subnet_size: u8,
    /// The dispatcher's heartbeat.
    pub heartbeat: Duration,
    /// Whether managers must be unlocked after a restart.
    pub autolock: bool,
}

impl Declare for SwarmInit {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "5.2"
    }

    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn after(&self) -> &'static [Kind] {
        &[]
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        // Tells a member whose engine does not answer from a server that never was one.
        FactsQuery { files: [MEMBERSHIP_FILE.to_owned()].into(), ..FactsQuery::default() }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        if let Some(swarm) =
            view.facts.engine.swarm().filter(|swarm| swarm.local != LocalSwarmState::Inactive)
        {
            let mut findings: Vec<Finding> =
                swarm.settings.iter().flat_map(|settings| fixed(view, settings)).collect();
            findings.extend(pools::findings(view.config, view.all, Severity::Warning));
            return Declaration { drafts: Vec::new(), findings };
        }
        let wanted = &view.config.swarm;
        let action = Action {
            address: view.node.address,
            data_path_port: wanted.data_path_port,
            address_pool: wanted.address_pool.base.to_string(),
            subnet_size: wanted.address_pool.size,
            heartbeat: wanted.heartbeat,
            autolock: wanted.autolock,
        };
        let differences = [
            Difference::added("advertise address", action.address.to_string()),
            Difference::added("data path", endpoint(action.address, action.data_path_port)),
            Difference::added(
                "address pool",
                format!("{} in subnets of /{}", action.address_pool, action.subnet_size),
            ),
        ];
        let reason = "no node is in a swarm";
        let draft = Draft::new(format!("found the swarm on {}", view.node.name), reason, action);
        Declaration {
            drafts: vec![draft.differing(differences)],
            findings: pools::findings(view.config, view.all, Severity::Error),
        }
    }

    fn undeclare(&self, _: &View<'_>, _: SwarmFate) -> Declaration {
        // Nothing of its own: every node leaves it by itself.
        Declaration::nothing()
    }
}

/// What is settled when a swarm is founded and can never change.
fn fixed(view: &View<'_>, settings: &SwarmSettingsFacts) -> Vec<Finding> {
    let wanted = &view.config.swarm;
    let pool = wanted.address_pool.base.to_string();
    let mut differing = Vec::new();
    if settings.data_path_port != wanted.data_path_port {
        // The firewall is made for the one in cluster.yaml: it would cut the overlay networks.
        let what = format!("data-path port {}, not {}", settings.data_path_port, wanted.data_path_port);
        differing.push((Severity::Error, what));
    }
    if settings.address_pool != [pool.clone()] {
        let what = format!("address pool {}, not {pool}", settings.address_pool.join(", "));
        differing.push((Severity::Warning, what));
    }
    if settings.subnet_prefix_length != u32::from(wanted.address_pool.size) {
        let size = wanted.address_pool.size;
        let what = format!("subnets of /{}, not /{size}", settings.subnet_prefix_length);
        differing.push((Severity::Warning, what));
    }
    let finding = |(severity, what)| {
        Finding::new(
            severity,
            "5.2",
            format!("the swarm was founded with {what}"),
            "this cannot be changed in a living swarm: write what it has into cluster.yaml",
        )
    };
    differing.into_iter().map(finding).collect()
}
