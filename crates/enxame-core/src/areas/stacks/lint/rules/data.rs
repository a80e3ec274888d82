//! Where data is, and whether it is there tomorrow.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::{Found, Scope, Severity};
use super::placement::candidates;
use crate::areas::stacks::compose::{ComposeFile, Mount, MountKind, Node, Service};

const SHARED_MEMORY: &str = "/dev/shm";

/// A named volume's entry; `None` where it is another's (`external`), or is not there.
fn own_volume<'a>(file: &'a ComposeFile, name: &str) -> Option<&'a Node> {
    let entry = file.entry("volumes", name)?;
    entry.get("external").is_none_or(|external| external.truth() == Some(false)).then_some(entry)
}

fn option<'a>(entry: &'a Node, key: &str) -> Option<&'a Node> {
    entry.at_path(&["driver_opts", key])
}

/// Whether it is a directory of each node.
fn is_local(entry: &Node) -> bool {
    entry.get("driver").is_none_or(|driver| driver.text() == Some("local")) && option(entry, "type").is_none()
}

fn is_nfs(entry: &Node) -> bool {
    option(entry, "type").and_then(Node::text).is_some_and(|kind| kind.starts_with("nfs"))
}

/// `key=value` or `flag` of a mount's options.
fn mount_option<'a>(options: &'a str, key: &str) -> Option<&'a str> {
    options.split(',').map(str::trim).find_map(|one| {
        let (name, value) = one.split_once('=').unwrap_or((one, ""));
        (name == key).then_some(value)
    })
}

/// Data that stays behind when the task goes to another node.
pub(super) fn unpinned_volume(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services() {
        if !service.is_replicated() {
            continue;
        }
        let is_free = match scope.cluster {
            Some(cluster) => candidates(cluster, service).len() > 1,
            None => service.constraints().is_empty(),
        };
        if !is_free {
            continue;
        }
        for mount in service.mounts() {
            let MountKind::Volume(name) = &mount.kind else { continue };
            if mount.is_read_only || !own_volume(scope.file, name).is_some_and(is_local) {
                continue;
            }
            let severity = if scope.cluster.is_some() { Severity::Error } else { Severity::Warning };
            found.graded(severity).of(
                service,
                mount.at,
                format!("the volume {name} is a directory of each node: on another node the service starts with an empty one"),
                "a placement constraint that one node meets, e.g. node.labels.db==true; or a volume of shared files",
            );
        }
    }
}

/// Docker keeps a volume's first options for good, whatever another stack says.
pub(super) fn volume_conflict(scope: &Scope<'_>, found: &mut Found<'_>) {
    for (key, entry) in scope.file.section("volumes") {
        let Some(name) = entry.get("name").and_then(Node::text) else { continue };
        let others = scope
            .all
            .iter()
            .flat_map(|file| file.section("volumes").iter().map(move |(key, entry)| (file, key, entry)));
        for (file, other_key, other) in others {
            if other.get("name").and_then(Node::text) != Some(name) || options(other) == options(entry) {
                continue;
            }
            found.at(
                key.at,
                format!(
                    "the volume {name} has other options at {}:{}: each node keeps those of whichever stack came first",
                    file.name,
                    other_key.at.line()
                ),
                "one entry for both, or another name",
            );
            break;
        }
    }
}

fn options(entry: &Node) -> Option<BTreeMap<&str, Option<String>>> {
    // One that is another stack's has none of its own.
    if entry.get("external").is_some_and(|external| external.truth() != Some(false)) {
        return None;
    }
    let pairs = entry.get("driver_opts").map_or(&[][..], Node::entries);
    Some(pairs.iter().map(|(key, value)| (key.name.as_str(), value.written())).collect())
}

fn mounts_of<'a>(scope: &'a Scope<'_>, volume: &'a str) -> impl Iterator<Item = (Service<'a>, Mount)> {
    scope.services().flat_map(move |service| {
        let of_volume = move |kind: &MountKind| matches!(kind, MountKind::Volume(name) if name == volume);
        service
            .mounts()
            .into_iter()
            .filter(move |mount| of_volume(&mount.kind))
            .map(move |mount| (service, mount))
    })
}

/// What a mount of shared files needs.
pub(super) fn nfs_options(scope: &Scope<'_>, found: &mut Found<'_>) {
    for (key, entry) in scope.file.section("volumes").iter().filter(|(_, entry)| is_nfs(entry)) {
        if let Some(node) = option(entry, "o") {
            let Some(text) = node.text() else { continue };
            if mount_option(text, "addr").is_none() {
                found.at(
                    node.at,
                    format!("the volume {} names no server: every task fails to mount it", key.name),
                    "o: addr=ADDRESS,nfsvers=4.2,hard",
                );
            }
            let version = mount_option(text, "nfsvers").or_else(|| mount_option(text, "vers"));
            let by_type = option(entry, "type").and_then(Node::text) == Some("nfs4");
            if version.is_none_or(|version| !version.starts_with('4')) && !by_type {
                found.graded(Severity::Warning).at(
                    node.at,
                    format!(
                        "the volume {} does not say nfsvers=4.2: other versions need ports that are shut",
                        key.name
                    ),
                    "o: addr=ADDRESS,nfsvers=4.2,hard",
                );
            }
            let is_soft = mount_option(text, "soft").is_some();
            if is_soft && mounts_of(scope, &key.name).any(|(_, mount)| !mount.is_read_only) {
                found.graded(Severity::Warning).at(
                    node.at,
                    format!("the volume {} is soft: a write that is not answered in time is lost, with an error that few programs look at", key.name),
                    "hard, which waits for the server",
                );
            }
        } else {
            found.at(
                key.at,
                format!("the volume {} names no server: every task fails to mount it", key.name),
                "driver_opts: {o: \"addr=ADDRESS,nfsvers=4.2,hard\", …}",
            );
        }
        for (service, mount) in mounts_of(scope, &key.name) {
            if !mount.is_nocopy {
                found.graded(Severity::Warning).of(
                    service,
                    mount.at,
                    format!("without nocopy the first task copies what its image has there into the shared files of {}, or fails to", key.name),
                    "{type: volume, source: …, target: …, volume: {nocopy: true}}, or :nocopy",
                );
            }
        }
    }
}

/// A database over the network: slow, and only as whole as the mount.
pub(super) fn nfs_database(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services().filter(|service| service.is_database()) {
        for mount in service.mounts() {
            let MountKind::Volume(name) = &mount.kind else { continue };
            let Some(entry) = own_volume(scope.file, name).filter(|entry| is_nfs(entry)) else { continue };
            let options = option(entry, "o").and_then(Node::text).unwrap_or_default();
            let (severity, how) = if mount_option(options, "soft").is_some() {
                (Severity::Error, "soft: an answer that is late destroys it")
            } else {
                (Severity::Warning, "every commit waits for another server")
            };
            found.graded(severity).of(
                service,
                mount.at,
                format!("a database in shared files ({name}), {how}"),
                "a local volume, with a placement constraint that one node meets, and backups",
            );
        }
    }
}

/// Where this major of PostgreSQL keeps its data: elsewhere it is in a volume without a name, new for every task.
pub(super) fn postgres_data(scope: &Scope<'_>, found: &mut Found<'_>) {
    const OLD: &str = "/var/lib/postgresql/data";
    const NEW: &str = "/var/lib/postgresql";
    for service in scope.services() {
        let Some(image) = service.image().filter(|image| image.base == "postgres") else { continue };
        let Some(major) = image.major() else { continue };
        let environment = service.pairs(&["environment"]);
        if environment.iter().any(|pair| pair.name == "PGDATA") {
            continue;
        }
        let mounts = service.mounts();
        let at = |target: &str| mounts.iter().find(|mount| mount.target.trim_end_matches('/') == target);
        let (wrong, right) = if major >= 18 { (OLD, NEW) } else { (NEW, OLD) };
        if at(right).is_some() {
            continue;
        }
        if let Some(mount) = at(wrong) {
            found.of(
                service,
                mount.at,
                format!("PostgreSQL {major} keeps its data below {right}, not in what is mounted at {wrong}: it is lost with the task"),
                format!("mount it at {right}"),
            );
        }
    }
}

/// PostgreSQL with Docker's 64 MiB of shared memory.
pub(super) fn small_shm(scope: &Scope<'_>, found: &mut Found<'_>) {
    for service in scope.services().filter(|service| service.is_postgres()) {
        let is_tmpfs = service.get(&["tmpfs"]).is_some_and(|tmpfs| {
            let mut paths = tmpfs.items().iter().chain([tmpfs]).filter_map(Node::text);
            paths.any(|path| path.split(':').next() == Some(SHARED_MEMORY))
        });
        if !is_tmpfs && service.mounts().iter().all(|mount| mount.target != SHARED_MEMORY) {
            found.of(
                service,
                service.key.at,
                "PostgreSQL has 64 MiB of shared memory: parallel queries fail with `could not resize shared memory segment`",
                "volumes: [{type: tmpfs, target: /dev/shm, tmpfs: {size: 268435456}}]",
            );
        }
    }
}

/// A database that is killed in the middle of its shutdown.
pub(super) fn short_grace(scope: &Scope<'_>, found: &mut Found<'_>) {
    const CLEAN: Duration = Duration::from_secs(60);
    for service in scope.services().filter(|service| service.is_database()) {
        let written = service.get(&["stop_grace_period"]);
        let grace = match written {
            None => Some(Duration::from_secs(10)),
            Some(_) => service.duration(&["stop_grace_period"]),
        };
        if grace.is_some_and(|grace| grace < CLEAN) {
            found.of(
                service,
                written.map_or(service.key.at, |node| node.at),
                "a database is killed this long after it was told to stop, in the middle of its shutdown",
                "stop_grace_period: 120s",
            );
        }
    }
}
