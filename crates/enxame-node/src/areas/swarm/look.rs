//! From the API's answers to facts about the swarm.

pub(crate) mod workloads;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ClusterInfo, EndpointPortConfig, EndpointPortConfigProtocolEnum as Protocol,
    EndpointPortConfigPublishModeEnum as PublishMode, LocalNodeState, Network, Node, NodeSpecRoleEnum,
    Service, SwarmInfo,
};
use enxame_core::areas::firewall;
use enxame_core::facts::{LocalSwarmState, NetworkFacts, SwarmFacts, SwarmNodeFacts, SwarmSettingsFacts};

/// What the API lists.
#[derive(Default)]
pub(crate) struct Lists {
    /// Overlay networks.
    pub(crate) networks: Vec<Network>,
    /// Nodes; empty but on managers with quorum.
    pub(crate) nodes: Vec<Node>,
    /// Services; empty but on managers with quorum.
    pub(crate) services: Vec<Service>,
}

/// Moby's port of VXLAN when none was chosen (daemon/libnetwork/drivers/overlay/overlayutils).
const DEFAULT_DATA_PATH_PORT: u16 = 4789;

/// Whether the node manages and the swarm answered it: without quorum `/info` carries an error and no cluster.
pub(crate) fn has_quorum(swarm: &SwarmInfo) -> bool {
    swarm.control_available == Some(true)
        && swarm.error.as_deref().unwrap_or_default().is_empty()
        && swarm
            .cluster
            .as_ref()
            .is_some_and(|cluster| cluster.id.as_deref().is_some_and(|id| !id.is_empty()))
}

/// Facts from `Swarm` of `GET /info` and the lists.
pub(crate) fn facts(swarm: SwarmInfo, lists: Lists) -> SwarmFacts {
    let is_manager_with_quorum = has_quorum(&swarm);
    let cluster = swarm.cluster.unwrap_or_default();
    let mut nodes: Vec<_> = lists.nodes.into_iter().map(node).collect();
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    let attached = attached(&lists.services);
    let mut networks: Vec<_> = current(lists.networks).map(|one| network(one, &attached)).collect();
    networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let published = lists.services.iter().filter_map(published).collect();
    let mut publishing: Vec<_> = lists
        .services
        .into_iter()
        .filter(publishes_through_ingress)
        .filter_map(|service| service.spec?.name)
        .collect();
    publishing.sort();
    SwarmFacts {
        local: local(swarm.local_node_state),
        error: swarm.error.unwrap_or_default(),
        node_id: swarm.node_id.unwrap_or_default(),
        node_address: swarm.node_addr.unwrap_or_default(),
        cluster_id: cluster.id.clone().filter(|id| !id.is_empty()),
        is_manager_with_quorum,
        settings: is_manager_with_quorum.then(|| settings(cluster)),
        nodes,
        networks,
        services_publishing_through_ingress: publishing,
        published,
    }
}

fn local(state: Option<LocalNodeState>) -> LocalSwarmState {
    match state {
        None | Some(LocalNodeState::EMPTY | LocalNodeState::INACTIVE) => LocalSwarmState::Inactive,
        Some(LocalNodeState::PENDING) => LocalSwarmState::Pending,
        Some(LocalNodeState::ACTIVE) => LocalSwarmState::Active,
        Some(LocalNodeState::ERROR) => LocalSwarmState::Error,
        Some(LocalNodeState::LOCKED) => LocalSwarmState::Locked,
    }
}

fn settings(cluster: ClusterInfo) -> SwarmSettingsFacts {
    let spec = cluster.spec.unwrap_or_default();
    let port = cluster.data_path_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let heartbeat = spec.dispatcher.and_then(|dispatcher| dispatcher.heartbeat_period);
    SwarmSettingsFacts {
        address_pool: cluster.default_addr_pool.unwrap_or_default(),
        subnet_prefix_length: cluster.subnet_size.unwrap_or_default(),
        data_path_port: port.unwrap_or(DEFAULT_DATA_PATH_PORT),
        heartbeat_ns: heartbeat.and_then(|period| u64::try_from(period).ok()).unwrap_or_default(),
        autolock: spec
            .encryption_config
            .and_then(|encryption| encryption.auto_lock_managers)
            .unwrap_or_default(),
    }
}

/// A member as its manager lists it.
pub(crate) fn node(node: Node) -> SwarmNodeFacts {
    let spec = node.spec.unwrap_or_default();
    let description = node.description.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let manager = node.manager_status;
    // `Status.Addr` is where the connection came from, wrong for managers (moby#35437: 0.0.0.0, moby#30119: 127.0.0.1).
    let managed_at = manager.as_ref().and_then(|manager| manager.addr.as_deref()?.rsplit_once(':'));
    let address =
        managed_at.map(|(address, _)| address.trim_matches(['[', ']'])).filter(|address| !address.is_empty());
    SwarmNodeFacts {
        id: node.id.unwrap_or_default(),
        hostname: description.hostname.unwrap_or_default(),
        address: address.map_or_else(|| status.addr.unwrap_or_default(), str::to_owned),
        management_port: managed_at.and_then(|(_, port)| port.parse().ok()),
        state: word(status.state),
        availability: word(spec.availability),
        is_manager: spec.role == Some(NodeSpecRoleEnum::MANAGER),
        is_leader: manager.as_ref().and_then(|manager| manager.leader).unwrap_or_default(),
        reachability: word(manager.and_then(|manager| manager.reachability)),
        engine_version: description.engine.and_then(|engine| engine.engine_version).unwrap_or_default(),
        labels: sorted(spec.labels),
    }
}

/// The services that are attached to each network, by the network's id or name, whichever the service says.
fn attached(services: &[Service]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut attached = BTreeMap::<&str, BTreeSet<&str>>::new();
    for spec in services.iter().filter_map(|service| service.spec.as_ref()) {
        let of_tasks = spec.task_template.as_ref().and_then(|task| task.networks.as_ref());
        let targets = of_tasks.into_iter().chain(spec.networks.as_ref()).flatten();
        for target in targets.filter_map(|network| network.target.as_deref()) {
            attached.entry(target).or_default().extend(spec.name.as_deref());
        }
    }
    attached
}

/// What a service publishes. The specification counts as well as the endpoint: the endpoint is empty until the service
/// is allocated, and has the ports that swarm chose.
fn published(service: &Service) -> Option<(String, BTreeSet<firewall::Service>)> {
    let name = service.spec.as_ref()?.name.clone()?;
    let ports = ports(service).filter_map(|port| {
        let number = u16::try_from(port.published_port?).ok().filter(|number| *number != 0)?;
        match port.protocol {
            None | Some(Protocol::EMPTY | Protocol::TCP) => Some(firewall::Service::Tcp(number)),
            Some(Protocol::UDP) => Some(firewall::Service::Udp(number)),
            Some(Protocol::SCTP) => None,
        }
    });
    Some((name, ports.collect())).filter(|(_, ports): &(_, BTreeSet<_>)| !ports.is_empty())
}

fn ports(service: &Service) -> impl Iterator<Item = &EndpointPortConfig> {
    let specified = service.spec.as_ref().and_then(|spec| spec.endpoint_spec.as_ref()?.ports.as_ref());
    let allocated = service.endpoint.as_ref().and_then(|endpoint| endpoint.ports.as_ref());
    specified.into_iter().chain(allocated).flatten()
}

fn network(network: Network, attached: &BTreeMap<&str, BTreeSet<&str>>) -> NetworkFacts {
    let names = [network.id.as_deref(), network.name.as_deref()];
    let services: BTreeSet<&str> =
        names.iter().flatten().filter_map(|name| attached.get(name)).flatten().copied().collect();
    let services = services.into_iter().map(str::to_owned).collect();
    let options = network.options.unwrap_or_default();
    let subnets = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let vnis =
        options.get("com.docker.network.driver.overlay.vxlanid_list").map(String::as_str).unwrap_or_default();
    NetworkFacts {
        id: network.id.unwrap_or_default(),
        name: network.name.unwrap_or_default(),
        is_ingress: network.ingress.unwrap_or_default(),
        is_attachable: network.attachable.unwrap_or_default(),
        is_encrypted: options.contains_key("encrypted"),
        underlay_mtu_bytes: options.get("com.docker.network.driver.mtu").and_then(|mtu| mtu.parse().ok()),
        vnis: vnis.split(',').filter_map(|vni| vni.trim().parse().ok()).collect(),
        subnets: subnets.into_iter().filter_map(|subnet| subnet.subnet).collect(),
        labels: sorted(network.labels),
        services,
    }
}

/// The swarm's overlay networks. Their names are unique, but a node lists what it still holds of a network that was
/// removed beside the one that was made in its place (seen on 20.10.24: the old `ingress`, in clear, for some
/// seconds): the youngest of a name is the swarm's.
fn current(networks: Vec<Network>) -> impl Iterator<Item = Network> {
    let mut youngest = BTreeMap::<Option<String>, Network>::new();
    for network in networks.into_iter().filter(|network| network.driver.as_deref() == Some("overlay")) {
        match youngest.entry(network.name.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(network)),
            Entry::Occupied(mut entry) if entry.get().created < network.created => {
                drop(entry.insert(network));
            }
            Entry::Occupied(_) => {}
        }
    }
    youngest.into_values()
}

fn publishes_through_ingress(service: &Service) -> bool {
    ports(service)
        .any(|port| matches!(port.publish_mode, None | Some(PublishMode::EMPTY | PublishMode::INGRESS)))
}

fn word(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn sorted(map: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests;
