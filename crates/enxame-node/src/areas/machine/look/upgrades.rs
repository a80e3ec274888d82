//! Unattended upgrades: whether packages change without anybody.

use std::collections::BTreeSet;

use super::packages;
use crate::host::Host;

const PACKAGE: &str = "unattended-upgrades";
const SWITCH: &str = "/etc/apt/apt.conf.d/20auto-upgrades";

/// Whether they are installed and enabled; `status` is dpkg's.
pub(crate) fn are_on(host: &dyn Host, status: &str) -> bool {
    let wanted = BTreeSet::from([PACKAGE.to_owned()]);
    let found = packages::packages(status, &wanted);
    found.get(PACKAGE).is_some_and(|package| package.installed.is_some())
        && enables_upgrades(&host.text(SWITCH))
}

/// Whether apt's configuration turns unattended upgrades on; the last line that mentions them counts.
fn enables_upgrades(configuration: &str) -> bool {
    configuration
        .lines()
        .filter_map(|line| line.trim().strip_prefix("APT::Periodic::Unattended-Upgrade"))
        .filter(|rest| rest.starts_with([' ', '\t', '"']))
        .map(|rest| rest.trim().trim_end_matches(';').trim().trim_matches('"'))
        .next_back()
        .is_some_and(|value| !matches!(value, "" | "0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    const STATUS: &str = "Package: unattended-upgrades\nStatus: install ok installed\nVersion: 2.9.1\n\n\
                          Package: curl\nStatus: install ok installed\nVersion: 7.88.1-10\n";
    const ENABLED: &str =
        "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";

    #[test]
    fn unattended_upgrades_need_the_package_and_its_switch() {
        let with =
            |status: &str, switch: &str| are_on(&FakeHost::default().with_file(SWITCH, switch), status);
        assert!(with(STATUS, ENABLED));
        assert!(!with(STATUS, "APT::Periodic::Unattended-Upgrade \"0\";\n"));
        assert!(!with(STATUS, "// APT::Periodic::Unattended-Upgrade \"1\";\n"));
        assert!(!with("", ENABLED));
    }
}
