//! The dead-man switch: what a change may cut off is put back by the node itself, unless a new connection confirms it.
//!
//! Before the change the node keeps copies of the files it replaces, beside them, so that putting them back is a
//! rename, which needs no room on a full disk. Two things watch: a timer of systemd's, which survives the agent, the
//! SSH session and sshd, and a unit that runs before the network at the next boot. Both run this program's `put-back`.
//! Invariant: while the manifest is there, everything that is needed to go back is; whoever removes it has decided.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use enxame_core::change::ChangeId;
use enxame_core::journal::Event;
use enxame_core::limits::DEAD_MAN;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::actuate::{ActuateError, wait_for};
use crate::host::{Command, Host, HostError};
use crate::journal;

const DIRECTORY: &str = "/var/lib/enxame/dead-man";
/// What is to be put back, unless it is confirmed.
const MANIFEST: &str = "/var/lib/enxame/dead-man/armed.json";
/// The same once going back has begun: too late to confirm.
const GOING_BACK: &str = "/var/lib/enxame/dead-man/going-back.json";
const LOCK: &str = "/var/lib/enxame/dead-man/lock";
/// The program that goes back: a second name of the agent's own file, which stays whatever becomes of the first (old
/// builds are swept away when a new one comes).
const PROGRAM: &str = "/var/lib/enxame/dead-man/enxame";
/// The timer, and the service it starts.
const UNIT: &str = "enxame-dead-man";
const TRANSIENT_UNITS: &str = "/run/systemd/transient";
const BOOT_UNIT: &str = "/etc/systemd/system/enxame-dead-man-boot.service";
const BOOT_LINK: &str = "/etc/systemd/system/sysinit.target.wants/enxame-dead-man-boot.service";

/// How to go back from a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayBack {
    /// The files the change may replace or make.
    pub files: Vec<String>,
    /// What makes the kernel follow the files again; every step is tried, in order.
    pub reload: Vec<Step>,
}

/// A command on the way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What it reads.
    pub stdin: String,
    /// Whether it may find that there is nothing to do. An earlier build's manifest does not say.
    #[serde(default)]
    pub may_fail: bool,
}

impl Step {
    /// A command that reads nothing.
    pub fn new<const N: usize>(argv: [&str; N]) -> Self {
        Self { argv: argv.map(str::to_owned).to_vec(), stdin: String::new(), may_fail: false }
    }

    /// A command that has something to do only where the change got far enough.
    #[must_use]
    pub fn where_done<const N: usize>(argv: [&str; N]) -> Self {
        Self { may_fail: true, ..Self::new(argv) }
    }

    /// A command that reads `stdin`.
    pub fn reading<const N: usize>(argv: [&str; N], stdin: impl Into<String>) -> Self {
        Self { stdin: stdin.into(), ..Self::new(argv) }
    }
}

/// What the manifest holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Armed {
    /// The change that waits for its confirmation.
    pub change: String,
    /// Who makes it.
    operator: String,
    kept: Vec<Kept>,
    reload: Vec<Step>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    path: PathBuf,
    /// Its copy; `None` where there was no such file.
    copy: Option<PathBuf>,
}

/// When the way back is gone: by the timer, at boot, or because the operator's side asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The machine is starting: the files are enough, what they say is loaded after this.
    AtBoot,
    /// The machine runs.
    Now,
}

fn system(attempt: String) -> impl FnOnce(io::Error) -> ActuateError {
    |source| ActuateError::System { attempt, source }
}

/// The change that waits for its confirmation or is being put back, if one does.
///
/// # Errors
/// When there is a manifest that cannot be read.
pub fn unconfirmed() -> Result<Option<Armed>, ActuateError> {
    // The second name comes after the first: nothing is missed in between.
    Ok(read(MANIFEST)?.or(read(GOING_BACK)?))
}

fn read(manifest: &str) -> Result<Option<Armed>, ActuateError> {
    // However long it is: it holds the rules that were live.
    match fs::read(manifest) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(system(format!("read {manifest}"))(error)),
    }
}

/// A change that is being made: as long as this lives, nobody goes back, so that no half of the change comes after.
#[derive(Debug)]
pub struct Making {
    _lock: Flock<File>,
}

/// Makes everything ready to go back, and starts the timer. Nothing of the change is done before.
///
/// # Errors
/// When the way back cannot be made sure of; what was prepared is taken away again.
pub fn arm(
    host: &dyn Host,
    change: &ChangeId,
    operator: &str,
    way: &WayBack,
) -> Result<Making, ActuateError> {
    let lock = lock()?;
    match prepare(host, change, operator, way) {
        Ok(()) => Ok(Making { _lock: lock }),
        Err(error) => {
            // The manifest first: without it nobody goes back to what is stale one day.
            let armed = unconfirmed();
            host.remove(Path::new(MANIFEST))?;
            if let Ok(Some(armed)) = armed {
                remove_copies(&armed);
            }
            disarm(host);
            Err(error)
        }
    }
}

fn prepare(host: &dyn Host, change: &ChangeId, operator: &str, way: &WayBack) -> Result<(), ActuateError> {
    let kept = way.files.iter().map(|file| keep(Path::new(file))).collect::<Result<_, _>>()?;
    let armed =
        Armed { change: change.to_string(), operator: operator.to_owned(), kept, reload: way.reload.clone() };
    keep_program().map_err(system("keep this program's own file".to_owned()))?;
    host.write(Path::new(BOOT_UNIT), boot_unit().as_bytes(), 0o644)?;
    link_boot_unit().map_err(system(format!("enable {BOOT_UNIT}")))?;
    host.write(Path::new(MANIFEST), &serde_json::to_vec(&armed)?, 0o600)?;
    // What cannot be read back would keep nobody from being cut off.
    unconfirmed()?;
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
        // Again and again, until it has worked.
        "--on-unit-inactive=15",
        "--timer-property=AccuracySec=1s",
        PROGRAM,
        "put-back",
    ]))?;
    Ok(())
}

fn keep_program() -> io::Result<()> {
    match fs::remove_file(PROGRAM) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(std::env::current_exe()?, PROGRAM)?;
    File::open(DIRECTORY)?.sync_all()
}

/// Copies a file beside itself.
fn keep(path: &Path) -> Result<Kept, ActuateError> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let Some(name) = path.file_name() else {
        return Err(system(format!("keep {}", path.display()))(io::ErrorKind::InvalidInput.into()));
    };
    let copy = path.with_file_name(format!(".{}.enxame-before", name.to_string_lossy()));
    let directory = path.parent().unwrap_or(Path::new("/"));
    let copied = fs::copy(&path, &copy)
        .and_then(|_| File::open(&copy)?.sync_all())
        .and_then(|()| File::open(directory)?.sync_all());
    match copied {
        Ok(()) => Ok(Kept { path, copy: Some(copy) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept { path, copy: None }),
        Err(error) => {
            drop(fs::remove_file(&copy));
            Err(system(format!("keep a copy of {}", path.display()))(error))
        }
    }
}

fn boot_unit() -> String {
    format!(
        "{}[Unit]\nDescription=Put back a firewall change that nobody confirmed before the machine went down\n\
         DefaultDependencies=no\nAfter=local-fs.target\n\
         Before=network-pre.target ufw.service enxame-guard.service\nConditionPathExists=|{MANIFEST}\n\
         ConditionPathExists=|{GOING_BACK}\n\n\
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

/// The new connection works: the change stays.
///
/// # Errors
/// When nothing waits for that confirmation any more: it was put back.
pub fn confirm(host: &dyn Host, change: &ChangeId) -> Result<(), ActuateError> {
    let _lock = lock()?;
    match read(MANIFEST)? {
        Some(armed) if armed.change == change.to_string() => {
            host.remove(Path::new(MANIFEST))?;
            remove_copies(&armed);
            disarm(host);
            // Without the line the change looks interrupted, and the next apply finds it made.
            drop(journal::record(&armed.operator, change, Event::Done));
            Ok(())
        }
        // Confirmed already, by a connection that broke before it heard so.
        None if journal::is_done(host, change) => Ok(()),
        _ => Err(ActuateError::wrong(
            "the change was put back before it was confirmed",
            "apply again; if the way to the node is slow, that may be why",
        )),
    }
}

/// Puts back what an unconfirmed change replaced; nothing, where none waits. Can be done again at any point.
///
/// # Errors
/// When a file could not be put back; then the manifest stays, and so does the unit that tries again at boot.
pub fn put_back(host: &dyn Host, when: When) -> Result<Option<String>, ActuateError> {
    let _lock = lock()?;
    let Some(armed) = unconfirmed()? else {
        // Whoever took the manifest away may have ended before the timer was.
        disarm(host);
        return Ok(None);
    };
    // Where even that cannot be written, what follows says so.
    drop(fs::rename(MANIFEST, GOING_BACK));
    // One thing that cannot be put back must not keep the others from opening the door.
    let restored: Vec<_> = armed.kept.iter().map(restore).collect();
    let reloaded = if when == When::Now { reload(host, &armed.reload) } else { Ok(()) };
    restored.into_iter().collect::<Result<(), _>>()?;
    reloaded?;
    host.remove(Path::new(MANIFEST))?;
    host.remove(Path::new(GOING_BACK))?;
    disarm(host);
    let change = ChangeId(armed.change.clone());
    // The journal may be on a disk that is full; what counts is done.
    drop(journal::record(
        &armed.operator,
        &change,
        Event::Failed("put back by the dead-man switch".to_owned()),
    ));
    Ok(Some(armed.change))
}

fn restore(kept: &Kept) -> Result<(), ActuateError> {
    let outcome = match &kept.copy {
        Some(copy) => fs::rename(copy, &kept.path),
        None => fs::remove_file(&kept.path),
    };
    let outcome = match outcome {
        // Done already, by a run that was cut short.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    };
    // On the disk before the manifest goes, which may be on another one.
    let on_disk = || match File::open(kept.path.parent().unwrap_or(Path::new("/"))) {
        Ok(directory) => directory.sync_all(),
        // The change did not get as far as making it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    outcome.and_then(|()| on_disk()).map_err(system(format!("put back {}", kept.path.display())))
}

/// Takes every step, and gives the first that failed.
fn reload(host: &dyn Host, steps: &[Step]) -> Result<(), HostError> {
    let run = |step: &Step| {
        let command = Command::new(step.argv.iter().map(String::as_str)).reading(step.stdin.as_bytes());
        let outcome = host.run_ok(&command).map(drop);
        if step.may_fail { Ok(()) } else { outcome }
    };
    let outcomes: Vec<_> = steps.iter().map(run).collect();
    outcomes.into_iter().collect()
}

fn remove_copies(armed: &Armed) {
    for copy in armed.kept.iter().filter_map(|kept| kept.copy.as_ref()) {
        // A copy too many does no harm: the next one takes its place.
        drop(fs::remove_file(copy));
    }
}

/// Takes timer and boot unit away. Without a manifest they do nothing, so what cannot be taken away does no harm.
pub(crate) fn disarm(host: &dyn Host) {
    drop(fs::remove_file(BOOT_LINK));
    drop(fs::remove_file(BOOT_UNIT));
    // systemd keeps the file of what `systemd-run` made there for as long as the timer is loaded (systemd.unit(5)). Every
    // lock of a node comes by here, and mostly there is none.
    let timer = format!("{UNIT}.timer");
    if Path::new(TRANSIENT_UNITS).join(&timer).exists() {
        drop(host.run(&Command::new(["systemctl", "stop", "--no-block", &timer])));
    }
}

/// One at a time: the timer, the agent, the confirmation. All of them are quick.
fn lock() -> Result<Flock<File>, ActuateError> {
    let failed = |source| ActuateError::System { attempt: format!("lock {LOCK}"), source };
    fs::create_dir_all(DIRECTORY).map_err(failed)?;
    fs::set_permissions(DIRECTORY, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    wait_for(Duration::from_secs(60), || {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(LOCK);
        Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| failed(errno.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_of_an_earlier_build_is_read() {
        let step: Step = serde_json::from_str(r#"{"argv": ["nft"], "stdin": ""}"#).unwrap();
        assert_eq!(step, Step::new(["nft"]));
    }

    #[test]
    fn what_is_put_back_is_what_was_there_whatever_the_change_had_done_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        // The change did not even make the directory.
        restore(&Kept { path: path("none/new"), copy: None }).unwrap();
        // It made the file, and it was killed before.
        fs::write(path("new"), "changed").unwrap();
        let new = Kept { path: path("new"), copy: None };
        for _ in 0..2 {
            restore(&new).unwrap();
            assert!(!path("new").exists());
        }
        // It changed the file; going back was cut short once.
        fs::write(path("old"), "before").unwrap();
        let old = keep(&path("old")).unwrap();
        fs::write(path("old"), "changed").unwrap();
        for _ in 0..2 {
            restore(&old).unwrap();
            assert_eq!(fs::read_to_string(path("old")).unwrap(), "before");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no copy is left");
    }
}
