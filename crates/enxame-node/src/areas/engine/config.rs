//! `/etc/docker/daemon.json` (the manual is silent): log rotation and address pools. Keys of the user's own stay.

use std::path::Path;
use std::time::Duration;

use enxame_core::areas::engine::config::{Action, PATH, read_keys};
use enxame_core::facts::FileFacts;

use crate::actuate::{ActuateError, Context};
use crate::host::{Command, HostError};
use crate::swarm;

/// What is asked about before it becomes the file. Only root may write there.
const CANDIDATE: &str = "/run/enxame-daemon.json";
/// dockerd on a slow machine, with the swarm's state to load.
const RESTART_DEADLINE: Duration = Duration::from_secs(180);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let path = Path::new(PATH);
    let old = on.host.read(path);
    let mut keys = read_keys(old.content().unwrap_or_default())?;
    keys.extend(action.keys.clone());
    let text = serde_json::to_string_pretty(&keys)? + "\n";
    validate(on, &text)?;
    let mode = if let FileFacts::Text { mode, .. } = &old { *mode } else { 0o644 };
    on.host.write(path, &text, mode)?;
    if !action.restart {
        return Ok(());
    }
    (on.progress)("restarting docker");
    // More than three starts in a minute and systemd refuses the next one.
    // A unit that never failed has nothing to reset; the restart says what matters.
    on.host.run(&Command::new(["systemctl", "reset-failed", "docker.service"]))?;
    let restart = Command::new(["systemctl", "restart", "docker.service"]).within(RESTART_DEADLINE);
    if let Err(error) = on.host.run_ok(&restart) {
        // An engine that does not start with the new file starts with the old one.
        match old {
            FileFacts::Text { content, mode, .. } => on.host.write(path, &content, mode)?,
            FileFacts::Absent | FileFacts::Unreadable(_) => on.host.remove(path)?,
        }
        // systemd's own words send people to the journal, and what dockerd said is gone from its end by then.
        let error = said_by_dockerd(on).unwrap_or_else(|| error.into());
        on.host.run(&Command::new(["systemctl", "reset-failed", "docker.service"]))?;
        // The first error is the one to tell.
        drop(on.host.run(&restart));
        return Err(error);
    }
    let engine = on.engine_within(RESTART_DEADLINE)?;
    if action.in_swarm {
        (on.progress)("waiting until the node is back in the swarm");
        swarm::wait_until_manager(&engine, RESTART_DEADLINE)?;
    }
    Ok(())
}

/// Asks the engine that is there whether it would start with this file, before the old one goes.
fn validate(on: &Context<'_>, text: &str) -> Result<(), ActuateError> {
    on.host.write(Path::new(CANDIDATE), text, 0o600)?;
    let asked = on.host.run(&Command::new(["dockerd", "--validate", "--config-file", CANDIDATE]));
    on.host.remove(Path::new(CANDIDATE))?;
    match asked {
        // 20.10 cannot be asked, and where there is no engine nobody can.
        Ok(finished) if !finished.succeeded() && !finished.stderr.contains("unknown flag") => {
            let said = finished.stderr.trim().replace(CANDIDATE, PATH);
            Err(ActuateError::wrong(
                format!("dockerd would not start with {PATH} as it would be: {said}"),
                "mend the file by hand, then apply again; it was not touched",
            ))
        }
        Ok(_) | Err(HostError::Start { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Why it did not start, in its own words.
fn said_by_dockerd(on: &Context<'_>) -> Option<ActuateError> {
    let words = [
        "journalctl",
        "--no-pager",
        "--quiet",
        "--output",
        "cat",
        "--lines",
        "1",
        "_SYSTEMD_UNIT=docker.service",
    ];
    let said = on.host.run_ok(&Command::new(words)).ok()?;
    // It shows values of both sides, and those of a logging driver may be secrets.
    let said = said.split(" (from flag").next().unwrap_or_default().trim();
    (!said.is_empty()).then(|| {
        ActuateError::wrong(
            format!("docker did not start with {PATH} as it would be: {said}"),
            "the file is as it was; `journalctl -u docker` on the node has the rest",
        )
    })
}
