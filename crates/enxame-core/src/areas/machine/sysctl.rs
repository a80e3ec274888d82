//! Kernel parameters (manual 2.3): in a file of our own and live.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::change::{Difference, Kind};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{FactsQuery, SetWhen, Setting};
use serde::{Deserialize, Serialize};

use crate::files::{HEADER, OwnedFile};

pub(crate) const KIND: Kind = Kind::of("sysctl");
/// The manual's file.
pub(super) const PATH: &str = "/etc/sysctl.d/99-swarm-tuning.conf";

/// The manual's values. IPVS drops connections that are idle for 900 s: keep-alive stays below.
const MANUAL: [(&str, &str); 9] = [
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.forwarding", "1"),
    ("net.ipv4.neigh.default.gc_thresh1", "8192"),
    ("net.ipv4.neigh.default.gc_thresh2", "12288"),
    ("net.ipv4.neigh.default.gc_thresh3", "16384"),
    ("net.ipv4.tcp_keepalive_time", "600"),
    ("net.ipv4.tcp_keepalive_intvl", "30"),
    ("net.ipv4.tcp_keepalive_probes", "5"),
    ("net.core.somaxconn", "65535"),
];

/// Keys whose value is a floor. dockerd raises these three to 8192, 49152 and 65536 itself when the first overlay
/// network comes (moby, `libnetwork/drivers/overlay/ostweaks_linux.go`), and lowers none.
pub(super) const FLOORS: [&str; 3] = [
    "net.ipv4.neigh.default.gc_thresh1",
    "net.ipv4.neigh.default.gc_thresh2",
    "net.ipv4.neigh.default.gc_thresh3",
];

/// Where Debian and Ubuntu link `/etc/sysctl.conf` to.
const LINK: &str = "/etc/sysctl.d/99-sysctl.conf";
/// Without these no packet reaches a container: whoever takes them away breaks the swarm, and not its tuning.
const FORWARDING: [&str; 2] = ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"];

/// Keys of modules that are loaded before these values are set, at boot too (systemd-sysctl.service(8)).
const WITH_A_MODULE: [&str; 3] = ["net.bridge.", "net.ipv4.vs.", "net.netfilter."];

/// See the module.
pub(crate) struct Sysctl;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What is set at boot.
    pub file: OwnedFile,
    /// What is set now.
    pub live: BTreeMap<String, String>,
}

fn wanted(config: &Config) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> =
        MANUAL.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    values.extend(config.sysctl.iter().map(|(key, value)| (key.clone(), normalised(value))));
    values
}

/// Whether the live value needs no change.
fn serves(key: &str, now: &str, wanted: &str) -> bool {
    let is_above =
        || now.trim().parse::<u64>().ok().zip(wanted.parse().ok()).is_some_and(|(now, floor)| now >= floor);
    normalised(now) == wanted || (FLOORS.contains(&key) && is_above())
}

fn comes_with_a_module(key: &str) -> bool {
    WITH_A_MODULE.iter().any(|prefix| key.starts_with(prefix))
}

/// The kernel separates several numbers by tabs, people by blanks.
pub(super) fn normalised(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Who sets the key to something else after our file did: the last at boot, and the last when ufw starts or reloads.
fn overridden(view: &View<'_>, key: &str, wanted: &str) -> Vec<Finding> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let is_later = |setting: &&Setting| match setting.when {
        SetWhen::Boot => name(file_of(&setting.place)) > name(PATH),
        SetWhen::UfwReload => true,
    };
    let settings = || view.facts.sysctl_set.iter().filter(|setting| setting.key == key).filter(is_later);
    let last = |when| settings().rfind(move |setting| setting.when == when);
    let winners = [SetWhen::Boot, SetWhen::UfwReload].into_iter().filter_map(last);
    winners
        .filter(|setting| !serves(key, &setting.value, wanted))
        .map(|Setting { value, place, when, .. }| {
            let moment = match when {
                SetWhen::Boot => format!("and is read after {PATH} at boot"),
                SetWhen::UfwReload => "each time that ufw starts or reloads".to_owned(),
            };
            let message = format!("{place} sets `{key}` to {value}, {moment}");
            let is_link = file_of(place) == LINK;
            let hint = if is_link {
                "take the line out of it (mostly it is /etc/sysctl.conf)"
            } else {
                "take the line out of it"
            };
            let finding = if FORWARDING.contains(&key) { Finding::error } else { Finding::warning };
            finding("2.3".to_owned(), message, hint).on(&view.node.name)
        })
        .collect()
}

/// The file of a place, which has the line's number behind it.
fn file_of(place: &str) -> &str {
    place.rsplit_once(':').map_or(place, |(file, _)| file)
}

impl Declare for Sysctl {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "2.3"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        const { &[super::kernel_modules::KIND] }
    }

    fn asks(&self, config: &Config, _: &NodeConfig) -> FactsQuery {
        FactsQuery {
            files: [PATH.to_owned()].into(),
            sysctl: wanted(config).into_keys().collect(),
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let mut declaration = Declaration::nothing();
        let mut text = HEADER.to_owned();
        let mut live = BTreeMap::new();
        let mut differences = Vec::new();
        for (key, value) in wanted(view.config) {
            match view.facts.sysctl.get(&key) {
                Some(Some(now)) if serves(&key, now, &value) => {}
                Some(Some(now)) => {
                    differences.push(Difference::changed(format!("{key} (live)"), normalised(now), &value));
                    live.insert(key.clone(), value.clone());
                }
                Some(None) | None if comes_with_a_module(&key) => {
                    differences.push(Difference::added(format!("{key} (live)"), &value));
                    live.insert(key.clone(), value.clone());
                }
                Some(None) | None => {
                    declaration.findings.push(
                        Finding::error(
                            "2.3",
                            format!("this kernel has no `{key}`"),
                            "take it out of `sysctl:` or use the distribution's kernel",
                        )
                        .on(&view.node.name),
                    );
                    continue;
                }
            }
            declaration.findings.extend(overridden(view, &key, &value));
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key} = {value}");
        }
        let file = OwnedFile::new(PATH, text);
        differences.extend(file.differences(view.facts));
        if !differences.is_empty() {
            let reason = "the defaults are made for local networks: idle connections and bursts get lost";
            let draft = Draft::new("tune the kernel for wide-area links", reason, Action { file, live });
            declaration.change(draft.differing(differences));
        }
        declaration
    }

    fn undeclare(&self, view: &View<'_>, swarm: SwarmFate) -> Declaration {
        super::removal::sysctl(view, swarm)
    }
}
