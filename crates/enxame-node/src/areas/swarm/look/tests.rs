use serde_json::json;

use super::*;

/// A manager of Debian 13 (26.1.5), `Swarm` of `GET /info`.
fn manager() -> SwarmInfo {
    serde_json::from_value(json!({
        "NodeID": "b3u1", "NodeAddr": "203.0.113.12", "LocalNodeState": "active", "ControlAvailable": true, "Error": "",
        "RemoteManagers": [{"NodeID": "b3u1", "Addr": "203.0.113.12:2377"}], "Nodes": 3, "Managers": 3,
        "Cluster": {
            "ID": "k8w2", "Version": {"Index": 10}, "Spec": {
                "Name": "default", "Labels": {}, "Orchestration": {"TaskHistoryRetentionLimit": 5},
                "Dispatcher": {"HeartbeatPeriod": 5_000_000_000_u64}, "EncryptionConfig": {"AutoLockManagers": true}
            },
            "RootRotationInProgress": false, "DefaultAddrPool": ["10.64.0.0/12"], "SubnetSize": 24, "DataPathPort": 4789
        }
    }))
    .unwrap()
}

fn list<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Vec<T> {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_managers_swarm_is_read_with_its_settings() {
    let swarm = facts(manager(), Lists::default());
    assert_eq!(swarm.local, LocalSwarmState::Active);
    assert_eq!((swarm.node_address.as_str(), swarm.cluster_id.as_deref()), ("203.0.113.12", Some("k8w2")));
    assert!(swarm.is_manager_with_quorum);
    assert_eq!(
        swarm.settings.unwrap(),
        SwarmSettingsFacts {
            address_pool: vec!["10.64.0.0/12".to_owned()],
            subnet_prefix_length: 24,
            data_path_port: 4789,
            heartbeat_ns: 5_000_000_000,
            autolock: true,
        }
    );
}

#[test]
fn a_manager_whose_swarm_has_no_leader_has_no_quorum() {
    let error = "rpc error: code = Unknown desc = The swarm does not have a leader.".to_owned();
    let swarm = facts(SwarmInfo { error: Some(error.clone()), cluster: None, ..manager() }, Lists::default());
    assert_eq!((swarm.is_manager_with_quorum, swarm.settings, swarm.error), (false, None, error));
}

#[test]
fn a_worker_and_a_lone_engine_are_told_apart() {
    let worker = SwarmInfo { control_available: Some(false), cluster: None, ..manager() };
    let worker = facts(worker, Lists::default());
    assert_eq!(
        (worker.local, worker.is_manager_with_quorum, worker.cluster_id),
        (LocalSwarmState::Active, false, None)
    );
    let alone: SwarmInfo = serde_json::from_value(json!({
        "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "",
        "RemoteManagers": null
    }))
    .unwrap();
    assert_eq!(facts(alone, Lists::default()), SwarmFacts::inactive());
}

#[test]
fn networks_tell_their_encryption_identifiers_and_underlay() {
    let networks = list(json!([
        {"Name": "swarm-secure-net", "Id": "n2", "Driver": "overlay", "Attachable": true, "Ingress": false,
         "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.64.1.0/24", "Gateway": "10.64.1.1"}]},
         "Options": {"com.docker.network.driver.mtu": "1450", "encrypted": "false",
                     "com.docker.network.driver.overlay.vxlanid_list": "4097,4098"}, "Labels": {"a": "b"}},
        {"Name": "bridge", "Id": "n0", "Driver": "bridge", "Options": {}},
        {"Name": "ingress", "Id": "n1", "Driver": "overlay", "Ingress": true, "IPAM": {"Config": null}, "Options": null},
    ]));
    let networks = facts(manager(), Lists { networks, ..Lists::default() }).networks;
    assert_eq!(
        networks.iter().map(|network| network.name.as_str()).collect::<Vec<_>>(),
        ["ingress", "swarm-secure-net"]
    );
    assert!(networks[0].is_ingress && !networks[0].is_encrypted && networks[0].vnis.is_empty());
    // moby looks for the key alone: `encrypted=false` encrypts.
    assert!(networks[1].is_encrypted && networks[1].is_attachable);
    assert_eq!(
        (networks[1].underlay_mtu_bytes, networks[1].vnis.as_slice()),
        (Some(1450), &[4097, 4098][..])
    );
    assert_eq!((networks[1].subnets[0].as_str(), networks[1].labels["a"].as_str()), ("10.64.1.0/24", "b"));
}

#[test]
fn nodes_are_sorted_and_a_managers_address_is_the_one_it_manages_at() {
    let nodes = list(json!([
        {"ID": "z", "Spec": {"Role": "worker", "Availability": "drain", "Labels": {"db": "true"}},
         "Description": {"Hostname": "kvm8-core", "Engine": {"EngineVersion": "26.1.5+dfsg1"}},
         "Status": {"State": "down", "Addr": "203.0.113.18"}},
        {"ID": "a", "Spec": {"Role": "manager", "Availability": "active"}, "Description": {"Hostname": "kvm2-manager"},
         "Status": {"State": "ready", "Addr": "0.0.0.0"},
         "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "[2001:db8::12]:2377"}},
    ]));
    let nodes = facts(manager(), Lists { nodes, ..Lists::default() }).nodes;
    assert_eq!((nodes[0].id.as_str(), nodes[0].address.as_str()), ("a", "2001:db8::12"));
    assert!(nodes[0].is_manager && nodes[0].is_leader);
    assert_eq!([nodes[0].management_port, nodes[1].management_port], [Some(2377), None]);
    assert_eq!((nodes[0].state.as_str(), nodes[0].reachability.as_str()), ("ready", "reachable"));
    assert_eq!((nodes[1].state.as_str(), nodes[1].availability.as_str()), ("down", "drain"));
    assert_eq!((nodes[1].address.as_str(), nodes[1].reachability.as_str()), ("203.0.113.18", ""));
    assert!(!nodes[1].is_manager && nodes[1].labels["db"] == "true");
    assert_eq!(nodes[1].engine_version, "26.1.5+dfsg1");
}

#[test]
fn only_services_on_the_routing_mesh_are_named() {
    let service = |name: &str, ports: serde_json::Value| json!({"Spec": {"Name": name, "EndpointSpec": {"Ports": ports}}});
    let services = list(json!([
        service("web", json!([{"TargetPort": 80, "PublishedPort": 80, "PublishMode": "ingress"}])),
        service("proxy", json!([{"TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"}])),
        service("inner", json!([])),
        service("default", json!([{"TargetPort": 90}])),
        {"Spec": {"Name": "older"}, "Endpoint": {"Ports": [{"PublishedPort": 443, "PublishMode": "ingress"}]}},
    ]));
    let swarm = facts(manager(), Lists { services, ..Lists::default() });
    assert_eq!(swarm.services_publishing_through_ingress, ["default", "older", "web"]);
    let published: Vec<_> = swarm.published.into_iter().collect();
    assert_eq!(
        published,
        [("older", 443), ("proxy", 8080), ("web", 80)]
            .map(|(name, port)| (name.to_owned(), [firewall::Service::Tcp(port)].into()))
    );
}

#[test]
fn a_network_names_the_services_that_are_attached_to_it() {
    let networks = list(json!([
        {"Name": "open-net", "Id": "n1", "Driver": "overlay", "Options": {}},
        {"Name": "idle", "Id": "n2", "Driver": "overlay", "Options": {}},
    ]));
    let services = list(json!([
        {"Spec": {"Name": "web", "TaskTemplate": {"Networks": [{"Target": "n1"}]}}},
        {"Spec": {"Name": "db", "TaskTemplate": {"Networks": [{"Target": "open-net"}]}}},
        {"Spec": {"Name": "older", "Networks": [{"Target": "n1"}]}},
        {"Spec": {"Name": "alone", "TaskTemplate": {}}},
    ]));
    let networks = facts(manager(), Lists { networks, services, ..Lists::default() }).networks;
    let found: Vec<_> = networks.into_iter().map(|network| (network.name, network.services)).collect();
    let attached = ["db", "older", "web"].map(str::to_owned).to_vec();
    assert_eq!(found, [("idle".to_owned(), Vec::new()), ("open-net".to_owned(), attached)]);
}

#[test]
fn what_a_node_still_holds_of_a_removed_network_is_not_taken_for_the_one_made_in_its_place() {
    let old = json!({"Name": "ingress", "Id": "ipzr", "Driver": "overlay", "Ingress": true,
                     "Created": "2026-11-22T20:44:49.104Z", "Options": {}});
    let new = json!({"Name": "ingress", "Id": "wuhx", "Driver": "overlay", "Ingress": true,
                     "Created": "2026-11-22T20:45:12.016169733Z", "Options": {"encrypted": ""}});
    for listed in [json!([old, new]), json!([new, old])] {
        let networks = facts(manager(), Lists { networks: list(listed), ..Lists::default() }).networks;
        let found: Vec<_> =
            networks.iter().map(|network| (network.id.as_str(), network.is_encrypted)).collect();
        assert_eq!(found, [("wuhx", true)]);
    }
}
