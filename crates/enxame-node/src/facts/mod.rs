//! Gathering: everything one request learns about a node, without changing anything on it (what it remembers is in `/run`).
//!
//! What is seen of each area is looked at by the area (`areas/AREA/look`); here it is put together. [`gather`] runs the parts that wait (engine, peers, systemd, the ESP trial) in parallel, and no part can fail the whole: what could
//! not be observed is unknown or left out. Invariant: two looks at an unchanged node differ in the volatile facts only.

mod filter;
mod listening;
mod rivals;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::thread;

use enxame_core::areas::firewall::packages::PACKAGES;
use enxame_core::facts::{
    EngineFacts, EngineState, FactsQuery, FilterFacts, NodeFacts, Observed, OperatingSystem, TunnelFacts,
    VolatileFacts,
};

use crate::areas::engine::look::{self as engine, snap, unit as engine_unit};
use crate::areas::machine::look::{
    accounts, clock, cloud_init, esp, gave_up, interfaces, modules, occupied, packages, routes, sysctl,
    system, units, unwritable, upgrades,
};
use crate::areas::machine::reboot::BOOT_ID;
use crate::areas::storage::look as storage;
use crate::areas::tunnel::look as tunnel;
use crate::engine::SOCKET;
use crate::host::Host;
use crate::{apt, before, deadman, journal};

/// Looks at the node. Takes as long as its slowest part: 2 s when a peer does not answer, well below 1 s when all do.
#[must_use]
pub fn gather(host: &dyn Host, query: &FactsQuery) -> NodeFacts {
    thread::scope(|scope| {
        let engine = scope.spawn(|| engine::look(host, !query.shared.is_empty()));
        let peers = scope.spawn(|| routes::look(&query.peers));
        let units = scope.spawn(|| units::look(host, &query.units));
        let esp = scope.spawn(|| esp::look(host));
        let filter = scope.spawn(|| if query.filter { filter::look(host) } else { FilterFacts::default() });

        let tunnel = scope.spawn(|| tunnel::look(host));
        let rivals = scope.spawn(|| if query.filter { rivals::look(Path::new("/")) } else { Vec::new() });

        let kernel = system::kernel(host);
        let status = host.long_text(packages::STATUS);
        let known = packages::packages(&status, &query.packages);
        let is_missing = |name: &String| {
            query.packages.contains(name) && known.get(name).is_none_or(|package| package.installed.is_none())
        };
        let missing: Vec<String> = PACKAGES.map(str::to_owned).into_iter().filter(is_missing).collect();
        let removes = scope.spawn(move || apt::removed_by_installing(host, &missing));
        let hardware = system::hardware(host);
        let (modules, modules_barred) = modules::look(host, &kernel.release, &query.modules);
        let mut facts = NodeFacts {
            os: OperatingSystem {
                root_is_not_roots: system::root_is_not_roots(Path::new("/")),
                ..system::operating_system(&host.text("/etc/os-release"))
            },
            modules,
            modules_barred,
            kernel,
            machine_id: host.text("/etc/machine-id").trim().to_owned(),
            hostname: system::hostname(),
            hardware: hardware.stable,
            files: query.files.iter().map(|path| (path.clone(), host.read(Path::new(path)))).collect(),
            unwritable: unwritable::look(Path::new("/"), &query.files),
            esp: Observed::Unknown(String::new()),
            sysctl: sysctl::look(host, &query.sysctl),
            sysctl_set: sysctl::settings(Path::new("/"), &query.sysctl),
            packages: known,
            units: BTreeMap::new(),
            engine: EngineFacts {
                state: EngineState::Absent,
                flags: engine_unit::flags(Path::new("/")),
                socket_is_directory: Path::new(SOCKET).is_dir(),
            },
            interfaces: interfaces::look(),
            routes: BTreeMap::new(),
            cloud_init: cloud_init::look(host),
            docker_snap: snap::look(host),
            upgrades_unattended: upgrades::are_on(host, &status),
            docker_group_members: docker_group(host),
            ssh_session: None,
            ssh_answers_by: None,
            filter: FilterFacts::default(),
            tunnel: TunnelFacts::default(),
            storage: storage::look(host, &query.shared),
            interrupted: journal::interrupted(host),
            not_put_back: deadman::not_put_back(),
            before: query.departure.then(|| before::look(host)),
            volatile: VolatileFacts {
                clock_unix_ms: 0,
                clock_synchronised: clock::is_synchronised(),
                boot_id: host.text(BOOT_ID).trim().to_owned(),
                workloads: None,
                occupied: occupied::look(host),
                memory_available_bytes: hardware.memory_available_bytes,
                disk_available_bytes: hardware.disk_available_bytes,
                round_trip_us: BTreeMap::new(),
                listening: listening::look(host),
                shared: storage::state(host),
                tunnel_peers: BTreeMap::new(),
                containers: BTreeMap::new(),
            },
        };

        facts.units = units.join().unwrap_or_default();
        facts.filter = filter.join().unwrap_or_default();
        facts.filter.rivals = rivals.join().unwrap_or_default();
        facts.filter.installing_removes = removes.join().unwrap_or_default();
        (facts.tunnel, facts.volatile.tunnel_peers) = tunnel.join().unwrap_or_else(|_| {
            (TunnelFacts { interface: gave_up(), ..TunnelFacts::default() }, BTreeMap::new())
        });
        facts.esp = esp.join().unwrap_or_else(|_| gave_up());
        let engine = engine.join().unwrap_or_else(|_| {
            engine::Seen::of(EngineState::NotAnswering("the look at it ended early".to_owned()))
        });
        facts.engine.state = engine.state;
        facts.volatile.workloads = engine.workloads;
        facts.volatile.containers = engine.containers;
        facts.storage.volumes = engine.volumes;
        let peers = peers.join().unwrap_or_default();
        facts.routes = peers.routes;
        facts.volatile.round_trip_us = peers.round_trip_us;
        // Last: the operator's side counts on from when the facts arrive, and what was waited for is not skew.
        facts.volatile.clock_unix_ms = clock::unix_ms();
        facts
    })
}

/// The kernel's packet filter alone, for whoever is about to change it.
pub(crate) fn filter(host: &dyn Host) -> FilterFacts {
    filter::look_anew(host)
}

#[cfg(fuzzing)]
pub(crate) use filter::parse as parse_saved;

/// Who flushes firewalls below a directory, for `fuzz/`.
#[cfg(fuzzing)]
pub(crate) fn rivals_of(root: &Path) -> usize {
    rivals::look(root).len()
}

/// The interface by which packets to an address leave.
pub(crate) fn interface_to(address: IpAddr) -> Option<String> {
    routes::interface_to(address)
}

/// The host name the kernel has now.
pub(crate) fn hostname() -> String {
    system::hostname()
}

/// Live kernel parameters; `None` where the kernel has no such key.
pub(crate) fn sysctl_values(host: &dyn Host, keys: &BTreeSet<String>) -> BTreeMap<String, Option<String>> {
    sysctl::look(host, keys)
}

/// Who is in the group `docker`; `None` where there is none.
pub(crate) fn docker_group(host: &dyn Host) -> Option<Vec<String>> {
    accounts::members_of("docker", &host.text("/etc/group"), &host.text("/etc/passwd"))
}

#[cfg(test)]
mod tests;
