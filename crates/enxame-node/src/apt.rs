//! Packages: apt, without questions, patient with other users of dpkg's lock.

use std::thread;
use std::time::{Duration, Instant};

use crate::actuate::{ActuateError, Context, PackageLists};
use crate::host::{Command, Host, HostError};

const LISTS_DEADLINE: Duration = Duration::from_secs(300);
/// How long another apt may take.
const LOCK_DEADLINE: Duration = Duration::from_secs(600);
/// Reading its lists on a slow machine; a look waits for it.
const REHEARSAL: Duration = Duration::from_secs(20);
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

/// Fetches the package lists, once per agent. What could not be fetched of them is said, and kept for who is refused because of it.
///
/// # Errors
/// When apt cannot be run, or another one keeps it from running.
pub fn refresh_lists(on: &mut Context<'_>) -> Result<(), ActuateError> {
    if *on.package_lists == PackageLists::NotFetched {
        (on.progress)("fetching the package lists");
        let command = apt_get(&["-o", "APT::Update::Error-Mode=any", "update"]).within(LISTS_DEADLINE);
        *on.package_lists = match run_patiently(on, &command) {
            Ok(_) => PackageLists::Fetched,
            // A source that is down, expired or not signed may be of nothing that is needed: if it is, apt says so next.
            Err(HostError::Refused { message, .. }) if !is_locked(&message) => {
                (on.progress)(&format!(
                    "warning: going on without some package lists, of which apt says: {message}"
                ));
                PackageLists::Incomplete(message)
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

/// Runs a command again while another one has its lock. `DPkg::Lock::Timeout` covers neither the lists' lock nor dpkg
/// itself, nor the archives' (tried with apt 2.6), and the first timers of a fresh server hold them for minutes.
fn run_patiently(on: &mut Context<'_>, command: &Command) -> Result<String, HostError> {
    let end = Instant::now() + LOCK_DEADLINE;
    loop {
        match on.host.run_ok(command) {
            Err(HostError::Refused { message, .. }) if is_locked(&message) && Instant::now() < end => {
                (on.progress)("waiting for another apt to end");
                thread::sleep(Duration::from_secs(2));
            }
            outcome => return outcome,
        }
    }
}

/// Apt's words, and dpkg's.
fn is_locked(message: &str) -> bool {
    ["Could not get lock", "Unable to lock", "was locked by another process"]
        .iter()
        .any(|words| message.contains(words))
}

/// Whether apt accepts its configured sources; it reads them and fetches nothing.
///
/// # Errors
/// With apt's own words when it does not.
pub fn can_read_its_sources(on: &Context<'_>) -> Result<(), HostError> {
    on.host.run_ok(&Command::new(["apt-get", "indextargets"])).map(drop)
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
    let packages = rehearsed(on, old, new)?;
    transact(on, &[], &packages)
}

/// Fetches what [`replace`] is going to install, for what has to go before it comes.
///
/// # Errors
/// When apt would refuse to replace, or cannot fetch something.
pub fn fetch(on: &mut Context<'_>, old: &[String], new: &[String]) -> Result<(), ActuateError> {
    (on.progress)(&format!("fetching {}", new.join(" ")));
    let packages = rehearsed(on, old, new)?;
    transact(on, &["--download-only"], &packages)
}

/// What to ask of apt, once it has been seen that it would remove nothing else.
fn rehearsed(on: &mut Context<'_>, old: &[String], new: &[String]) -> Result<Vec<String>, ActuateError> {
    // A name with a hyphen behind it is to be removed (apt-get(8)).
    let removed = old.iter().map(|name| format!("{name}-"));
    let packages: Vec<String> = new.iter().cloned().chain(removed).collect();
    refresh_lists(on)?;
    let rehearsal = on.host.run_ok(&apt_get(&transaction(&["--simulate"], &packages)));
    let rehearsal = rehearsal.map_err(|error| refused(on, error))?;
    let unplanned: Vec<&str> =
        removals(&rehearsal).filter(|name| !old.iter().any(|old| old == name)).collect();
    if !unplanned.is_empty() {
        return Err(ActuateError::wrong(
            format!("apt would also remove {}", unplanned.join(" ")),
            "remove these yourself if they are not needed: something of them depends on what is replaced",
        ));
    }
    Ok(packages)
}

/// The packages of a rehearsal's lines `Remv NAME [VERSION] ...`; of another architecture as `NAME:ARCHITECTURE`.
fn removals(rehearsal: &str) -> impl Iterator<Item = &str> {
    rehearsal.lines().filter_map(|line| line.strip_prefix("Remv ")?.split(' ').next())
}

fn transaction<'a>(options: &[&'a str], packages: &'a [String]) -> Vec<&'a str> {
    let always = ["install", "--no-install-recommends", "--allow-change-held-packages", "--allow-downgrades"];
    always.iter().chain(options).copied().chain(packages.iter().map(String::as_str)).collect()
}

fn transact(on: &mut Context<'_>, options: &[&str], packages: &[String]) -> Result<(), ActuateError> {
    refresh_lists(on)?;
    // What a power cut left half-configured stands in the way of everything else; where there is nothing, a no-op.
    let configure = ["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"];
    run_patiently(
        on,
        &Command::new(configure).with("DEBIAN_FRONTEND", "noninteractive").within(INSTALL_DEADLINE),
    )?;
    run_patiently(on, &apt_get(&transaction(options, packages))).map(drop).map_err(|error| refused(on, error))
}

/// Why apt refused: where lists are missing, that may be why, and what is the matter with them is the thing to mend.
fn refused(on: &Context<'_>, error: HostError) -> ActuateError {
    match (&*on.package_lists, &error) {
        (PackageLists::Incomplete(said), HostError::Refused { .. }) => ActuateError::wrong(
            format!("{error}; and some package lists could not be fetched: {said}"),
            "mend the sources of packages that apt names (below /etc/apt), or take them away; on the node, `apt-get update` tells \
             whether all is well",
        ),
        _ => error.into(),
    }
}

/// What apt would remove to install packages, by the lists that are there; nothing where they do not tell.
pub(crate) fn removed_by_installing(host: &dyn Host, packages: &[String]) -> Vec<String> {
    if packages.is_empty() {
        return Vec::new();
    }
    let rehearsal = apt_get(&transaction(&["--simulate"], packages)).within(REHEARSAL);
    let told = host.run_ok(&rehearsal).unwrap_or_default();
    removals(&told).map(str::to_owned).collect()
}

/// Holds packages, so that unattended upgrades leave them alone.
///
/// # Errors
/// When apt-mark refuses.
pub fn hold(on: &mut Context<'_>, packages: &[String]) -> Result<(), ActuateError> {
    mark(on, "hold", packages)
}

/// Holds packages no more.
///
/// # Errors
/// When apt-mark refuses.
pub fn unhold(on: &mut Context<'_>, packages: &[String]) -> Result<(), ActuateError> {
    mark(on, "unhold", packages)
}

fn mark(on: &mut Context<'_>, how: &str, packages: &[String]) -> Result<(), ActuateError> {
    if !packages.is_empty() {
        let words = ["apt-mark", how].into_iter().map(str::to_owned).chain(packages.iter().cloned());
        run_patiently(on, &Command::new(words))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use enxame_core::facts::FileFacts;

    use super::*;
    use crate::host::{FakeHost, Finished};
    use crate::testing::acting::{fine, refused as refused_by_command};

    #[test]
    fn both_programs_words_for_a_lock_are_known() {
        assert!(is_locked(
            "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 12 (apt-get)"
        ));
        assert!(is_locked("dpkg: error: dpkg frontend lock was locked by another process with pid 12"));
        assert!(!is_locked("E: Unable to locate package docker-ce"));
    }

    fn installed(host: &FakeHost) -> (Result<(), ActuateError>, Vec<String>) {
        let mut told = Vec::new();
        let mut context = Context {
            host,
            handed: None,
            progress: &mut |words| told.push(words.to_owned()),
            package_lists: &mut PackageLists::default(),
        };
        let outcome = install(&mut context, &["docker.io".to_owned()]);
        (outcome, told)
    }

    const UPDATE: &str = "apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -q -y -o Dpkg::Options::=--force-confdef -o \
                          Dpkg::Options::=--force-confold -o APT::Update::Error-Mode=any update";
    const UNSIGNED: &str = "E: The repository 'https://panel.example stable InRelease' is not signed.";

    #[test]
    fn a_source_that_is_not_needed_and_cannot_be_fetched_is_said_and_keeps_nothing_from_being_installed() {
        let host = FakeHost::default()
            .answering(UPDATE, refused_by_command(UNSIGNED))
            .answering("apt-get", fine())
            .answering("dpkg", fine());
        let (outcome, told) = installed(&host);
        outcome.unwrap();
        assert!(
            told.iter().any(|words| words.starts_with("warning: ") && words.contains(UNSIGNED)),
            "{told:?}"
        );
    }

    #[test]
    fn where_what_is_needed_is_not_there_the_source_that_failed_is_named_too() {
        let host = FakeHost::default()
            .answering(UPDATE, refused_by_command(UNSIGNED))
            .answering("apt-get", refused_by_command("E: Unable to locate package docker.io"))
            .answering("dpkg", fine());
        let error = installed(&host).0.unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("Unable to locate package docker.io") && message.contains(UNSIGNED),
            "{message}"
        );
        assert!(error.failure().hint.is_some_and(|hint| hint.contains("/etc/apt")));
    }

    #[test]
    fn the_archives_lock_is_waited_for() {
        let locked = "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 12 (apt-get)\n\
                      E: Unable to lock directory /var/cache/apt/archives/";
        let host = Locked {
            host: FakeHost::default().answering("apt-get", fine()).answering("dpkg", fine()),
            refusals: AtomicUsize::new(1),
            words: locked,
        };
        let mut told = Vec::new();
        let mut context = Context {
            host: &host,
            handed: None,
            progress: &mut |words| told.push(words.to_owned()),
            package_lists: &mut PackageLists::Fetched,
        };
        install(&mut context, &["docker.io".to_owned()]).unwrap();
        assert!(told.contains(&"waiting for another apt to end".to_owned()), "{told:?}");
    }

    /// A node on which somebody else installs for a while.
    struct Locked {
        host: FakeHost,
        refusals: AtomicUsize,
        words: &'static str,
    }

    impl Host for Locked {
        fn read(&self, path: &Path) -> FileFacts {
            self.host.read(path)
        }

        fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), HostError> {
            self.host.write(path, text, mode)
        }

        fn remove(&self, path: &Path) -> Result<(), HostError> {
            self.host.remove(path)
        }

        fn run(&self, command: &Command) -> Result<Finished, HostError> {
            let is_install = command.argv.iter().any(|word| word == "install");
            let left = |count: usize| count.checked_sub(1);
            if is_install && self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
                return Ok(refused_by_command(self.words));
            }
            self.host.run(command)
        }
    }

    #[test]
    fn a_rehearsal_tells_what_would_be_removed() {
        let rehearsal = "NOTE: This is only a simulation!\nRemv docker.io [26.1.5] [containerd:amd64 ]\n\
                         Remv podman-docker:i386 [1]\nInst docker-ce (5:28.5.2 Docker)\nConf docker-ce (5:28.5.2 Docker)\n";
        assert_eq!(removals(rehearsal).collect::<Vec<_>>(), ["docker.io", "podman-docker:i386"]);
    }
}
