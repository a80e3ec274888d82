//! Gathering: everything one request learns about a node, without changing anything on it (what it remembers is in `/run`).
//!
//! Each file owns one concern: parsers are pure functions on text, and a `look` reads what they parse. [`gather`] runs
//! the parts that wait (engine, peers, systemd, the ESP trial) in parallel, and no part can fail the whole: what could
//! not be observed is unknown or left out. Invariant: two looks at an unchanged node differ in the volatile facts only.

mod accounts;
mod clock;
mod distribution;
pub(crate) mod echo;
mod engine;
mod esp;
mod filter;
mod interfaces;
mod listening;
mod machine;
mod modules;
mod packages;
pub(crate) mod path_mtu;
mod routes;
mod swarm;
mod sysctl;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;

use enxame_core::facts::{
    EngineFacts, EngineState, FactsQuery, FileFacts, FilterFacts, NodeFacts, Observed, VolatileFacts,
};

use crate::host::Host;
use crate::{before, journal};

pub use esp::try_esp;

/// Looks at the node. Takes as long as its slowest part: 2 s when a peer does not answer, well below 1 s when all do.
#[must_use]
pub fn gather(host: &dyn Host, query: &FactsQuery) -> NodeFacts {
    thread::scope(|scope| {
        let engine = scope.spawn(|| engine::look(host));
        let peers = scope.spawn(|| routes::look(&query.peers));
        let units = scope.spawn(|| units::look(host, &query.units));
        let esp = scope.spawn(|| esp::look(host));
        let filter = scope.spawn(|| if query.filter { filter::look(host) } else { FilterFacts::default() });

        let kernel = machine::kernel();
        let distribution = distribution::look(host, &query.packages);
        let hardware = machine::hardware(host);
        let (clock_unix_ms, clock_synchronised) = (clock::unix_ms(), clock::is_synchronised());
        let mut facts = NodeFacts {
            os: machine::operating_system(&text(host, "/etc/os-release")),
            modules: modules::look(host, &kernel.release, &query.modules),
            kernel,
            machine_id: text(host, "/etc/machine-id").trim().to_owned(),
            hostname: hostname(),
            hardware: hardware.stable,
            files: query.files.iter().map(|path| (path.clone(), host.read(Path::new(path)))).collect(),
            esp: Observed::Unknown(String::new()),
            sysctl: sysctl_values(host, &query.sysctl),
            packages: distribution.packages,
            units: BTreeMap::new(),
            engine: EngineFacts { state: EngineState::Absent },
            interfaces: interfaces::look(),
            routes: BTreeMap::new(),
            cloud_init: distribution.cloud_init,
            docker_snap: distribution.docker_snap,
            upgrades_unattended: distribution.upgrades_unattended,
            docker_group_members: docker_group(host),
            ssh_session: None,
            filter: FilterFacts::default(),
            interrupted: journal::interrupted(host),
            before: query.departure.then(|| before::look(host)),
            volatile: VolatileFacts {
                clock_unix_ms,
                clock_synchronised,
                memory_available_bytes: hardware.memory_available_bytes,
                disk_available_bytes: hardware.disk_available_bytes,
                round_trip_us: BTreeMap::new(),
                listening: if query.departure { listening::look(host) } else { BTreeSet::new() },
            },
        };

        facts.units = units.join().unwrap_or_default();
        facts.filter = filter.join().unwrap_or_default();
        facts.esp = esp.join().unwrap_or_else(|_| gave_up());
        facts.engine = engine.join().unwrap_or_else(|_| EngineFacts {
            state: EngineState::NotAnswering("the look at it ended early".to_owned()),
        });
        let peers = peers.join().unwrap_or_default();
        facts.routes = peers.routes;
        facts.volatile.round_trip_us = peers.round_trip_us;
        facts
    })
}

/// The kernel's packet filter alone, for whoever is about to change it.
pub(crate) fn filter(host: &dyn Host) -> FilterFacts {
    filter::look_anew(host)
}

/// The host name the kernel has now.
pub(crate) fn hostname() -> String {
    machine::hostname()
}

/// Live kernel parameters; `None` where the kernel has no such key.
pub(crate) fn sysctl_values(host: &dyn Host, keys: &BTreeSet<String>) -> BTreeMap<String, Option<String>> {
    sysctl::look(host, keys)
}

/// Who is in the group `docker`; `None` where there is none.
pub(crate) fn docker_group(host: &dyn Host) -> Option<Vec<String>> {
    accounts::members_of("docker", &text(host, "/etc/group"), &text(host, "/etc/passwd"))
}

/// What a part says whose thread panicked, which its lints should rule out.
fn gave_up<T>() -> Observed<T> {
    Observed::Unknown("the look at it ended early".to_owned())
}

/// A file's text; empty when it is not there or not text.
fn text(host: &dyn Host, path: &str) -> String {
    match host.read(Path::new(path)) {
        FileFacts::Text { content, .. } => content,
        FileFacts::Absent | FileFacts::Unreadable(_) => String::new(),
    }
}

/// A file's text however long it is: dpkg's status and the module lists may exceed what [`Host::read`] takes.
fn long_text(host: &dyn Host, path: &str) -> String {
    match host.read(Path::new(path)) {
        FileFacts::Text { content, .. } => content,
        FileFacts::Absent => String::new(),
        FileFacts::Unreadable(_) => {
            fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        }
    }
}

/// Whether anything is at that path, be it a file, a directory or a socket.
fn exists(host: &dyn Host, path: &str) -> bool {
    host.read(Path::new(path)) != FileFacts::Absent
}

#[cfg(test)]
mod tests;
