//! What watches over a change that is not confirmed: a timer now, a unit at the next boot.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use enxame_core::facts::FileFacts;
use enxame_core::limits::DEAD_MAN;

use super::{DIRECTORY, GOING_BACK, MANIFEST, system};
use crate::actuate::ActuateError;
use crate::host::{Command, Host};
use crate::program::PROGRAM;

/// The timer, and the service it starts.
const UNIT: &str = "enxame-dead-man";
/// systemd keeps the file of what `systemd-run` made there for as long as the timer is loaded (systemd.unit(5)).
const TIMER: &str = "/run/systemd/transient/enxame-dead-man.timer";
const BOOT_UNIT: &str = "/etc/systemd/system/enxame-dead-man-boot.service";
const BOOT_LINK: &str = "/etc/systemd/system/sysinit.target.wants/enxame-dead-man-boot.service";

/// Lets the next boot go back before the network comes.
pub(super) fn wait_for_the_boot(host: &dyn Host) -> Result<(), ActuateError> {
    host.write(Path::new(BOOT_UNIT), &boot_unit(), 0o644)?;
    link_boot_unit().map_err(system(format!("enable {BOOT_UNIT}")))
}

fn boot_unit() -> String {
    format!(
        "{}[Unit]\nDescription=Put back a firewall change that nobody confirmed before the machine went down\n\
         DefaultDependencies=no\nAfter=local-fs.target\n\
         Before=network-pre.target ufw.service enxame-guard.service\n\
         ConditionPathExists=|{DIRECTORY}/{MANIFEST}\nConditionPathExists=|{DIRECTORY}/{GOING_BACK}\n\n\
         [Service]\nType=oneshot\nExecStart={PROGRAM} put-back --at-boot\n",
        enxame_core::files::HEADER
    )
}

fn link_boot_unit() -> io::Result<()> {
    let directory = Path::new(BOOT_LINK).parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    match symlink(BOOT_UNIT, BOOT_LINK) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // On the disk before the manifest, which counts on it.
        _ => File::open(directory)?.sync_all(),
    }
}

/// Starts the timer.
pub(super) fn start_the_timer(host: &dyn Host) -> Result<(), ActuateError> {
    // A timer of an earlier run that has not been collected yet would keep the name.
    drop(host.run(&Command::new(["systemctl", "stop", &format!("{UNIT}.timer")])));
    drop(host.run(&Command::new(["systemctl", "reset-failed", &format!("{UNIT}.service")])));
    let seconds = format!("--on-active={}", DEAD_MAN.as_secs());
    host.run_ok(&Command::new([
        "systemd-run",
        "--quiet",
        "--collect",
        &format!("--unit={UNIT}"),
        &seconds,
        // Again and again, until it has worked or was given up.
        "--on-unit-inactive=15",
        "--timer-property=AccuracySec=1s",
        PROGRAM,
        "put-back",
    ]))?;
    Ok(())
}

/// Whether the timer will try again.
pub(super) fn timer_is_there(host: &dyn Host) -> bool {
    host.read(Path::new(TIMER)) != FileFacts::Absent
}

/// Takes timer and boot unit away. Without a manifest they do nothing, so what cannot be taken away does no harm.
pub(super) fn disarm(host: &dyn Host) {
    drop(host.remove(Path::new(BOOT_LINK)));
    drop(host.remove(Path::new(BOOT_UNIT)));
    // Every lock of a node comes by here, and mostly there is none.
    if timer_is_there(host) {
        drop(host.run(&Command::new(["systemctl", "stop", "--no-block", &format!("{UNIT}.timer")])));
    }
}
