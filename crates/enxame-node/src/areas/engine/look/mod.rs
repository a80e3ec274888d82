//! The container engine, over its socket and never by starting it.
//!
//! `docker.socket` starts the daemon on the first connection, which would be a change: the socket is used only while a
//! dockerd holds it.

pub(crate) mod snap;
pub(crate) mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::{ContainerSummary, PortSummaryTypeEnum, SystemInfo, Volume};
use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListNodesOptions, ListServicesOptions, ListTasksOptions,
    ListVolumesOptions,
};
use enxame_core::areas::firewall::Service;
use enxame_core::facts::{EngineState, VolumeFacts, Workloads};
use enxame_core::version::EngineVersion;
use tokio::time::timeout;

use crate::areas::swarm::look::{self as swarm, workloads};
use crate::engine::{Engine, EngineError, SOCKET};
use crate::host::{Host, PATH};
use crate::swarm::LOOK;

/// Docker's snap, whose daemon is not where programs are.
const SNAP: &str = "/snap/bin/docker";
/// The socket by both its names: `/var/run` is a link.
const SOCKETS: [&str; 2] = [SOCKET, "/run/docker.sock"];
/// What the engine labels the containers of services with (moby, daemon/cluster/executor/container).
const OF_A_SERVICE: &str = "com.docker.swarm.service.id";
/// The deadline of each call.
const CALL: Duration = Duration::from_secs(10);

/// What is seen of the engine.
pub(crate) struct Seen {
    pub(crate) state: EngineState,
    /// What runs in the swarm, where it can tell.
    pub(crate) workloads: Option<Workloads>,
    /// What containers publish that are of no service.
    pub(crate) containers: BTreeMap<String, BTreeSet<Service>>,
    /// Volumes that mount shared files, where they were asked for.
    pub(crate) volumes: BTreeMap<String, VolumeFacts>,
}

impl Seen {
    /// Nothing but the state.
    pub(crate) fn of(state: EngineState) -> Self {
        Self { state, workloads: None, containers: BTreeMap::new(), volumes: BTreeMap::new() }
    }
}

/// Looks at the engine.
pub(crate) fn look(host: &dyn Host, asks_volumes: bool) -> Seen {
    match answers(host, asks_volumes) {
        Ok(Answers { api_version, info, swarm, workloads, containers, volumes }) => {
            Seen { state: running(api_version, info, swarm), workloads, containers, volumes }
        }
        Err(state) => Seen::of(state),
    }
}

fn answers(host: &dyn Host, asks_volumes: bool) -> Result<Answers, EngineState> {
    let is_served = is_held_by(&SOCKETS, "dockerd");
    // A socket alone is what a purged engine left behind, or podman's that is called so.
    if !is_served && !is_installed(host) {
        return Err(EngineState::Absent);
    }
    if !host.exists(SOCKET) {
        return Err(EngineState::NotAnswering(format!("{SOCKET} is not there")));
    }
    if !is_served {
        return Err(EngineState::NotAnswering("no dockerd listens at its socket".to_owned()));
    }
    Engine::connect()
        .and_then(|engine| ask(&engine, asks_volumes))
        .map_err(|error| EngineState::NotAnswering(chain(&error)))
}

/// Whether there is a daemon to run.
fn is_installed(host: &dyn Host) -> bool {
    let mut places = PATH.split(':').map(|directory| format!("{directory}/dockerd"));
    places.any(|place| host.exists(&place)) || host.exists(SNAP)
}

/// Whether a running program of this name holds a socket that listens at one of these paths. systemd holds the engine's
/// while it rests, and whoever connects wakes it; a dockerd of somebody's own, rootless or in a container, holds another.
fn is_held_by(paths: &[&str], program: &str) -> bool {
    let listening = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let sockets: BTreeSet<PathBuf> = listening.lines().filter_map(|line| socket_at(line, paths)).collect();
    if sockets.is_empty() {
        return false;
    }
    let holds = |process: &Path| {
        let is_it = || fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == program);
        let descriptors = || fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        is_it()
            && descriptors().any(|one| fs::read_link(one.path()).is_ok_and(|file| sockets.contains(&file)))
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        let is_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        is_process && holds(&entry.path())
    })
}

/// The socket of a line of `/proc/net/unix`, as the links in `/proc/PID/fd` name it: `Num: RefCount Protocol Flags Type St Inode
/// Path`, of which one that listens has the flag `__SO_ACCEPTCON` (`proc_pid_net(5)`).
fn socket_at(line: &str, paths: &[&str]) -> Option<PathBuf> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, "00010000", _, _, inode, path] = words.as_slice() else { return None };
    paths.contains(path).then(|| PathBuf::from(format!("socket:[{inode}]")))
}

struct Answers {
    api_version: String,
    info: SystemInfo,
    swarm: swarm::Lists,
    workloads: Option<Workloads>,
    containers: BTreeMap<String, BTreeSet<Service>>,
    volumes: BTreeMap<String, VolumeFacts>,
}

/// Two trips: what every engine tells, then what only a manager with quorum does.
fn ask(engine: &Engine, asks_volumes: bool) -> Result<Answers, EngineError> {
    let api = engine.api();
    let overlays =
        ListNetworksOptions { filters: Some([("driver".to_owned(), vec!["overlay".to_owned()])].into()) };
    let first = engine.call("tell its state and networks", LOOK * 2, async {
        Ok(futures::join!(
            within(LOOK, api.info()),
            // Without quorum the swarm's networks take as long as `/info`.
            within(LOOK, api.list_networks(Some(overlays))),
            within(LOOK, api.list_containers(None::<ListContainersOptions>)),
            async {
                if asks_volumes {
                    within(LOOK, api.list_volumes(None::<ListVolumesOptions>)).await.ok()
                } else {
                    None
                }
            },
        ))
    })?;
    let info =
        first.0.map_err(|source| EngineError::Refused { attempt: "tell its state".to_owned(), source })?;
    let has_quorum = info.swarm.as_ref().is_some_and(swarm::has_quorum);
    let networks = match first.1 {
        Ok(networks) => networks,
        // The swarm's own cannot be told without it; with it, a list that failed is not an empty one.
        Err(_) if !has_quorum => Vec::new(),
        Err(source) => {
            return Err(EngineError::Refused { attempt: "list its networks".to_owned(), source });
        }
    };
    let mut swarm = swarm::Lists { networks, ..swarm::Lists::default() };
    let mut workloads = None;
    if has_quorum {
        let (tasks, up_to_date);
        // The engine itself tells which tasks are as their services' entries say (docker/cli asks it so).
        let as_entered =
            ListTasksOptions { filters: Some([("_up-to-date".to_owned(), vec!["true".to_owned()])].into()) };
        (swarm.nodes, swarm.services, tasks, up_to_date) =
            engine.call("tell its nodes and services", CALL * 2, async {
                let (nodes, services, tasks, up_to_date) = futures::join!(
                    within(CALL, api.list_nodes(None::<ListNodesOptions>)),
                    within(CALL, api.list_services(None::<ListServicesOptions>)),
                    within(CALL, api.list_tasks(None::<ListTasksOptions>)),
                    within(CALL, api.list_tasks(Some(as_entered))),
                );
                Ok((nodes?, services?, tasks?, up_to_date?))
            })?;
        workloads = Some(workloads::workloads(&swarm.nodes, &swarm.services, tasks, &up_to_date));
    }
    // Only a warning comes of them.
    let containers = published(first.2.unwrap_or_default());
    let volumes = first.3.and_then(|told| told.volumes).unwrap_or_default();
    let volumes = volumes.iter().filter_map(over_nfs).collect();
    Ok(Answers { api_version: engine.api_version().to_owned(), info, swarm, workloads, containers, volumes })
}

/// A volume of the local driver that mounts something by NFS.
fn over_nfs(volume: &Volume) -> Option<(String, VolumeFacts)> {
    let option = |key: &str| volume.options.get(key).cloned().unwrap_or_default();
    let is_it = volume.driver == "local" && option("type").starts_with("nfs");
    let facts = VolumeFacts { device: option("device"), options: option("o") };
    is_it.then(|| (volume.name.clone(), facts))
}

/// What containers publish beyond this host, but for those of services.
fn published(containers: Vec<ContainerSummary>) -> BTreeMap<String, BTreeSet<Service>> {
    let is_of_a_service = |container: &ContainerSummary| {
        container.labels.as_ref().is_some_and(|labels| labels.contains_key(OF_A_SERVICE))
    };
    let plain = containers.into_iter().filter(|container| !is_of_a_service(container));
    let of_container = |container: ContainerSummary| {
        let name = container.names?.first()?.trim_start_matches('/').to_owned();
        let ports = container.ports?.into_iter().filter_map(|port| {
            let is_here = |ip: &String| ip.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
            let public = port.public_port.filter(|_| !port.ip.as_ref().is_some_and(is_here))?;
            match port.typ? {
                PortSummaryTypeEnum::TCP => Some(Service::Tcp(public)),
                PortSummaryTypeEnum::UDP => Some(Service::Udp(public)),
                _ => None,
            }
        });
        Some((name, ports.collect::<BTreeSet<_>>())).filter(|(_, ports)| !ports.is_empty())
    };
    plain.filter_map(of_container).collect()
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, bollard::errors::Error> {
    timeout(deadline, call).await.unwrap_or(Err(bollard::errors::Error::RequestTimeoutError))
}

fn running(api_version: String, info: SystemInfo, swarm: swarm::Lists) -> EngineState {
    let version_text = info.server_version.unwrap_or_default();
    EngineState::Running {
        version: EngineVersion::parse(&version_text),
        version_text,
        api_version,
        storage_driver: info.driver.unwrap_or_default(),
        live_restore: info.live_restore_enabled.unwrap_or_default(),
        swarm: Box::new(swarm::facts(info.swarm.unwrap_or_default(), swarm)),
    }
}

/// An error with its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn an_engine_is_absent_without_daemon_and_socket() {
        assert_eq!(look(&FakeHost::default(), false).state, EngineState::Absent);
    }

    #[test]
    fn what_plain_containers_publish_beyond_this_host_is_told() {
        let containers = serde_json::from_str(
            r#"[{"Names": ["/panel"], "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                  {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                  {"IP": "127.0.0.1", "PrivatePort": 90, "PublicPort": 9090, "Type": "tcp"},
                  {"PrivatePort": 443, "Type": "tcp"}, {"PrivatePort": 53, "PublicPort": 53, "Type": "udp"}]},
                {"Names": ["/inner"], "Ports": [{"PrivatePort": 5432, "Type": "tcp"}]},
                {"Names": ["/web.1.x"], "Labels": {"com.docker.swarm.service.id": "s"},
                 "Ports": [{"PrivatePort": 80, "PublicPort": 80, "Type": "tcp"}]}]"#,
        );
        let expected = [("panel".to_owned(), [Service::Tcp(8080), Service::Udp(53)].into())].into();
        assert_eq!(published(containers.unwrap()), expected);
    }

    #[test]
    fn a_daemon_without_its_socket_does_not_answer() {
        for place in ["/usr/sbin/dockerd", "/usr/local/bin/dockerd", SNAP] {
            let host = FakeHost::default().with_file(place, "");
            assert_eq!(look(&host, false).state, EngineState::NotAnswering(format!("{SOCKET} is not there")));
        }
    }

    #[test]
    fn a_socket_whose_daemon_rests_is_left_alone() {
        let host = FakeHost::default().with_file(SOCKET, "").with_file("/usr/bin/dockerd", "");
        assert_eq!(
            look(&host, false).state,
            EngineState::NotAnswering("no dockerd listens at its socket".to_owned())
        );
    }

    #[test]
    fn a_socket_without_a_daemon_is_no_engine() {
        let podman = FakeHost::default().with_file(SOCKET, "").with_file("/usr/bin/docker", "");
        assert_eq!(look(&podman, false).state, EngineState::Absent);
    }

    #[test]
    fn a_socket_is_used_only_where_the_program_itself_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let path = socket.to_str().unwrap();
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        assert!(!is_held_by(&[path], own.trim_end()), "nobody listens");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(is_held_by(&["/run/other.sock", path], own.trim_end()));
        assert!(!is_held_by(&[path], "dockerd"), "systemd's, or podman's");
        assert!(!is_held_by(&["/run/other.sock"], own.trim_end()), "another socket");
        drop(listener);
        assert!(!is_held_by(&[path], own.trim_end()), "left behind");
    }
}
