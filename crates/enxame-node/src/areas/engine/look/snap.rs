//! The snap called `docker`, an engine beside the one that is wanted.

use std::fs;
use std::path::Path;

use enxame_core::facts::DockerSnap;

use crate::host::Host;

/// Docker's snap keeps here what its packages keep in `/var/lib/docker` (docker-snap, `--data-root`).
const SNAP_DATA: &str = "/var/snap/docker/common/var-lib-docker";

/// Looks for it, and for what would go with it.
pub(crate) fn look(host: &dyn Host) -> DockerSnap {
    match host.exists("/snap/docker") || has_snap_file() {
        false => DockerSnap::Absent,
        true if has_data(host, Path::new(SNAP_DATA)) => DockerSnap::WithData,
        true => DockerSnap::Empty,
    }
}

/// Whether there are volumes or containers (each a directory; the engine itself keeps `metadata.db` and a device node beside
/// the volumes) or a swarm's state. What cannot be looked into is not taken for empty.
fn has_data(host: &dyn Host, data: &Path) -> bool {
    let holds_directories = |name: &str| match fs::read_dir(data.join(name)) {
        Ok(entries) => entries.into_iter().any(|entry| entry.map_or(true, |entry| entry.path().is_dir())),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    holds_directories("volumes")
        || holds_directories("containers")
        || host.exists(&data.join("swarm/docker-state.json").display().to_string())
}

/// Whether snapd keeps a revision of `docker`, be it disabled.
fn has_snap_file() -> bool {
    fs::read_dir("/var/lib/snapd/snaps").is_ok_and(|entries| {
        entries.flatten().any(|entry| is_docker_snap(&entry.file_name().to_string_lossy()))
    })
}

/// `docker_2976.snap`, and neither `docker-compose_1.snap` nor a partial download.
fn is_docker_snap(file: &str) -> bool {
    file.starts_with("docker_") && file.strip_suffix(".snap").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn the_snaps_volumes_and_swarm_are_its_data() {
        let data = tempfile::tempdir().unwrap();
        let has_data = |host: &FakeHost| has_data(host, data.path());
        fs::create_dir(data.path().join("volumes")).unwrap();
        fs::write(data.path().join("volumes/metadata.db"), "").unwrap();
        assert!(!has_data(&FakeHost::default()));
        let state = data.path().join("swarm/docker-state.json").display().to_string();
        assert!(has_data(&FakeHost::default().with_file(&state, "{}")));
        fs::create_dir_all(data.path().join("containers/0c1d")).unwrap();
        assert!(has_data(&FakeHost::default()));
        fs::remove_dir_all(data.path().join("containers")).unwrap();
        // Could not look is not empty.
        fs::write(data.path().join("containers"), "").unwrap();
        assert!(has_data(&FakeHost::default()));
        fs::remove_file(data.path().join("containers")).unwrap();
        fs::create_dir(data.path().join("volumes/db-data")).unwrap();
        assert!(has_data(&FakeHost::default()));
    }

    #[test]
    fn the_docker_snap_is_told_from_its_namesakes() {
        assert!(is_docker_snap("docker_2976.snap"));
        assert!(!is_docker_snap("docker-compose_1.snap") && !is_docker_snap("docker_2976.snap.partial"));
    }
}
