//! What keeps an engine from starting, said before there is one.

use enxame_core::config::Config;
use enxame_core::declare::{Finding, Severity};
use enxame_core::facts::{ClusterFacts, EngineFlag, EngineState, FileFacts, NodeFacts};
use enxame_core::plan;

use super::{directory, facts};

/// What is said of the first node of a scenario, with something changed on it, that is said of no other.
fn said(scenario: &str, change: impl Fn(&mut NodeFacts)) -> Vec<Finding> {
    let folder = directory().join(scenario);
    let yaml = std::fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    let config = Config::parse("cluster.yaml", &yaml).unwrap();
    let mut facts = facts::read(&directory(), &folder.join("facts.json"));
    let of = |facts: &ClusterFacts| {
        plan::make(&config, facts, None, enxame_core::areas::resources()).unwrap().findings
    };
    let before = of(&facts);
    change(facts.values_mut().next().unwrap());
    of(&facts).into_iter().filter(|finding| !before.contains(finding)).collect()
}

const BARE: &str = "a_bare_cluster_gets_everything_from_docker";
const CONVERGED: &str = "a_converged_cluster_needs_nothing";

fn with_keys(scenario: &str, keys: &str) -> Vec<Finding> {
    said(scenario, |node| {
        let text = FileFacts::Text { content: keys.to_owned(), mode: 0o644, uid: 0, gid: 0 };
        node.files.insert("/etc/docker/daemon.json".to_owned(), text);
    })
}

fn only(found: Vec<Finding>) -> Finding {
    let [one] = <[Finding; 1]>::try_from(found).unwrap();
    one
}

#[test]
fn a_key_that_no_dockerd_has_is_refused_before_there_is_one() {
    let told = only(with_keys(BARE, r#"{"log-diver": "json-file"}"#));
    assert!(told.severity == Severity::Error && told.message.contains("`log-diver`"), "{told:?}");
    for known in [r#"{"registry-mirrors": []}"#, r#"{"min-api-version": "1.24"}"#, r#"{"features": {}}"#] {
        assert_eq!(with_keys(BARE, known), [], "{known}");
    }
    // An engine that is there is asked itself.
    let told = with_keys(CONVERGED, r#"{"a-key-of-tomorrow": true}"#);
    assert!(told.iter().all(|one| !one.message.contains("a-key-of-tomorrow")), "{told:?}");
}

#[test]
fn users_that_are_mapped_are_named() {
    let told = with_keys(BARE, r#"{"userns-remap": "default"}"#);
    let told = only(told);
    assert!(told.severity == Severity::Warning && told.message.contains("userns-remap"), "{told:?}");
}

#[test]
fn a_dockerd_that_reads_another_file_is_refused() {
    let with = |value: &str| {
        said(CONVERGED, |node| {
            node.engine.flags.push(EngineFlag {
                name: "config-file".to_owned(),
                value: Some(value.to_owned()),
                place: "/etc/default/docker:2".to_owned(),
            });
        })
    };
    let told = only(with("/srv/daemon.json"));
    assert!(told.message.starts_with("/etc/default/docker:2 has dockerd read /srv/daemon.json"), "{told:?}");
    assert_eq!(with("/etc/docker/daemon.json"), []);
}

#[test]
fn a_directory_where_the_engine_makes_its_socket_is_refused() {
    let told = only(said(BARE, |node| node.engine.socket_is_directory = true));
    assert!(told.severity == Severity::Error && told.hint.contains("rmdir /var/run/docker.sock"), "{told:?}");
    let told = said(CONVERGED, |node| {
        node.engine.socket_is_directory = true;
        node.engine.state = EngineState::NotAnswering("no dockerd listens at its socket".to_owned());
    });
    assert!(told.iter().any(|one| one.hint.contains("rmdir /var/run/docker.sock")), "{told:?}");
}

#[test]
fn a_root_directory_of_somebody_elses_is_refused() {
    let told = only(said(BARE, |node| node.os.root_is_not_roots = Some("/ belongs to user 1000".to_owned())));
    assert!(told.severity == Severity::Error && told.hint.contains("chown root:root /"), "{told:?}");
}
