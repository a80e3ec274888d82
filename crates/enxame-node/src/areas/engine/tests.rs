//! What acts on the engine, on a node in memory.

use std::path::Path;

use enxame_core::areas::engine::package::{KEYRING, Repository, SOURCES};
use enxame_core::areas::engine::{config, docker_group, package};
use enxame_core::files::OwnedFile;
use serde_json::{Map, json};

use crate::actuate::ActuateError;
use crate::host::{FakeHost, Finished, Host};
use crate::testing::acting::{act, fine, lines, refused};
use crate::testing::engine::scripted;

const DAEMON: &str = "/etc/docker/daemon.json";
const OLD: &str = r#"{"proxies": {"http-proxy": "http://me:secret@proxy"}}"#;

fn content(host: &FakeHost, path: &str) -> Option<String> {
    host.read(Path::new(path)).content().map(str::to_owned)
}

fn configured(action: config::Action, host: &FakeHost) -> Result<(), ActuateError> {
    act(host, None, action)
}

fn log_driver() -> config::Action {
    let keys = Map::from_iter([("log-driver".to_owned(), json!("json-file"))]);
    config::Action { keys, restart: true, in_swarm: false }
}

#[test]
fn the_engine_gets_its_keys_and_the_users_stay() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let host =
        FakeHost::default().with_file(DAEMON, OLD).answering("systemctl", fine()).with_engine_at(&socket);
    let (done, _) = scripted(&socket, &[], || configured(log_driver(), &host));
    done.unwrap();
    let text = content(&host, DAEMON).unwrap();
    assert!(text.contains("json-file") && text.contains("http-proxy"), "{text}");
    assert_eq!(
        lines(&host),
        [
            "dockerd --validate --config-file /run/enxame-daemon.json",
            "systemctl reset-failed docker.service",
            "systemctl restart docker.service"
        ]
    );
    assert_eq!(content(&host, "/run/enxame-daemon.json"), None, "what was asked about is gone");
}

#[test]
fn an_engine_that_does_not_start_with_the_new_file_gets_the_old_one_back() {
    let host = FakeHost::default()
        .with_file(DAEMON, OLD)
        .answering("systemctl reset-failed", fine())
        .answering("systemctl restart", refused("Job failed"));
    assert!(matches!(configured(log_driver(), &host), Err(ActuateError::Host(_))));
    assert_eq!(content(&host, DAEMON).as_deref(), Some(OLD));
    let restarts = lines(&host).into_iter().filter(|line| line.starts_with("systemctl restart"));
    assert_eq!(restarts.count(), 2, "started with the old file");
}

#[test]
fn what_dockerd_said_is_told_and_not_what_systemd_says_of_it() {
    let said = "failed to start daemon: error initializing graphdriver: no such driver\n";
    let host = FakeHost::default()
        .with_file(DAEMON, OLD)
        .answering("journalctl", Finished { stdout: said.to_owned(), ..fine() })
        .answering("systemctl reset-failed", fine())
        .answering("systemctl restart", refused("Job for docker.service failed"));
    let error = configured(log_driver(), &host).unwrap_err().to_string();
    assert!(error.ends_with(said.trim()) && !error.contains("Job for"), "{error}");
}

#[test]
fn a_file_that_dockerd_refuses_is_not_written() {
    let said = "unable to configure the Docker daemon with file /run/enxame-daemon.json: the following directives don't match any \
                configuration option: log-opt\n";
    let host = FakeHost::default().with_file(DAEMON, OLD).answering("dockerd --validate", refused(said));
    let error = configured(log_driver(), &host).unwrap_err().to_string();
    assert!(
        error.contains("with file /etc/docker/daemon.json: the following directives don't match"),
        "{error}"
    );
    assert_eq!(content(&host, DAEMON).as_deref(), Some(OLD));
    assert_eq!(lines(&host).len(), 1, "nothing is restarted");
    // 20.10 has no such flag.
    let host = FakeHost::default().answering("dockerd --validate", refused("unknown flag: --validate\n"));
    configured(config::Action { restart: false, ..log_driver() }, &host).unwrap();
    assert!(content(&host, DAEMON).is_some());
}

#[test]
fn accounts_are_added_to_the_group_one_by_one() {
    let host = FakeHost::default().answering("usermod", fine());
    act(&host, None, docker_group::Action { accounts: vec!["ana".to_owned(), "zoe".to_owned()] }).unwrap();
    assert_eq!(lines(&host), ["usermod -aG docker -- ana", "usermod -aG docker -- zoe"]);
}

fn packages() -> package::Action {
    package::Action {
        repository: None,
        remove: Vec::new(),
        remove_snap: false,
        install: Vec::new(),
        hold: vec!["docker-ce".to_owned()],
        start: false,
        in_swarm: false,
    }
}

#[test]
fn to_hold_a_package_fetches_and_installs_nothing() {
    let host = FakeHost::default().answering("apt-mark", fine());
    act(&host, None, packages()).unwrap();
    assert_eq!(lines(&host), ["apt-mark hold docker-ce"]);
}

#[test]
fn a_repository_with_another_key_is_not_set_up() {
    let listing = format!("pub:-:4096:1:F:1:::-:\nfpr:::::::::{}:\n", "0".repeat(40));
    let shown = Finished { code: Some(0), stdout: listing, ..Finished::default() };
    let host = ["apt-get", "dpkg", "/usr/lib/apt/apt-helper", "install"]
        .into_iter()
        .fold(FakeHost::default().answering("gpg", shown), |host, program| host.answering(program, fine()));
    let repository = Repository {
        key_url: "https://download.example/debian/gpg".to_owned(),
        key_fingerprint: "9".repeat(40),
        sources: OwnedFile::new(SOURCES, "Types: deb\n"),
    };
    let error = act(&host, None, package::Action { repository: Some(repository), ..packages() }).unwrap_err();
    assert!(error.to_string().starts_with("the repository's key is 000"), "{error}");
    assert_eq!((content(&host, SOURCES), content(&host, KEYRING)), (None, None));
    assert!(!lines(&host).iter().any(|line| line.starts_with("apt-mark")));
}
