//! What acts on the swarm, by an engine that answers by a script.

use std::net::IpAddr;
use std::time::Duration;

use enxame_core::areas::Action;
use enxame_core::areas::firewall::guard::PLAINTEXT_VNI;
use enxame_core::areas::swarm::availability::{self, Availability, RECORD};
use enxame_core::areas::swarm::overlay::WantedNetwork;
use enxame_core::areas::swarm::{ingress, init, join, labels, networks, settings};
use enxame_core::secret::Secret;

use crate::actuate::ActuateError;
use crate::host::FakeHost;
use crate::testing::acting::act;
use crate::testing::engine::{Asked, scripted};

const OUTSIDE: (&str, &str) = ("200 OK", r#"{"Swarm": {"NodeID": "", "LocalNodeState": "inactive"}}"#);
const MANAGER: (&str, &str) = (
    "200 OK",
    r#"{"Swarm": {"NodeID": "n1", "LocalNodeState": "active", "ControlAvailable": true,
        "RemoteManagers": [{"NodeID": "n2", "Addr": "203.0.113.14:2377"}]}}"#,
);
const NODES: (&str, &str) = (
    "200 OK",
    r#"[{"ID": "n1", "Status": {"State": "ready", "Addr": "203.0.113.12"}, "Spec": {"Labels": {"mine": "1", "old": "1"}}}]"#,
);
const NODE: (&str, &str) = (
    "200 OK",
    r#"{"ID": "n1", "Version": {"Index": 7}, "Spec": {"Role": "worker", "Availability": "active",
        "Labels": {"mine": "1", "old": "1"}}}"#,
);

fn address() -> IpAddr {
    "203.0.113.12".parse().unwrap()
}

fn carry_out(
    action: impl Into<Action>,
    handed: Option<&Secret>,
    answers: &[(&str, &str)],
) -> (Result<(), ActuateError>, Vec<Asked>) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let host = FakeHost::default().with_engine_at(&socket);
    scripted(&socket, answers, || act(&host, handed, action))
}

fn lines(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|asked| asked.line.as_str()).collect()
}

fn founding() -> init::Action {
    init::Action {
        address: address(),
        data_path_port: 4789,
        address_pool: "10.20.0.0/16".to_owned(),
        subnet_size: 24,
        heartbeat: Duration::from_secs(5),
        autolock: false,
    }
}

#[test]
fn a_swarm_is_founded_with_all_that_is_said_and_waited_for() {
    let (done, asked) = carry_out(founding(), None, &[OUTSIDE, ("200 OK", r#""n1""#), MANAGER, NODES]);
    done.unwrap();
    assert_eq!(lines(&asked), ["GET /info", "POST /swarm/init", "GET /info", "GET /nodes"]);
    for said in [r#""DataPathAddr":"203.0.113.12""#, r#""DataPathPort":4789"#, "10.20.0.0/16", "5000000000"] {
        assert!(asked[1].body.contains(said), "{said}: {}", asked[1].body);
    }
}

#[test]
fn a_node_in_a_swarm_founds_no_other() {
    let (done, asked) = carry_out(founding(), None, &[MANAGER, MANAGER, NODES]);
    done.unwrap();
    assert_eq!(lines(&asked), ["GET /info", "GET /info", "GET /nodes"]);
}

fn joining(manager: &str) -> join::Action {
    join::Action::Join { address: address(), managers: vec![manager.parse().unwrap()] }
}

#[test]
fn a_node_joins_by_the_token_that_was_handed_over() {
    let token = Secret::new("SWMTKN-1-abc".to_owned());
    let answers = [OUTSIDE, ("200 OK", ""), MANAGER, NODES];
    let (done, asked) = carry_out(joining("203.0.113.14"), Some(&token), &answers);
    done.unwrap();
    assert_eq!(lines(&asked), ["GET /info", "POST /swarm/join", "GET /info", "GET /nodes"]);
    assert!(asked[1].body.contains("SWMTKN-1-abc") && asked[1].body.contains("203.0.113.14:2377"));
}

#[test]
fn without_a_token_nothing_is_joined_and_a_node_of_another_swarm_is_refused() {
    let (done, _) = carry_out(joining("203.0.113.14"), None, &[OUTSIDE]);
    assert_eq!(done.unwrap_err().to_string(), "no token was handed over");
    let (done, asked) = carry_out(joining("203.0.113.99"), None, &[MANAGER]);
    assert!(
        matches!(done, Err(ActuateError::Wrong { message, .. }) if message.contains("203.0.113.14:2377"))
    );
    assert_eq!(lines(&asked), ["GET /info"]);
}

#[test]
fn a_worker_is_promoted_under_its_version_and_keeps_the_rest() {
    let promote = join::Action::Promote { node_id: "n1".to_owned() };
    let (done, asked) = carry_out(promote, None, &[NODE, ("200 OK", "")]);
    done.unwrap();
    assert_eq!(lines(&asked), ["GET /nodes/n1", "POST /nodes/n1/update?version=7"]);
    assert!(asked[1].body.contains(r#""Role":"manager""#) && asked[1].body.contains(r#""mine":"1""#));
}

#[test]
fn labels_are_set_and_taken_away_and_others_stay() {
    let action = labels::Action {
        address: address(),
        set: [("enxame.db".to_owned(), "true".to_owned())].into(),
        remove: vec!["old".to_owned()],
    };
    let (done, asked) = carry_out(action.clone(), None, &[NODES, NODE, ("200 OK", "")]);
    done.unwrap();
    let body = &asked[2].body;
    assert!(body.contains("enxame.db") && body.contains("mine") && !body.contains("old"), "{body}");
    let (done, _) = carry_out(action, None, &[("200 OK", "[]")]);
    assert_eq!(done.unwrap_err().to_string(), "the swarm has no node at 203.0.113.12");
}

#[test]
fn settings_are_changed_under_the_swarms_version_and_the_rest_goes_back_as_it_came() {
    let swarm = r#"{"Version": {"Index": 9}, "Spec": {"Name": "default", "Orchestration": {"TaskHistoryRetentionLimit": 5}}}"#;
    let action = settings::Action { heartbeat: Duration::from_secs(10), autolock: true };
    let (done, asked) = carry_out(action, None, &[("200 OK", swarm), ("200 OK", "")]);
    done.unwrap();
    assert!(asked[1].line.starts_with("POST /swarm/update?version=9"), "{}", asked[1].line);
    for said in ["10000000000", r#""AutoLockManagers":true"#, r#""TaskHistoryRetentionLimit":5"#] {
        assert!(asked[1].body.contains(said), "{said}: {}", asked[1].body);
    }
}

fn wanted(name: &str) -> WantedNetwork {
    WantedNetwork {
        name: name.to_owned(),
        is_ingress: name == "ingress",
        is_attachable: name != "ingress",
        is_encrypted: name != "plain",
        underlay_mtu_bytes: 1500,
    }
}

const ENCRYPTED: (&str, &str) = (
    "200 OK",
    r#"{"Id": "abc", "Name": "secure", "Attachable": true,
        "Options": {"encrypted": "", "com.docker.network.driver.mtu": "1500"}}"#,
);
const MISSING: (&str, &str) = ("404 Not Found", r#"{"message": "network not found"}"#);
const MADE: (&str, &str) = ("201 Created", r#"{"Id": "abc", "Warning": ""}"#);
const NONE: (&str, &str) = ("200 OK", "[]");

#[test]
fn a_network_that_is_as_wanted_is_left_alone() {
    let actions: [Action; 2] =
        [ingress::Action(wanted("ingress")).into(), networks::Action(wanted("secure")).into()];
    for action in actions {
        let (done, asked) = carry_out(action, None, &[ENCRYPTED]);
        done.unwrap();
        assert!(matches!(&lines(&asked)[..], [look] if look.starts_with("GET /networks/")), "{asked:?}");
    }
}

#[test]
fn a_network_that_is_missing_is_made_encrypted_and_seen() {
    let answers = [MISSING, MISSING, NONE, MADE, ENCRYPTED];
    let (done, asked) = carry_out(networks::Action(wanted("secure")), None, &answers);
    done.unwrap();
    let look = "GET /networks/secure?verbose=false&scope=swarm";
    assert_eq!(lines(&asked), [look, look, "GET /networks", "POST /networks/create", look]);
    let body: serde_json::Value = serde_json::from_str(&asked[3].body).unwrap();
    let options = serde_json::json!({"encrypted": "", "com.docker.network.driver.mtu": "1500"});
    assert_eq!(
        (&body["Name"], &body["Driver"], &body["Options"]),
        (&"secure".into(), &"overlay".into(), &options)
    );
    assert_eq!((&body["Attachable"], &body["Ingress"]), (&true.into(), &false.into()));
}

#[test]
fn a_network_in_clear_gets_the_identifier_that_the_guard_knows() {
    let plain = (
        "200 OK",
        r#"{"Id": "abc", "Name": "plain", "Attachable": true,
        "Options": {"com.docker.network.driver.mtu": "1500"}}"#,
    );
    let answers = [MISSING, MISSING, NONE, MADE, plain];
    let (done, asked) = carry_out(networks::Action(wanted("plain")), None, &answers);
    done.unwrap();
    let body: serde_json::Value = serde_json::from_str(&asked[3].body).unwrap();
    let options = body["Options"].as_object().unwrap();
    let identifier = &options["com.docker.network.driver.overlay.vxlanid_list"];
    assert_eq!(*identifier, PLAINTEXT_VNI.to_string());
    assert!(!options.contains_key("encrypted"), "{options:?}");
}

#[test]
fn the_mesh_in_clear_is_taken_away_before_it_is_made_encrypted() {
    let clear = ("200 OK", r#"{"Id": "old", "Name": "ingress", "Options": {}}"#);
    let listed = ("200 OK", r#"[{"Id": "old", "Name": "ingress", "Scope": "swarm", "Ingress": true}]"#);
    let answers = [clear, listed, clear, ("204 No Content", ""), NONE, MADE, ENCRYPTED];
    let (done, asked) = carry_out(ingress::Action(wanted("ingress")), None, &answers);
    done.unwrap();
    let look = "GET /networks/ingress?verbose=false&scope=swarm";
    let changed = ["DELETE /networks/old", "GET /networks", "POST /networks/create", look];
    assert_eq!(lines(&asked)[..3], [look, "GET /networks", look]);
    assert_eq!(lines(&asked)[3..], changed);
    assert!(asked[5].body.contains(r#""Ingress":true"#), "{}", asked[5].body);
}

#[test]
fn a_network_of_the_nodes_own_by_that_name_is_refused_and_stays() {
    let local = ("200 OK", r#"[{"Id": "own", "Name": "secure", "Scope": "local"}]"#);
    let (done, asked) = carry_out(networks::Action(wanted("secure")), None, &[MISSING, MISSING, local]);
    assert_eq!(
        done.unwrap_err().to_string(),
        "the node has a network secure of its own, which is not the swarm's"
    );
    assert!(lines(&asked).iter().all(|line| line.starts_with("GET ")), "{asked:?}");
}

#[test]
fn availability_and_its_record_change_in_one_write_and_other_labels_stay() {
    let action = |availability| availability::Action { address: address(), availability };
    let drain = Availability::Drain { record: "reboot 7 boot-0".to_owned() };
    let (done, asked) = carry_out(action(drain.clone()), None, &[NODES, NODE, ("200 OK", "")]);
    done.unwrap();
    let body: serde_json::Value = serde_json::from_str(&asked[2].body).unwrap();
    assert_eq!(
        (&body["Availability"], &body["Labels"][RECORD]),
        (&"drain".into(), &"reboot 7 boot-0".into())
    );
    assert_eq!(body["Labels"]["mine"], "1");
    let (done, _) = carry_out(action(drain), None, &[NONE]);
    assert_eq!(done.unwrap_err().to_string(), "the swarm has no node at 203.0.113.12");
}
