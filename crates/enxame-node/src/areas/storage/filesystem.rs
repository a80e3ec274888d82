//! A file that holds a file system, mounted now and at boot.

use std::path::Path;
use std::time::Duration;

use enxame_core::areas::storage::filesystem::Action;
use enxame_core::areas::storage::{IMAGE_PATH, MOUNT_UNIT};

use super::{bring_up, systemctl};
use crate::actuate::{ActuateError, Context};
use crate::host::Command;

/// What is being made: it is moved to its place once it is whole.
const PARTIAL: &str = "/srv/nfs/swarm_data.ext4.partial";
/// What the kernel zeroes later, through the loop device, it gives back to the file system around it (mkfs.ext4(8)).
const EAGER: &str = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
/// Allocating and formatting on a slow disk.
const DISK: Duration = Duration::from_secs(900);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let bytes = action.bytes.to_string();
    let run =
        |on: &Context<'_>, words: &[&str]| on.host.run_ok(&Command::new(words.iter().copied()).within(DISK));
    if on.host.exists(IMAGE_PATH) {
        // As large as it is to be, or larger; what is in it stays.
        run(on, &["fallocate", "--length", &bytes, IMAGE_PATH])?;
    } else {
        (on.progress)("making a file system for the shared files");
        on.host.remove(Path::new(PARTIAL))?;
        run(on, &["mkdir", "--parents", "/srv/nfs"])?;
        run(on, &["fallocate", "--length", &bytes, PARTIAL])?;
        run(on, &["chmod", "0600", PARTIAL])?;
        run(on, &["mkfs.ext4", "-q", "-F", "-m", "0", "-E", EAGER, "-L", "enxame-files", PARTIAL])?;
        // What it made of zeros are holes now.
        run(on, &["fallocate", "--length", &bytes, PARTIAL])?;
        run(on, &["sync", PARTIAL])?;
        run(on, &["mv", "--no-clobber", "--no-target-directory", PARTIAL, IMAGE_PATH])?;
    }
    on.host.write_owned(&action.unit)?;
    systemctl(on, &["daemon-reload"])?;
    systemctl(on, &["enable", "--quiet", MOUNT_UNIT])?;
    bring_up(on, "start", MOUNT_UNIT)?;
    let device = run(on, &["losetup", "--noheadings", "--output", "NAME", "--associated", IMAGE_PATH])?;
    let Some(device) = device.lines().map(str::trim).find(|line| !line.is_empty()) else {
        let message = format!("{MOUNT_UNIT} is up, and no loop device has {IMAGE_PATH}");
        return Err(ActuateError::wrong(message, "on the node: losetup --list, findmnt /srv/nfs/swarm_data"));
    };
    run(on, &["losetup", "--set-capacity", device])?;
    // Nothing where it is as large as its device.
    run(on, &["resize2fs", device])?;
    Ok(())
}
