//! Founding the swarm (manual 5.2, corrected): with the data path's address and port and the address pool said.

use std::time::Duration;

use bollard::models::{SwarmInitRequest, SwarmSpec, SwarmSpecDispatcher, SwarmSpecEncryptionConfig};
use enxame_core::change::{Difference, Kind};
use enxame_core::config::{Config, NodeConfig, SWARM_MANAGEMENT_PORT};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View};
use enxame_core::facts::{FactsQuery, LocalSwarmState, MEMBERSHIP_FILE, SwarmSettings};
use serde::{Deserialize, Serialize};

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::swarm;

pub(super) const KIND: Kind = Kind::of("swarm_init");

/// See the module.
pub(super) struct SwarmInit;

#[derive(Serialize, Deserialize)]
struct Action {
    address: std::net::IpAddr,
    data_path_port: u16,
    address_pool: String,
    subnet_size: u8,
    heartbeat: Duration,
    autolock: bool,
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
            let findings = swarm.settings.iter().flat_map(|settings| fixed(view, settings)).collect();
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
            Difference::added("data path", swarm::endpoint(action.address, action.data_path_port)),
            Difference::added(
                "address pool",
                format!("{} in subnets of /{}", action.address_pool, action.subnet_size),
            ),
        ];
        let reason = "no node is in a swarm";
        Draft::new(format!("found the swarm on {}", view.node.name), reason, &action)
            .differing(differences)
            .into()
    }
}

/// What is settled when a swarm is founded and can never change.
fn fixed(view: &View<'_>, settings: &SwarmSettings) -> Vec<Finding> {
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
    let finding = |(severity, what)| Finding {
        severity,
        node: None,
        section: "5.2".to_owned(),
        message: format!("the swarm was founded with {what}"),
        hint: "this cannot be changed in a living swarm: write what it has into cluster.yaml".to_owned(),
        waiver: None,
    };
    differing.into_iter().map(finding).collect()
}

impl Resource for SwarmInit {
    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        let action: Action = read_action(action)?;
        let engine = on.engine()?;
        if swarm::local(&engine)?.node_id.is_some_and(|id| !id.is_empty()) {
            return swarm::wait_until_manager(&engine, swarm::WRITE);
        }
        let spec = SwarmSpec {
            dispatcher: Some(SwarmSpecDispatcher {
                heartbeat_period: i64::try_from(action.heartbeat.as_nanos()).ok(),
            }),
            encryption_config: Some(SwarmSpecEncryptionConfig { auto_lock_managers: Some(action.autolock) }),
            ..SwarmSpec::default()
        };
        let request = SwarmInitRequest {
            listen_addr: Some(swarm::endpoint(action.address, SWARM_MANAGEMENT_PORT)),
            advertise_addr: Some(swarm::endpoint(action.address, SWARM_MANAGEMENT_PORT)),
            data_path_addr: Some(action.address.to_string()),
            data_path_port: Some(u32::from(action.data_path_port)),
            default_addr_pool: Some(vec![action.address_pool]),
            subnet_size: Some(u32::from(action.subnet_size)),
            force_new_cluster: Some(false),
            spec: Some(spec),
        };
        engine.call("found the swarm", swarm::WRITE, engine.api().init_swarm(request))?;
        swarm::wait_until_manager(&engine, swarm::WRITE)
    }
}
