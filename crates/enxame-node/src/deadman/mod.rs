//! The dead-man switch: what a change may cut off is put back by the node itself, unless a new connection confirms it.
//!
//! Before the change the node keeps copies of the files it replaces, beside them, so that putting them back is a
//! rename, which needs no room on a full disk. Two things watch: a timer of systemd's, which survives the agent, the
//! SSH session and sshd, and a unit that runs before the network at the next boot. Both run this program's `put-back`.
//! What cannot be put back after some tries is named, its copy stays, and the node is free again. Invariant: while the
//! manifest is there, everything that is needed to go back is; whoever removes it has decided.

mod given_up;
mod kept;
mod units;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use enxame_core::change::ChangeId;
use enxame_core::facts::NotPutBack;
use enxame_core::journal::ChangeEvent;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use self::kept::Kept;
use crate::actuate::{ActuateError, wait_for};
use crate::host::{Command, Host, HostError};
use crate::replace::replace;
use crate::{journal, program};

const DIRECTORY: &str = "/var/lib/enxame/dead-man";
/// What is to be put back, unless it is confirmed.
const MANIFEST: &str = "armed.json";
/// The same once going back has begun: too late to confirm.
const GOING_BACK: &str = "going-back.json";
const LOCK: &str = "lock";
/// How often going back is tried before what cannot be put back is given up. The timer tries every 15 s, so that what
/// passes by itself (another program's lock on the rules) has a minute to.
const TRIES: u32 = 4;
/// How long a step of going back may take: ufw from the start takes half of it on the smallest server, and one that is cut
/// off halfway has opened or shut what it should not.
const STEP: Duration = Duration::from_secs(60);

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
    /// How often going back did not work. An earlier build's manifest does not say.
    #[serde(default)]
    tries: u32,
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
    Switch::of_this_node().unconfirmed()
}

/// What could not be put back and still is not as it was.
#[must_use]
pub fn not_put_back() -> Vec<NotPutBack> {
    given_up::standing(Path::new(DIRECTORY))
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
    let switch = Switch::of_this_node();
    let lock = switch.lock()?;
    match switch.prepare(host, change, operator, way) {
        Ok(()) => Ok(Making { _lock: lock }),
        Err(error) => {
            // The manifest first: without it nobody goes back to what is stale one day.
            let armed = switch.unconfirmed();
            switch.remove(MANIFEST)?;
            if let Ok(Some(armed)) = armed {
                armed.kept.iter().for_each(Kept::forget);
            }
            units::disarm(host);
            Err(error)
        }
    }
}

/// The new connection works: the change stays.
///
/// # Errors
/// When nothing waits for that confirmation any more: it was put back.
pub fn confirm(host: &dyn Host, change: &ChangeId) -> Result<(), ActuateError> {
    Switch::of_this_node().confirm(host, change)
}

/// Puts back what an unconfirmed change replaced; nothing, where none waits. Can be done again at any point.
///
/// # Errors
/// When something could not be put back. Then the manifest stays and it is tried again, by the timer or at the next
/// boot, for `TRIES` times; after that it is given up, and the next look says so ([`not_put_back`]).
pub fn put_back(host: &dyn Host, when: When) -> Result<Option<String>, ActuateError> {
    Switch::of_this_node().put_back(host, when)
}

/// Where the switch keeps what it knows.
struct Switch {
    directory: PathBuf,
    journal: PathBuf,
}

impl Switch {
    fn of_this_node() -> Self {
        Self { directory: DIRECTORY.into(), journal: journal::PATH.into() }
    }

    fn unconfirmed(&self) -> Result<Option<Armed>, ActuateError> {
        // The second name comes after the first: nothing is missed in between.
        Ok(self.read(MANIFEST)?.or(self.read(GOING_BACK)?))
    }

    fn read(&self, manifest: &str) -> Result<Option<Armed>, ActuateError> {
        // However long it is: it holds the rules that were live.
        match fs::read(self.directory.join(manifest)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(system(format!("read {manifest} of the dead-man switch"))(error)),
        }
    }

    fn write(&self, manifest: &str, armed: &Armed) -> Result<(), ActuateError> {
        replace(&self.directory.join(manifest), &serde_json::to_vec(armed)?, 0o600)
            .map_err(system(format!("write {manifest} of the dead-man switch")))
    }

    fn remove(&self, manifest: &str) -> Result<(), ActuateError> {
        match fs::remove_file(self.directory.join(manifest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(system(format!("remove {manifest} of the dead-man switch"))(error))
            }
            _ => Ok(()),
        }
    }

    fn prepare(
        &self,
        host: &dyn Host,
        change: &ChangeId,
        operator: &str,
        way: &WayBack,
    ) -> Result<(), ActuateError> {
        let kept = way.files.iter().map(|file| Kept::of(Path::new(file))).collect::<Result<_, _>>()?;
        let armed = Armed {
            change: change.to_string(),
            operator: operator.to_owned(),
            kept,
            reload: way.reload.clone(),
            tries: 0,
        };
        program::keep().map_err(system("keep this program's own file".to_owned()))?;
        units::wait_for_the_boot(host)?;
        self.write(MANIFEST, &armed)?;
        // What cannot be read back would keep nobody from being cut off.
        self.unconfirmed()?;
        units::start_the_timer(host)
    }

    fn confirm(&self, host: &dyn Host, change: &ChangeId) -> Result<(), ActuateError> {
        let _lock = self.lock()?;
        match self.read(MANIFEST)? {
            Some(armed) if armed.change == change.to_string() => {
                self.remove(MANIFEST)?;
                armed.kept.iter().for_each(Kept::forget);
                units::disarm(host);
                // Without the line the change looks interrupted, and the next apply finds it made.
                self.note(&armed, ChangeEvent::Done);
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

    fn put_back(&self, host: &dyn Host, when: When) -> Result<Option<String>, ActuateError> {
        let _lock = self.lock()?;
        let Some(mut armed) = self.unconfirmed()? else {
            // Whoever took the manifest away may have ended before the timer was.
            units::disarm(host);
            return Ok(None);
        };
        // Where even that cannot be written, what follows says so.
        drop(fs::rename(self.directory.join(MANIFEST), self.directory.join(GOING_BACK)));
        // One thing that cannot be put back must not keep the others from opening the door.
        let failed: Vec<NotPutBack> = armed
            .kept
            .iter()
            .filter(|kept| when == When::Now || !kept.ends_with_a_boot())
            .filter_map(|kept| Some(kept.not_put_back(&armed.change, &kept.restore().err()?)))
            .collect();
        let reloaded = if when == When::Now { reload(host, &armed.reload) } else { Ok(()) };
        if failed.is_empty() && reloaded.is_ok() {
            self.end(host, &armed, "put back by the dead-man switch".to_owned())?;
            return Ok(Some(armed.change));
        }
        armed.tries += 1;
        // Somebody else tries again as long as the timer is there, and at a boot whoever applies next.
        let is_last = armed.tries >= TRIES || (when == When::Now && !units::timer_is_there(host));
        let left = given_up::Left { failed, reloaded };
        if is_last {
            given_up::record(&self.directory, &left.failed)?;
            self.end(host, &armed, format!("the dead-man switch gave up: {left}"))?;
        } else {
            self.write(GOING_BACK, &armed)?;
        }
        Err(left.error(&armed.change, is_last))
    }

    /// Nothing waits any more.
    fn end(&self, host: &dyn Host, armed: &Armed, how: String) -> Result<(), ActuateError> {
        self.remove(MANIFEST)?;
        self.remove(GOING_BACK)?;
        units::disarm(host);
        self.note(armed, ChangeEvent::Failed(how));
        Ok(())
    }

    fn note(&self, armed: &Armed, event: ChangeEvent) {
        // The journal may be on a disk that is full; what counts is done.
        drop(journal::record_at(&self.journal, &armed.operator, &ChangeId(armed.change.clone()), event));
    }

    /// One at a time: the timer, the agent, the confirmation. All of them are quick.
    fn lock(&self) -> Result<Flock<File>, ActuateError> {
        let path = self.directory.join(LOCK);
        let failed = |source| ActuateError::System { attempt: format!("lock {}", path.display()), source };
        fs::create_dir_all(&self.directory).map_err(failed)?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        // Whoever has it lets go of it; all else stays as it is.
        let is_final = |error: &ActuateError| !matches!(error, ActuateError::System { source, .. } if source.kind() == io::ErrorKind::WouldBlock);
        wait_for(Duration::from_secs(60), is_final, || {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
            Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock)
                .map_err(|(_, errno)| failed(errno.into()))
        })
    }
}

/// Takes timer and boot unit away, where nothing waits for its confirmation.
pub(crate) fn disarm(host: &dyn Host) {
    units::disarm(host);
}

/// Takes every step, and gives the first that failed.
fn reload(host: &dyn Host, steps: &[Step]) -> Result<(), HostError> {
    let run = |step: &Step| {
        let command =
            Command::new(step.argv.iter().map(String::as_str)).reading(step.stdin.as_bytes()).within(STEP);
        let outcome = host.run_ok(&command).map(drop);
        if step.may_fail { Ok(()) } else { outcome }
    };
    let outcomes: Vec<_> = steps.iter().map(run).collect();
    outcomes.into_iter().collect()
}

#[cfg(test)]
mod tests;
