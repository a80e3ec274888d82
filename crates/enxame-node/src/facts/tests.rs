use std::net::IpAddr;
use std::time::{Duration, Instant};

use enxame_core::facts::{FileFacts, ModuleState};

use super::*;
use crate::areas::machine::look::{echo, path_mtu};
use crate::host::{Command, Finished, HostError, RealHost};

/// Nobody has this address: of TEST-NET-1 (RFC 5737), as high as a host's can be.
const NOBODY: &str = "192.0.2.254";

#[test]
fn gathering_on_this_machine_sees_what_is_true_on_any() {
    let nobody: IpAddr = NOBODY.parse().unwrap();
    let myself: IpAddr = "127.0.0.1".parse().unwrap();
    let query = FactsQuery {
        files: ["/etc/os-release", "/etc/enxame-no-such-file"].map(str::to_owned).into(),
        modules: ["enxame_no_such_module".to_owned()].into(),
        sysctl: ["kernel.ostype", "kernel.enxame_no_such_key"].map(str::to_owned).into(),
        packages: ["dpkg", "enxame-no-such-package"].map(str::to_owned).into(),
        units: ["enxame-no-such.service".to_owned()].into(),
        peers: [nobody, myself].into(),
        filter: false,
        shared: BTreeSet::new(),
        departure: true,
    };
    let started = Instant::now();
    let facts = gather(&RealHost::new(), &query);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(30), "took {took:?}");

    assert!(!facts.os.id.is_empty() && !facts.kernel.release.is_empty() && !facts.hostname.is_empty());
    assert!(
        facts.hardware.processors > 0 && facts.hardware.memory_bytes > 0 && facts.hardware.disk_bytes > 0
    );
    assert!(facts.files["/etc/os-release"].content().unwrap().contains("ID="));
    assert_eq!(facts.files["/etc/enxame-no-such-file"], FileFacts::Absent);
    assert_eq!(facts.modules["enxame_no_such_module"], ModuleState::Missing);
    assert_eq!(facts.sysctl["kernel.ostype"].as_deref(), Some("Linux"));
    assert_eq!(facts.sysctl["kernel.enxame_no_such_key"], None);
    assert!(facts.packages["dpkg"].installed.is_some());
    assert!(!facts.packages.contains_key("enxame-no-such-package"));
    // Where systemd does not run nothing is known of units; where it does, this one is not there.
    assert!(!facts.units.get("enxame-no-such.service").is_some_and(|unit| unit.exists));
    assert!(!facts.interfaces.iter().any(|interface| interface.name == "lo"));
    assert_eq!(facts.volatile.round_trip_us[&nobody], None);
    if let Observed::Known(route) = &facts.routes[&nobody] {
        assert!(route.path_mtu_bytes.known().is_none(), "{route:?}");
    }
}

#[test]
fn a_node_without_anything_is_described_without_failing() {
    let facts = gather(&crate::host::FakeHost::default(), &FactsQuery::default());
    assert_eq!(facts.engine.state, EngineState::Absent);
    assert_eq!((facts.machine_id.as_str(), facts.docker_group_members), ("", None));
    assert!(facts.esp.known().is_none());
}

/// A host whose systemd takes its time, and says when it was done.
#[derive(Default)]
struct Slow {
    host: crate::host::FakeHost,
    done_unix_ms: std::sync::atomic::AtomicU64,
}

impl Host for Slow {
    fn read(&self, path: &Path) -> FileFacts {
        self.host.read(path)
    }

    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), HostError> {
        self.host.write(path, text, mode)
    }

    fn remove(&self, path: &Path) -> Result<(), HostError> {
        self.host.remove(path)
    }

    fn run(&self, command: &Command) -> Result<Finished, HostError> {
        if command.argv.iter().any(|word| word == "slow.service") {
            thread::sleep(Duration::from_millis(200));
            self.done_unix_ms.store(clock::unix_ms(), std::sync::atomic::Ordering::Relaxed);
        }
        self.host.run(command)
    }
}

#[test]
fn the_clock_is_read_when_everything_else_was_seen() {
    let host = Slow {
        host: crate::host::FakeHost::default().with_file("/etc/systemd/system/slow.service", "[Unit]"),
        ..Slow::default()
    };
    let query = FactsQuery { units: ["slow.service".to_owned()].into(), ..FactsQuery::default() };
    let facts = gather(&host, &query);
    let done = host.done_unix_ms.load(std::sync::atomic::Ordering::Relaxed);
    assert!(done > 0 && facts.volatile.clock_unix_ms >= done, "{done}: {:?}", facts.volatile);
}

/// Raw sockets need a right that whoever runs the tests may lack.
#[test]
fn an_echo_to_oneself_comes_back_whole_and_is_timed() {
    for peer in ["127.0.0.1", "::1"] {
        let peer: IpAddr = peer.parse().unwrap();
        let Ok(mut socket) = echo::EchoSocket::open(peer) else {
            continue;
        };
        let measured = path_mtu::measure(&mut socket, 1500);
        assert_eq!(measured.path_mtu_bytes, Observed::Known(1500), "{peer}");
        assert!(measured.round_trip.unwrap() < Duration::from_secs(1), "{peer}");
    }
}
