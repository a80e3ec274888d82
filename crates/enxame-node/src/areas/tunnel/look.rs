//! What is seen of the tunnels. `wg show` prints a private key in none of the forms that are asked for here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use enxame_core::areas::tunnel::{INTERFACE, KEY_PATH};
use enxame_core::facts::{DeviceFacts, FileFacts, KeyFacts, Observed, PeerFacts, PublicKey, TunnelFacts};
use enxame_core::secret::Secret;
use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::host::{Command, Host, HostError};

/// What was seen, and what of it changes by itself.
pub(crate) type Seen = (TunnelFacts, BTreeMap<PublicKey, PeerFacts>);

/// Where there is neither key nor interface nothing is run.
pub(crate) fn look(host: &dyn Host) -> Seen {
    let (interface, peers) = match flags() {
        Ok(None) => (Observed::Known(None), BTreeMap::new()),
        Ok(Some(flags)) => device(host, flags.contains(InterfaceFlags::IFF_UP)),
        Err(error) => (Observed::Unknown(error.to_string()), BTreeMap::new()),
    };
    (TunnelFacts { key: key(host), interface }, peers)
}

/// The interface's flags; `None`: there is no such interface.
pub(super) fn flags() -> io::Result<Option<InterfaceFlags>> {
    let mut found = getifaddrs()?.filter(|entry| entry.interface_name == INTERFACE);
    Ok(found.next().map(|entry| entry.flags))
}

/// What the node's key file holds.
pub(crate) fn key(host: &dyn Host) -> KeyFacts {
    let (content, mode) = match host.read(Path::new(KEY_PATH)) {
        FileFacts::Absent => return KeyFacts::Absent,
        FileFacts::Unreadable(why) => return KeyFacts::Unread(why),
        FileFacts::Text { content, mode, .. } => (content, mode),
    };
    let Some(private) = private_key(&content) else {
        return KeyFacts::Unusable("there is no key in it".to_owned());
    };
    match public_half(host, &private) {
        Ok(public) => KeyFacts::Usable { public, mode },
        Err(HostError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            KeyFacts::Unread("wg is not installed".to_owned())
        }
        Err(HostError::Refused { .. }) => KeyFacts::Unusable("what is in it is no key".to_owned()),
        Err(error) => KeyFacts::Unread(error.to_string()),
    }
}

fn private_key(content: &str) -> Option<Secret> {
    let pairs = content.lines().filter_map(|line| line.split_once('='));
    let mut keys = pairs.filter(|(name, _)| name.trim() == "PrivateKey").map(|(_, key)| key.trim());
    keys.next().map(|key| Secret::new(key.to_owned()))
}

/// The public half of a private key.
pub(super) fn public_half(host: &dyn Host, private: &Secret) -> Result<PublicKey, HostError> {
    let command = Command::new(["wg", "pubkey"]).reading(format!("{}\n", private.reveal()));
    let told = host.run_ok(&command)?;
    PublicKey::new(told.trim()).map_err(|error| HostError::Refused {
        command: command.to_string(),
        status: "an answer".to_owned(),
        message: error.to_string(),
    })
}

fn device(host: &dyn Host, is_up: bool) -> (Observed<Option<DeviceFacts>>, BTreeMap<PublicKey, PeerFacts>) {
    let show = |what: &str| host.run_ok(&Command::new(["wg", "show", INTERFACE, what]));
    let seen = || -> Result<_, HostError> {
        let peers = peers(&show("endpoints")?, &show("latest-handshakes")?);
        let device = DeviceFacts {
            public_key: PublicKey::new(show("public-key")?.trim()).ok(),
            port: show("listen-port")?.trim().parse().unwrap_or_default(),
            is_up,
            peers: allowed(&show("allowed-ips")?),
        };
        Ok((device, peers))
    };
    match seen() {
        Ok((device, peers)) => (Observed::Known(Some(device)), peers),
        Err(HostError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            (Observed::Unknown("wg is not installed".to_owned()), BTreeMap::new())
        }
        Err(error) => (Observed::Unknown(error.to_string()), BTreeMap::new()),
    }
}

/// A line for each peer: its key, a tab, and the rest.
fn lines(told: &str) -> impl Iterator<Item = (PublicKey, &str)> {
    let pairs = told.lines().filter_map(|line| line.split_once('\t'));
    pairs.filter_map(|(key, rest)| Some((PublicKey::new(key).ok()?, rest.trim())))
}

/// `KEY<tab>NETWORK NETWORK`, or `(none)` in their place.
fn allowed(told: &str) -> BTreeMap<PublicKey, BTreeSet<IpNet>> {
    let networks = |rest: &str| rest.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    lines(told).map(|(key, rest)| (key, networks(rest))).collect()
}

/// `KEY<tab>ADDRESS:PORT` or `KEY<tab>(none)`; and `KEY<tab>SECONDS`, 0 where there was no handshake.
fn peers(endpoints: &str, handshakes: &str) -> BTreeMap<PublicKey, PeerFacts> {
    let times: BTreeMap<PublicKey, u64> =
        lines(handshakes).filter_map(|(key, rest)| Some((key, rest.parse().ok()?))).collect();
    let of = |(key, rest): (PublicKey, &str)| {
        let handshake_unix_s = times.get(&key).copied().filter(|seconds| *seconds > 0);
        (key, PeerFacts { endpoint: rest.parse().ok(), handshake_unix_s })
    };
    lines(endpoints).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{FakeHost, Finished};
    use crate::testing::acting::{fine, refused};

    const KEY: &str = "KnZN7Q7h0VHb336NXFrNItUP7FXSQKC548fQNR2C7gs=";
    const OTHER: &str = "WXOQKbdREPh1MS4tPVxFNafy8+cbdKM3Ff3GMnDQ3hs=";

    fn key_of(text: &str) -> PublicKey {
        PublicKey::new(text).unwrap()
    }

    fn said(text: String) -> Finished {
        Finished { stdout: text, ..fine() }
    }

    fn showing(host: FakeHost) -> FakeHost {
        let show = |host: FakeHost, what: &str, text: String| {
            host.answering(&format!("wg show enxame0 {what}"), said(text))
        };
        let host = show(host, "public-key", format!("{KEY}\n"));
        let host = show(host, "listen-port", "51820\n".to_owned());
        let host = show(host, "allowed-ips", format!("{OTHER}\t192.168.255.2/32\n{KEY}\t(none)\n"));
        let host = show(host, "endpoints", format!("{OTHER}\t203.0.113.14:51820\n{KEY}\t(none)\n"));
        show(host, "latest-handshakes", format!("{OTHER}\t1764100000\n{KEY}\t0\n"))
    }

    #[test]
    fn the_interface_is_read_as_wg_shows_it() {
        let (device, peers) = device(&showing(FakeHost::default()), true);
        let Observed::Known(Some(device)) = device else { panic!("{device:?}") };
        assert_eq!((device.public_key, device.port, device.is_up), (Some(key_of(KEY)), 51_820, true));
        let networks: BTreeSet<IpNet> = ["192.168.255.2/32".parse().unwrap()].into();
        assert_eq!(device.peers, [(key_of(OTHER), networks), (key_of(KEY), BTreeSet::new())].into());
        let endpoint = Some("203.0.113.14:51820".parse().unwrap());
        let other = PeerFacts { endpoint, handshake_unix_s: Some(1_764_100_000) };
        assert_eq!(peers[&key_of(OTHER)], other);
        assert_eq!(peers[&key_of(KEY)], PeerFacts { endpoint: None, handshake_unix_s: None });
    }

    #[test]
    fn an_interface_that_wg_does_not_show_is_not_taken_for_absent() {
        let unknown = |host: &FakeHost| match device(host, true).0 {
            Observed::Unknown(why) => why,
            Observed::Known(seen) => panic!("{seen:?}"),
        };
        assert_eq!(unknown(&FakeHost::default()), "wg is not installed");
        let host = FakeHost::default().answering("wg show", refused("Unable to access interface"));
        assert!(unknown(&host).contains("Unable to access interface"));
    }

    #[test]
    fn of_the_key_only_the_public_half_is_told_and_half_a_file_is_no_key() {
        let private = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
        let with = |content: &str| FakeHost::default().with_file(KEY_PATH, content);
        let whole = format!("# Written by enxame.\n[Interface]\nPrivateKey = {private}\n");
        let host = with(&whole).answering("wg pubkey", said(format!("{KEY}\n")));
        let seen = key(&host);
        assert_eq!(seen, KeyFacts::Usable { public: key_of(KEY), mode: 0o644 });
        assert_eq!(String::from_utf8_lossy(&host.ran()[0].stdin), format!("{private}\n"));
        assert!(host.ran().iter().all(|command| !command.to_string().contains(private)), "in no argument");
        assert!(!serde_json::to_string(&seen).unwrap().contains(private));

        assert_eq!(key(&FakeHost::default()), KeyFacts::Absent);
        assert_eq!(key(&with("[Interface]\n")), KeyFacts::Unusable("there is no key in it".to_owned()));
        let half = with("[Interface]\nPrivateKey = yAnz\n")
            .answering("wg pubkey", refused("not the correct length"));
        assert_eq!(key(&half), KeyFacts::Unusable("what is in it is no key".to_owned()));
        assert_eq!(key(&with(&whole)), KeyFacts::Unread("wg is not installed".to_owned()));
    }
}
