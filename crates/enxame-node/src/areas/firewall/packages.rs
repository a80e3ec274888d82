//! The programs the firewall is made with: ufw and nft, there and started at boot (manual 3.2). ufw's unit does nothing
//! while ufw is off.

use std::time::Duration;

use enxame_core::areas::firewall::packages::{Action, UNIT};

use crate::actuate::{ActuateError, Context};
use crate::apt;
use crate::host::Command;

/// systemctl on a slow machine.
const ENABLE: Duration = Duration::from_secs(120);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    if !action.install.is_empty() {
        apt::refresh_lists(on)?;
        apt::install(on, &action.install)?;
    }
    on.host.run_ok(&Command::new(["systemctl", "enable", "--quiet", UNIT]).within(ENABLE))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{FakeHost, Finished};

    fn act_on(host: &FakeHost, install: &[&str]) -> Result<(), ActuateError> {
        let action = Action { install: install.iter().map(|name| (*name).to_owned()).collect() };
        let mut context =
            Context { host, handed: None, progress: &mut |_| {}, package_lists_are_fresh: &mut true };
        act(&mut context, &action)
    }

    #[test]
    fn packages_that_are_there_are_only_enabled() {
        let done = Finished { code: Some(0), stdout: String::new(), stderr: String::new() };
        let host = FakeHost::default().answering("systemctl", done);
        act_on(&host, &[]).unwrap();
        let ran: Vec<String> = host.ran().iter().map(ToString::to_string).collect();
        assert_eq!(ran, [format!("systemctl enable --quiet {UNIT}")]);
    }

    #[test]
    fn nothing_is_enabled_when_the_packages_are_not_installed() {
        let host = FakeHost::default();
        let refused = act_on(&host, &["ufw"]).expect_err("a refusal");
        assert!(!refused.failure().causes.is_empty());
        assert!(host.ran().iter().all(|command| !command.to_string().starts_with("systemctl")));
    }
}
