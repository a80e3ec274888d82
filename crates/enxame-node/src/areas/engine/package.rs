//! The engine's packages (manual 5.1, corrected): from Docker's repository, whose key's fingerprint is checked, or
//! the distribution's; other builds of it removed; version pinned and held, because unattended upgrades would
//! otherwise stop the swarm node by node.

use std::path::Path;
use std::time::Duration;

use enxame_core::areas::engine::package::{Action, KEYRING, OTHER_SOURCES, Repository, SOURCES, UNIT};
use enxame_core::facts::FileFacts;

use crate::actuate::{ActuateError, Context, PackageLists};
use crate::host::Command;
use crate::{apt, swarm};

/// Gone with the next reboot.
const GPG_HOME: &str = "/run/enxame-gpg";
const START_DEADLINE: Duration = Duration::from_secs(180);
/// snapd saves a snapshot of the snap's data before it removes it.
const SNAP_DEADLINE: Duration = Duration::from_secs(900);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    if let Some(repository) = &action.repository {
        add_repository(on, repository)?;
    }
    if action.remove_snap {
        // Nothing brings it back: what takes its place is here before it goes.
        apt::fetch(on, &action.remove, &action.install)?;
        on.host.run_ok(&Command::new(["snap", "remove", "docker"]).within(SNAP_DEADLINE))?;
    }
    apt::replace(on, &action.remove, &action.install)?;
    apt::hold(on, &action.hold)?;
    if !action.start {
        return Ok(());
    }
    on.host.run_ok(&Command::new(["systemctl", "enable", "--now", UNIT]).within(START_DEADLINE))?;
    let engine = on.engine_within(START_DEADLINE)?;
    if action.in_swarm {
        swarm::wait_until_manager(&engine, START_DEADLINE)?;
    }
    Ok(())
}

fn add_repository(on: &mut Context<'_>, repository: &Repository) -> Result<(), ActuateError> {
    (on.progress)("fetching the key of Docker's repository");
    // Beside a file of the user's for the same repository, ours keeps apt from doing anything at all.
    on.host.remove(Path::new(SOURCES))?;
    apt::install(on, &["ca-certificates".to_owned(), "gpg".to_owned()])?;
    let fetched = "/var/lib/enxame/docker-key.asc";
    let fetch = Command::new(["/usr/lib/apt/apt-helper", "download-file", &repository.key_url, fetched]);
    on.host.run_ok(&fetch.within(Duration::from_secs(60)))?;
    // gpg shows nothing without a home for the keyring that it does not need: not root's, where the user's may be.
    on.host.run_ok(&Command::new(["install", "-d", "-m", "700", GPG_HOME]))?;
    let show =
        ["gpg", "--batch", "--no-options", "--homedir", GPG_HOME, "--show-keys", "--with-colons", fetched];
    let listing = on.host.run_ok(&Command::new(show))?;
    let found = primary_fingerprints(&listing);
    if found != [repository.key_fingerprint.as_str()] {
        let hint = "someone else's key: nothing was installed. If Docker changed its key, write the new fingerprint \
                    into engine.repository.key_fingerprint";
        let message = format!(
            "the repository's key is {}, not {}",
            if found.is_empty() { "none".to_owned() } else { found.join(" and ") },
            repository.key_fingerprint
        );
        return Err(ActuateError::wrong(message, hint));
    }
    let path = Path::new(fetched);
    let key = on.host.read(path);
    let key = key.content().ok_or_else(|| ActuateError::wrong("the repository's key is not text", ""))?;
    on.host.write(Path::new(KEYRING), key, 0o644)?;
    on.host.remove(path)?;
    let others = OTHER_SOURCES.map(|path| (Path::new(path), on.host.read(Path::new(path))));
    for (path, _) in &others {
        on.host.remove(path)?;
    }
    on.host.write_owned(&repository.sources)?;
    if let Err(error) = apt::can_read_its_sources(on) {
        on.host.remove(Path::new(SOURCES))?;
        for (path, file) in others {
            if let FileFacts::Text { content, mode, .. } = file {
                on.host.write(path, &content, mode)?;
            }
        }
        let hint = "another file names Docker's repository with another key: take that line out (the message names it)";
        return Err(ActuateError::wrong(format!("apt refuses the repository: {error}"), hint));
    }
    *on.package_lists = PackageLists::NotFetched;
    Ok(())
}

/// The fingerprints of the primary keys in gpg's colon listing (`doc/DETAILS` of gpg's source: `fpr` follows `pub`).
fn primary_fingerprints(listing: &str) -> Vec<&str> {
    let mut lines = listing.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("pub:") {
            found.extend(
                lines.by_ref().find(|line| line.starts_with("fpr:")).and_then(|line| line.split(':').nth(9)),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::primary_fingerprints;

    #[test]
    fn only_primary_keys_count_as_the_repositorys_key() {
        let listing = "pub:-:4096:1:8D81803C0EBFCD88:1487788586:::-:::scESA::::::23::0:\n\
            fpr:::::::::9DC858229FC7DD38854AE2D88D81803C0EBFCD88:\n\
            uid:-::::1487792064::A1::Docker Release (CE deb) <docker@docker.com>::::::::::0:\n\
            sub:-:4096:1:7EA0A9C3F273FCD8:1487788586::::::s::::::23:\n\
            fpr:::::::::D3306A018370199E527AE7997EA0A9C3F273FCD8:\n";
        assert_eq!(primary_fingerprints(listing), ["9DC858229FC7DD38854AE2D88D81803C0EBFCD88"]);
        assert_eq!(primary_fingerprints("tru::1\n"), Vec::<&str>::new());
    }
}
