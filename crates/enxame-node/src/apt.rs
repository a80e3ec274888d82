//! Packages: apt, without questions, patient with other users of dpkg's lock.

use std::time::Duration;

use crate::actuate::{ActuateError, Context};
use crate::host::Command;

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
        on.host.run_ok(&command)?;
        *on.package_lists_are_fresh = true;
    }
    Ok(())
}

/// Installs packages (`name` or `name=version`), also held ones and older versions.
///
/// # Errors
/// When apt refuses.
pub fn install(on: &mut Context<'_>, packages: &[String]) -> Result<(), ActuateError> {
    if packages.is_empty() {
        return Ok(());
    }
    refresh_lists(on)?;
    (on.progress)(&format!("installing {}", packages.join(" ")));
    let mut arguments =
        vec!["install", "--no-install-recommends", "--allow-change-held-packages", "--allow-downgrades"];
    arguments.extend(packages.iter().map(String::as_str));
    on.host.run_ok(&apt_get(&arguments))?;
    Ok(())
}

/// Removes packages; their configuration and data stay.
///
/// # Errors
/// When apt refuses.
pub fn remove(on: &mut Context<'_>, packages: &[String]) -> Result<(), ActuateError> {
    if packages.is_empty() {
        return Ok(());
    }
    (on.progress)(&format!("removing {}", packages.join(" ")));
    let mut arguments = vec!["remove", "--allow-change-held-packages"];
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
