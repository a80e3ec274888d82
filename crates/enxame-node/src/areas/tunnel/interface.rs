//! The interface and its peers, made by the unit that makes them at boot.

use std::collections::BTreeMap;
use std::time::Duration;

use enxame_core::areas::tunnel::interface::{Action, How};
use enxame_core::areas::tunnel::{UNIT, conf, unmanaged};
use enxame_core::facts::PublicKey;
use enxame_core::names::NodeName;

use crate::actuate::{ActuateError, Context};
use crate::host::Command;

/// systemctl on a slow machine.
const SYSTEMCTL: Duration = Duration::from_secs(120);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let handed: BTreeMap<NodeName, PublicKey> = match on.handed {
        Some(handed) => serde_json::from_str(handed.reveal())?,
        None => BTreeMap::new(),
    };
    let Action { port, peers, operators, .. } = action;
    let file = conf::file(*port, peers, operators, &handed).map_err(|missing| {
        ActuateError::wrong(missing.to_string(), "apply again: it is asked for its key once more")
    })?;
    on.host.write_owned(&file)?;
    on.host.write_owned(&unmanaged())?;
    // Where networkd does not run there is nobody to tell.
    drop(on.host.run(&Command::new(["networkctl", "reload"])));
    on.host.write_owned(&action.unit)?;
    // Reads the units again as well.
    on.host.run_ok(&Command::new(["systemctl", "enable", "--quiet", UNIT]).within(SYSTEMCTL))?;
    let verb = match action.how {
        // Starts it, where it is not.
        How::Reload => "reload-or-restart",
        How::Restart => "restart",
    };
    let done = on.host.run(&Command::new(["systemctl", verb, UNIT]).within(SYSTEMCTL))?;
    if done.succeeded() {
        return Ok(());
    }
    // systemctl itself only says where to look.
    let journal = ["journalctl", "--unit", UNIT, "--lines", "5", "--output", "cat", "--no-pager"];
    let told = on.host.run_ok(&Command::new(journal)).unwrap_or_default();
    let told = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
    let told = if told.is_empty() { done.last_words() } else { told };
    let hint = format!("on the node: journalctl -u {UNIT}");
    Err(ActuateError::wrong(format!("{UNIT} does not come up: {told}"), hint))
}
