//! Packages: apt, without questions, patient with other users of dpkg's lock.

use std::thread;
use std::time::{Duration, Instant};

use crate::actuate::{ActuateError, Context};
use crate::host::{Command, HostError};

const LISTS_DEADLINE: Duration = Duration::from_secs(300);
const INSTALL_DEADLINE: Duration = Duration::from_secs(1800);

fn apt_get(arguments: &[&str]) -> Command {
    let patience = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-q", "-y"];
    // Configuration files that the user changed stay as they are.
    let keep = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"];
    Command::new(["apt-get"].iter().chain(&patience).chain(&keep).chain(arguments).copied())
        .with("DEBIAN_FRONTEND", "noninteractive")
        .with("NEEDRESTART_MODE", "l")
        .with("APT_LISTCHANGES_FRONTEND", "none")
        .within(INSTALL_DEADLINE)
}

/// Fetches the package lists, once per agent.
///
/// # Errors
/// When apt refuses, e.g. because no mirror answers.
pub fn refresh_lists(on: &mut Context<'_>) -> Result<(), ActuateError> {
    if !*on.package_lists_are_fresh {
        (on.progress)("fetching the package lists");
        let command = apt_get(&["-o", "APT::Update::Error-Mode=any", "update"]).within(LISTS_DEADLINE);
        // DPkg::Lock::Timeout does not cover the lists' lock, which a fresh server's first timers hold.
        let end = Instant::now() + LISTS_DEADLINE;
        loop {
            match on.host.run_ok(&command) {
                Err(HostError::Refused { message, .. }) if is_locked(&message) && Instant::now() < end => {
                    (on.progress)("waiting for another apt to end");
                    thread::sleep(Duration::from_secs(2));
                }
                outcome => break outcome.map(drop)?,
            }
        }
        *on.package_lists_are_fresh = true;
    }
    Ok(())
}

fn is_locked(message: &str) -> bool {
    message.contains("Could not get lock") || message.contains("Unable to lock")
}

/// Installs packages (`name` or `name=version`), also held ones and older versions. Removes none.
///
/// # Errors
/// When apt refuses, or would have to remove something.
pub fn install(on: &mut Context<'_>, packages: &[String]) -> Result<(), ActuateError> {
    if packages.is_empty() {
        return Ok(());
    }
    (on.progress)(&format!("installing {}", packages.join(" ")));
    transact(on, &["--no-remove"], packages)
}

/// Installs packages in the place of others, in one transaction: apt fetches everything before it removes anything.
///
/// # Errors
/// When apt refuses; what was there is still there then.
pub fn replace(on: &mut Context<'_>, old: &[String], new: &[String]) -> Result<(), ActuateError> {
    if old.is_empty() {
        return install(on, new);
    }
    (on.progress)(&format!("installing {} in the place of {}", new.join(" "), old.join(" ")));
    // A name with a hyphen behind it is to be removed (apt-get(8)).
    let removed = old.iter().map(|name| format!("{name}-"));
    let packages: Vec<String> = new.iter().cloned().chain(removed).collect();
    transact(on, &[], &packages)
}

fn transact(on: &mut Context<'_>, options: &[&str], packages: &[String]) -> Result<(), ActuateError> {
    refresh_lists(on)?;
    // What a power cut left half-configured stands in the way of everything else; where there is nothing, a no-op.
    let configure = ["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"];
    on.host.run_ok(
        &Command::new(configure).with("DEBIAN_FRONTEND", "noninteractive").within(INSTALL_DEADLINE),
    )?;
    let mut arguments =
        vec!["install", "--no-install-recommends", "--allow-change-held-packages", "--allow-downgrades"];
    arguments.extend(options);
    arguments.extend(packages.iter().map(String::as_str));
    on.host.run_ok(&apt_get(&arguments))?;
    Ok(())
}

/// Holds packages, so that unattended upgrades leave them alone.
///
/// # Errors
/// When apt-mark refuses.
pub fn hold(on: &Context<'_>, packages: &[String]) -> Result<(), ActuateError> {
    if !packages.is_empty() {
        let words = ["apt-mark", "hold"].into_iter().map(str::to_owned).chain(packages.iter().cloned());
        on.host.run_ok(&Command::new(words))?;
    }
    Ok(())
}
