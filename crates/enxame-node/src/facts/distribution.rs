//! What the distribution brings that works against or beside enxame: packages, cloud-init, snaps, upgrades.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use enxame_core::facts::{CloudInit, DockerSnap, PackageFacts};

use super::{exists, long_text, packages, text};
use crate::host::Host;
use serde::Deserialize;

/// Docker's snap keeps here what its packages keep in `/var/lib/docker` (docker-snap, `--data-root`).
const SNAP_DATA: &str = "/var/snap/docker/common/var-lib-docker";
/// Where cloud-init keeps what the provider gave the server, in one piece (cloud-init, `helpers.py`, `Paths.lookups`).
const GIVEN: [(&str, &str); 3] = [
    ("user-data", "/var/lib/cloud/instance/cloud-config.txt"),
    ("vendor-data", "/var/lib/cloud/instance/vendor-cloud-config.txt"),
    ("vendor-data2", "/var/lib/cloud/instance/vendor2-cloud-config.txt"),
];
const UNATTENDED_UPGRADES: &str = "unattended-upgrades";

/// What was seen of the distribution.
pub(super) struct Distribution {
    /// The packages that were asked for.
    pub(super) packages: BTreeMap<String, PackageFacts>,
    /// cloud-init.
    pub(super) cloud_init: CloudInit,
    /// Whether the snap called `docker` is there.
    pub(super) docker_snap: DockerSnap,
    /// Whether unattended upgrades are installed and enabled.
    pub(super) upgrades_unattended: bool,
}

/// Looks at dpkg's status once, and at a few files.
pub(super) fn look(host: &dyn Host, wanted: &BTreeSet<String>) -> Distribution {
    let mut names = wanted.clone();
    names.insert(UNATTENDED_UPGRADES.to_owned());
    let mut packages = packages::packages(&long_text(host, packages::STATUS), &names);
    let has_upgrades = packages.get(UNATTENDED_UPGRADES).is_some_and(|package| package.installed.is_some());
    packages.retain(|name, _| wanted.contains(name));
    Distribution {
        packages,
        cloud_init: CloudInit {
            is_active: exists(host, "/usr/bin/cloud-init") && !exists(host, "/etc/cloud/cloud-init.disabled"),
            hosts_rewritten_by: GIVEN
                .iter()
                .filter(|(_, path)| rewrites_hosts(&long_text(host, path)))
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        },
        docker_snap: match exists(host, "/snap/docker") || has_snap_file() {
            false => DockerSnap::Absent,
            true if snap_has_data(host, Path::new(SNAP_DATA)) => DockerSnap::WithData,
            true => DockerSnap::Empty,
        },
        upgrades_unattended: has_upgrades
            && enables_upgrades(&text(host, "/etc/apt/apt.conf.d/20auto-upgrades")),
    }
}

/// Whether a cloud-config makes cloud-init write `/etc/hosts` anew at every boot. Nothing else of it is kept: it may hold
/// passwords.
fn rewrites_hosts(cloud_config: &str) -> bool {
    #[derive(Default, Deserialize)]
    struct CloudConfig {
        #[serde(default)]
        manage_etc_hosts: serde_json::Value,
    }
    // What cloud-init could not read either makes it do nothing.
    let given: CloudConfig = serde_saphyr::from_str(cloud_config).unwrap_or_default();
    let text = match given.manage_etc_hosts {
        serde_json::Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    };
    // cloud-init, `util.translate_bool`, and `cc_update_etc_hosts`, which takes `template` for true.
    ["true", "1", "on", "yes", "template"].contains(&text.as_str())
}

/// Whether there are volumes or containers (each a directory; the engine itself keeps `metadata.db` and a device node beside
/// the volumes) or a swarm's state. What cannot be looked into is not taken for empty.
fn snap_has_data(host: &dyn Host, data: &Path) -> bool {
    let holds_directories = |name: &str| match fs::read_dir(data.join(name)) {
        Ok(entries) => entries.into_iter().any(|entry| entry.map_or(true, |entry| entry.path().is_dir())),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    holds_directories("volumes")
        || holds_directories("containers")
        || exists(host, &data.join("swarm/docker-state.json").display().to_string())
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

/// Whether apt's configuration turns unattended upgrades on; the last line that mentions them counts.
fn enables_upgrades(configuration: &str) -> bool {
    configuration
        .lines()
        .filter_map(|line| line.trim().strip_prefix("APT::Periodic::Unattended-Upgrade"))
        .filter(|rest| rest.starts_with([' ', '\t', '"']))
        .map(|rest| rest.trim().trim_end_matches(';').trim().trim_matches('"'))
        .next_back()
        .is_some_and(|value| !matches!(value, "" | "0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    const STATUS: &str = "Package: unattended-upgrades\nStatus: install ok installed\nVersion: 2.9.1\n\n\
                          Package: curl\nStatus: install ok installed\nVersion: 7.88.1-10\n";
    const ENABLED: &str =
        "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";

    #[test]
    fn unattended_upgrades_need_the_package_and_its_switch() {
        let with = |status: &str, switch: &str| {
            let host = FakeHost::default()
                .with_file(packages::STATUS, status)
                .with_file("/etc/apt/apt.conf.d/20auto-upgrades", switch);
            look(&host, &BTreeSet::new()).upgrades_unattended
        };
        assert!(with(STATUS, ENABLED));
        assert!(!with(STATUS, "APT::Periodic::Unattended-Upgrade \"0\";\n"));
        assert!(!with(STATUS, "// APT::Periodic::Unattended-Upgrade \"1\";\n"));
        assert!(!with("", ENABLED));
    }

    #[test]
    fn only_the_packages_asked_for_are_told() {
        let host = FakeHost::default().with_file(packages::STATUS, STATUS);
        let seen = look(&host, &BTreeSet::from(["curl".to_owned(), "wget".to_owned()]));
        assert_eq!(seen.packages.keys().collect::<Vec<_>>(), ["curl"]);
    }

    #[test]
    fn what_the_provider_gave_is_looked_at_for_what_rewrites_hosts() {
        for (text, rewrites) in [
            ("#cloud-config\npassword: secret\nmanage_etc_hosts: true\n", true),
            ("manage_etc_hosts: 'True'", true),
            ("manage_etc_hosts: yes", true),
            ("manage_etc_hosts: template", true),
            ("manage_etc_hosts: localhost", false),
            ("manage_etc_hosts: false", false),
            ("packages: [curl]\n", false),
            ("", false),
            ("no: [yaml", false),
        ] {
            let host = FakeHost::default().with_file(GIVEN[1].1, text);
            let seen = look(&host, &BTreeSet::new()).cloud_init.hosts_rewritten_by;
            assert_eq!(seen, if rewrites { vec!["vendor-data".to_owned()] } else { Vec::new() }, "{text}");
        }
    }

    #[test]
    fn cloud_init_is_active_until_it_is_disabled() {
        let host = || FakeHost::default().with_file("/usr/bin/cloud-init", "#!/usr/bin/python3\n");
        let is_active = |host: FakeHost| look(&host, &BTreeSet::new()).cloud_init.is_active;
        assert!(is_active(host()));
        assert!(!is_active(host().with_file("/etc/cloud/cloud-init.disabled", "")));
        assert!(!is_active(FakeHost::default()));
    }

    #[test]
    fn the_snaps_volumes_and_swarm_are_its_data() {
        let data = tempfile::tempdir().unwrap();
        let has_data = |host: &FakeHost| snap_has_data(host, data.path());
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
