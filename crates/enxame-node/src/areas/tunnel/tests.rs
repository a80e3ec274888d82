//! What acts on the tunnels, on a node in memory.

use std::path::Path;

use enxame_core::areas::tunnel::conf::Peer;
use enxame_core::areas::tunnel::interface::{self, How};
use enxame_core::areas::tunnel::{CONF_PATH, KEY_PATH, NETWORK_PATH, UNIT_PATH, key, removal};
use enxame_core::facts::PublicKey;
use enxame_core::files::OwnedFile;
use enxame_core::names::NodeName;
use enxame_core::secret::Secret;

use crate::actuate::ActuateError;
use crate::host::{FakeHost, Finished};
use crate::testing::acting::{act, fine, lines, refused};

const PRIVATE: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const PUBLIC: &str = "KnZN7Q7h0VHb336NXFrNItUP7FXSQKC548fQNR2C7gs=";

fn said(text: &str) -> Finished {
    Finished { stdout: format!("{text}\n"), ..fine() }
}

/// The file's text and its permission bits.
fn file(host: &FakeHost, path: &str) -> Option<(String, u32)> {
    host.files().get(Path::new(path)).cloned()
}

fn with_tools(host: FakeHost) -> FakeHost {
    host.answering("wg genkey", said(PRIVATE)).answering("wg pubkey", said(PUBLIC))
}

#[test]
fn a_key_is_made_once_for_root_alone_and_goes_into_no_argument() {
    let host = with_tools(FakeHost::default());
    act(&host, None, key::Action { install: Vec::new(), renew: false }).unwrap();
    let made = file(&host, KEY_PATH).unwrap();
    assert!(made.0.ends_with(&format!("[Interface]\nPrivateKey = {PRIVATE}\n")), "its own section, for `wg`");
    assert_eq!(made.1, 0o600);
    act(&host, None, key::Action { install: Vec::new(), renew: false }).unwrap();
    assert_eq!(file(&host, KEY_PATH), Some(made));
    let ran = lines(&host);
    assert_eq!(ran.iter().filter(|line| *line == "wg genkey").count(), 1, "{ran:?}");
    assert!(ran.iter().all(|line| !line.contains(PRIVATE)), "{ran:?}");
}

#[test]
fn a_key_that_others_can_read_is_shut_and_half_a_key_gives_way_to_a_whole_one() {
    let whole = format!("[Interface]\nPrivateKey = {PUBLIC}\n");
    let host = with_tools(FakeHost::default().with_file(KEY_PATH, &whole));
    act(&host, None, key::Action { install: Vec::new(), renew: false }).unwrap();
    assert_eq!(file(&host, KEY_PATH), Some((whole, 0o600)));

    let host = with_tools(FakeHost::default().with_file(KEY_PATH, "[Interface]\n"));
    act(&host, None, key::Action { install: Vec::new(), renew: false }).unwrap();
    let (text, mode) = file(&host, KEY_PATH).unwrap();
    assert!(text.contains(PRIVATE) && mode == 0o600);
}

#[test]
fn what_is_no_key_is_not_written() {
    let host = FakeHost::default()
        .answering("wg genkey", said("nonsense"))
        .answering("wg pubkey", refused("no key"));
    let error = act(&host, None, key::Action { install: Vec::new(), renew: false }).unwrap_err();
    assert!(matches!(error, ActuateError::Host(_)), "{error:?}");
    assert_eq!(file(&host, KEY_PATH), None);
    assert!(!format!("{:?}", error.failure()).contains("nonsense"));
}

#[test]
fn the_tools_are_installed_before_the_key_is_made() {
    let host = ["apt-get", "dpkg"]
        .into_iter()
        .fold(FakeHost::default(), |host, program| host.answering(program, fine()));
    act(&with_tools(host), None, key::Action { install: vec!["wireguard-tools".to_owned()], renew: false })
        .unwrap();
    let none = FakeHost::default().answering("apt-get", refused("E: no mirror")).answering("dpkg", fine());
    let error = act(&none, None, key::Action { install: vec!["wireguard-tools".to_owned()], renew: false })
        .unwrap_err();
    assert!(format!("{:?}", error.failure()).contains("no mirror"), "{error:?}");
    assert!(lines(&none).iter().all(|line| !line.starts_with("wg")));
}

fn connecting(how: How, key: Option<&str>) -> interface::Action {
    let peer = Peer {
        node: NodeName::new("kvm4-manager").unwrap(),
        endpoint: "203.0.113.14:51820".parse().unwrap(),
        address: "192.168.255.2".parse().unwrap(),
        key: key.map(|key| PublicKey::new(key).unwrap()),
    };
    let unit = OwnedFile::new(UNIT_PATH, "[Unit]\n");
    interface::Action { unit, port: 51_820, peers: vec![peer], operators: Vec::new(), how }
}

#[test]
fn peers_are_written_with_the_keys_that_they_hand_over_and_the_unit_makes_the_rest() {
    let handed = Secret::new(format!("{{\"kvm4-manager\": \"{PUBLIC}\"}}"));
    let host = FakeHost::default().answering("systemctl", fine());
    act(&host, Some(&handed), connecting(How::Reload, None)).unwrap();
    let (text, mode) = file(&host, CONF_PATH).unwrap();
    assert!(text.contains(&format!("PublicKey = {PUBLIC}\n")) && mode == 0o600, "{text}");
    let enable = "systemctl enable --quiet enxame-tunnel.service";
    let (text, _) = file(&host, NETWORK_PATH).unwrap();
    assert!(text.contains("Name=enxame0") && text.contains("Unmanaged=yes"), "{text}");
    let reload = "networkctl reload";
    assert_eq!(lines(&host), [reload, enable, "systemctl reload-or-restart enxame-tunnel.service"]);
    let host = FakeHost::default().answering("systemctl", fine());
    act(&host, None, connecting(How::Restart, Some(PUBLIC))).unwrap();
    assert_eq!(lines(&host), [reload, enable, "systemctl restart enxame-tunnel.service"]);
}

#[test]
fn without_the_key_of_a_peer_nothing_is_touched() {
    let host = FakeHost::default();
    let error = act(&host, None, connecting(How::Reload, None)).unwrap_err();
    assert_eq!(error.to_string(), "kvm4-manager has not handed over its key for the tunnels");
    assert_eq!((file(&host, CONF_PATH), lines(&host).len()), (None, 0));
}

#[test]
fn a_unit_that_does_not_come_up_says_why_in_the_words_of_its_journal() {
    let host = FakeHost::default()
        .answering("systemctl enable", fine())
        .answering("systemctl reload-or-restart", refused("Job for enxame-tunnel.service failed"))
        .answering("journalctl", said("Error: Unknown device type.\n\nFailed to start"));
    let error = act(&host, None, connecting(How::Reload, Some(PUBLIC))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "enxame-tunnel.service does not come up: Error: Unknown device type. | Failed to start"
    );
}

#[test]
fn all_of_it_goes_and_the_key_last() {
    let host = FakeHost::default()
        .with_file(UNIT_PATH, "[Unit]\n")
        .with_file(CONF_PATH, "[Interface]\n")
        .with_file(NETWORK_PATH, "[Match]\n")
        .with_file(KEY_PATH, "[Interface]\n")
        .answering("systemctl", fine());
    act(&host, None, removal::Action).unwrap();
    assert_eq!(
        lines(&host),
        ["systemctl disable --now --quiet enxame-tunnel.service", "systemctl daemon-reload"]
    );
    for path in [UNIT_PATH, NETWORK_PATH, CONF_PATH, KEY_PATH] {
        assert_eq!(file(&host, path), None, "{path}");
    }
    // What is still up keeps its key, so that asking again finds it.
    let host = FakeHost::default()
        .with_file(UNIT_PATH, "[Unit]\n")
        .with_file(KEY_PATH, "[Interface]\n")
        .answering("systemctl", refused("Failed to disable unit"));
    act(&host, None, removal::Action).unwrap_err();
    assert!(file(&host, KEY_PATH).is_some() && file(&host, UNIT_PATH).is_some());
    let bare = FakeHost::default();
    act(&bare, None, removal::Action).unwrap();
    assert_eq!(lines(&bare).len(), 0);
}

#[test]
fn a_key_becomes_another_only_where_that_is_asked_for() {
    let renewed = |renew| {
        let host = FakeHost::default()
            .with_file(KEY_PATH, "[Interface]\nPrivateKey = mAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n")
            .answering("wg genkey", Finished { stdout: format!("{PRIVATE}\n"), ..fine() })
            .answering("wg pubkey", Finished { stdout: format!("{PUBLIC}\n"), ..fine() });
        act(&host, None, key::Action { install: Vec::new(), renew }).unwrap();
        assert!(lines(&host).iter().all(|line| !line.contains(PRIVATE)));
        file(&host, KEY_PATH).unwrap().0.contains(PRIVATE)
    };
    assert!(renewed(true) && !renewed(false));
}
