//! Taking the firewall off. The way back is that of putting it up: the same files, and what is live.

use std::path::Path;
use std::time::Duration;

use enxame_core::areas::firewall::docker_user;
use enxame_core::areas::firewall::guard::{UNIT, UNIT_PATH};
use enxame_core::areas::firewall::guard_table::{LISTING, PATH, PUBLISHED_CHAIN};
use enxame_core::areas::firewall::removal::{Action, UfwFate};
use enxame_core::areas::firewall::ufw::{CONF, DEFAULTS, SETTINGS, after_rules, setting, user_rules};
use enxame_core::areas::firewall::ufw_rules::{self as rules, Family};
use enxame_core::facts::{FileFacts, Observed};
use enxame_core::files::without_block;

use super::{guard, ufw};
use crate::actuate::{ActuateError, Context};
use crate::before;
use crate::deadman::WayBack;
use crate::host::{Command, Host};

const STEP: Duration = Duration::from_secs(10);

pub(super) fn way_back(host: &dyn Host, action: &Action) -> Result<Option<WayBack>, ActuateError> {
    match action {
        Action::Ufw { .. } => ufw::way_back(host).map(Some),
        Action::Guard => guard::way_back(host).map(Some),
        Action::GuardUnit => Ok(None),
    }
}

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    match action {
        Action::Ufw { ufw } => take_off_ufw(on, *ufw),
        Action::Guard => {
            // Both lines, so that it is no error when there is none.
            let table = "table inet enxame\ndelete table inet enxame\n";
            on.host.run_ok(&Command::new(["nft", "-f", "-"]).reading(table).within(STEP))?;
            on.host.remove(Path::new(PATH))?;
            Ok(on.host.remove(Path::new(LISTING))?)
        }
        Action::GuardUnit => {
            on.host.run_ok(&Command::new(["systemctl", "disable", "--quiet", UNIT]))?;
            on.host.remove(Path::new(UNIT_PATH))?;
            on.host.run_ok(&Command::new(["systemctl", "daemon-reload"]))?;
            // Gone with the unit, or never failed: both are as good.
            drop(on.host.run(&Command::new(["systemctl", "stop", UNIT])));
            Ok(())
        }
    }
}

/// The text of a file, and what it was.
fn now_and_then(host: &dyn Host, path: &str) -> Result<(Option<String>, Option<String>), ActuateError> {
    let text = |file: FileFacts| file.content().map(str::to_owned);
    Ok((text(host.read(Path::new(path))), before::file(host, path)?.and_then(text)))
}

fn take_off_ufw(on: &mut Context<'_>, fate: UfwFate) -> Result<(), ActuateError> {
    // Everything is made before anything is written.
    let mut files = Vec::new();
    for family in Family::ALL {
        let (user, after) = (user_rules(family), after_rules(family));
        let wrong = |path: &str, error: &dyn std::error::Error| {
            ActuateError::wrong(format!("cannot change {path}: {error}"), "")
        };
        if let (Some(now), then) = now_and_then(on.host, &user)? {
            let new = rules::without_ours(&now, then.as_deref()).map_err(|error| wrong(&user, &error))?;
            files.push((user, now, new));
        }
        if let (Some(now), _) = now_and_then(on.host, &after)? {
            let rest = without_block(&now).map_err(|error| wrong(&after, &error))?;
            files.extend(rest.map(|rest| (after, now, rest)));
        }
    }
    if let (Some(now), Some(then)) = now_and_then(on.host, DEFAULTS)? {
        let values = SETTINGS.iter().filter_map(|(key, _)| Some((*key, setting(&then, key)?)));
        let new = values.fold(now.clone(), |text, (key, value)| rules::with_setting(&text, key, value));
        files.push((DEFAULTS.to_owned(), now, new));
    }
    if let (Some(now), _) = now_and_then(on.host, CONF)? {
        let enabled = if fate == UfwFate::On { "yes" } else { "no" };
        files.push((CONF.to_owned(), now.clone(), rules::with_setting(&now, "ENABLED", enabled)));
    }
    for (path, now, new) in files {
        if now != new {
            let mode = if path == DEFAULTS || path == CONF { 0o644 } else { ufw::MODE };
            on.host.write(Path::new(&path), &new, mode)?;
        }
    }
    let docker = open_docker_user(on)?;
    let (what, verb) = match fate {
        UfwFate::On => ("loading ufw from the start", "force-reload"),
        UfwFate::Off => ("turning ufw off", "force-stop"),
    };
    (on.progress)(what);
    on.host.run_ok(&ufw::init(verb))?;
    if fate == UfwFate::Off && docker == Docker::AtWork {
        // ufw leaves ACCEPT. dockerd sets this itself when it starts, and below a running one nothing else would.
        on.host.run_ok(&Command::new(["iptables", ufw::WAIT, "-P", "FORWARD", "DROP"]))?;
    }
    Ok(())
}

/// Whether dockerd's chains are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Docker {
    AtWork,
    Away,
}

/// What others put into `DOCKER-USER` stays.
fn open_docker_user(on: &mut Context<'_>) -> Result<Docker, ActuateError> {
    let now = crate::facts::filter(on.host);
    for (family, table) in [(Family::V4, &now.ipv4), (Family::V6, &now.ipv6)] {
        let Observed::Known(table) = table else {
            let message = format!("cannot see what {} has loaded", family.save());
            return Err(ActuateError::wrong(message, ""));
        };
        if table.published.is_none() {
            continue;
        }
        let others = table.docker_user.iter().flatten().filter(|rule| !docker_user::is_ours(rule));
        let others: Vec<String> = others.cloned().collect();
        ufw::load(on, family, &docker_user::tables(&others, &[], PUBLISHED_CHAIN))?;
        let program = family.restore().trim_end_matches("-restore");
        on.host.run_ok(&Command::new([program, ufw::WAIT, "-X", PUBLISHED_CHAIN]))?;
    }
    let is_at_work = now.ipv4.known().is_some_and(|table| table.accepted_before_docker_user.is_some());
    Ok(if is_at_work { Docker::AtWork } else { Docker::Away })
}
