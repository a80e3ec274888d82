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
    use enxame_core::areas::firewall::packages::{Action, UNIT};

    use crate::host::FakeHost;
    use crate::testing::acting::{act, fine, lines, refused};

    #[test]
    fn packages_that_are_there_are_only_enabled() {
        let host = FakeHost::default().answering("systemctl", fine());
        act(&host, None, Action { install: Vec::new() }).unwrap();
        assert_eq!(lines(&host), [format!("systemctl enable --quiet {UNIT}")]);
    }

    #[test]
    fn packages_that_are_missing_are_installed_from_fresh_lists_and_then_enabled() {
        let host = ["apt-get", "dpkg", "systemctl"]
            .into_iter()
            .fold(FakeHost::default(), |host, program| host.answering(program, fine()));
        let install = ["ufw", "nftables"].map(str::to_owned).to_vec();
        act(&host, None, Action { install }).unwrap();
        let ran = lines(&host);
        let [update, configure, install, enable] = &ran[..] else { panic!("{ran:?}") };
        assert!(update.starts_with("apt-get ") && update.ends_with(" update"), "{update}");
        assert!(configure.starts_with("dpkg --configure -a"), "{configure}");
        assert!(install.contains(" install ") && install.ends_with(" ufw nftables"), "{install}");
        // Never at the cost of something that is there, and with no question asked.
        assert!(install.contains(" --no-remove ") && install.contains(" -y "), "{install}");
        let asks_nothing = ("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned());
        assert!(host.ran()[2].environment.contains(&asks_nothing), "{:?}", host.ran()[2]);
        assert_eq!(*enable, format!("systemctl enable --quiet {UNIT}"));
    }

    #[test]
    fn where_neither_lists_nor_packages_can_be_fetched_both_are_told_and_nothing_is_enabled() {
        let host = ["dpkg", "systemctl"]
            .into_iter()
            .fold(FakeHost::default(), |host, program| host.answering(program, fine()))
            .answering("apt-get", refused("Failed to fetch the lists"));
        let error = act(&host, None, Action { install: vec!["ufw".to_owned()] }).unwrap_err();
        assert!(format!("{:?}", error.failure()).contains("Failed to fetch the lists"), "{error:?}");
        assert!(error.to_string().contains("some package lists could not be fetched"), "{error}");
        assert!(lines(&host).iter().all(|line| !line.starts_with("systemctl")), "{:?}", lines(&host));
    }

    #[test]
    fn nothing_is_enabled_when_the_packages_are_not_installed() {
        let host = FakeHost::default()
            .answering("apt-get", fine())
            .answering("dpkg", refused("dpkg: error processing package ufw"))
            .answering("systemctl", fine());
        let error = act(&host, None, Action { install: vec!["ufw".to_owned()] }).unwrap_err();
        assert!(format!("{:?}", error.failure()).contains("error processing package ufw"), "{error:?}");
        assert!(lines(&host).iter().all(|line| !line.starts_with("systemctl")), "{:?}", lines(&host));
    }
}
