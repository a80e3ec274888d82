//! What dpkg knows, from its status file (deb822 stanzas, `dpkg(1)`), without starting dpkg.

use std::collections::{BTreeMap, BTreeSet};

use enxame_core::facts::PackageFacts;

/// Dpkg's database.
pub(crate) const STATUS: &str = "/var/lib/dpkg/status";

/// Picks the packages that are wanted out of the text of [`STATUS`].
///
/// Where a package is there for more than one architecture, the one that is installed counts.
pub(crate) fn packages(status: &str, wanted: &BTreeSet<String>) -> BTreeMap<String, PackageFacts> {
    let mut found: BTreeMap<String, PackageFacts> = BTreeMap::new();
    for stanza in status.split("\n\n") {
        let Some(name) = field(stanza, "Package").filter(|name| wanted.contains(*name)) else {
            continue;
        };
        let package = package(stanza);
        let known = found.entry(name.to_owned()).or_insert_with(|| package.clone());
        if known.installed.is_none() {
            *known = package;
        }
    }
    found
}

fn package(stanza: &str) -> PackageFacts {
    let mut words = field(stanza, "Status").unwrap_or_default().split(' ');
    let (want, _flag, state) = (words.next(), words.next(), words.next());
    // Waiting for a trigger of another package is still installed and working.
    let is_installed = matches!(state, Some("installed" | "triggers-awaited" | "triggers-pending"));
    PackageFacts {
        installed: field(stanza, "Version").filter(|_| is_installed).map(str::to_owned),
        is_held: want == Some("hold"),
    }
}

/// A field of one line; continuation lines begin with a space and so cannot be mistaken for one.
fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "Package: docker.io\nStatus: hold ok installed\nPriority: optional\nSection: admin\n\
         Maintainer: Debian Go Packaging Team <team+pkg-go@tracker.debian.org>\nArchitecture: amd64\n\
         Version: 20.10.24+dfsg1-1+deb12u1\nDescription: Linux container runtime\n Package: not-a-field\n .\n Docker.\n\n\
         Package: ufw\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 0.36.2-1\n\n\
         Package: man-db\nStatus: install ok triggers-pending\nArchitecture: amd64\nVersion: 2.11.2-2\n\n\
         Package: libc6\nStatus: deinstall ok config-files\nArchitecture: i386\nVersion: 2.36-1\n\n\
         Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u10\n\n\
         Package: broken\nStatus: install reinstreq half-installed\nArchitecture: amd64\nVersion: 1\n";

    fn look(name: &str) -> Option<PackageFacts> {
        packages(SAMPLE, &BTreeSet::from([name.to_owned()])).remove(name)
    }

    fn facts(installed: Option<&str>, is_held: bool) -> PackageFacts {
        PackageFacts { installed: installed.map(str::to_owned), is_held }
    }

    #[test]
    fn a_held_package_is_installed_and_held() {
        assert_eq!(look("docker.io"), Some(facts(Some("20.10.24+dfsg1-1+deb12u1"), true)));
    }

    #[test]
    fn left_over_configuration_and_half_an_installation_are_not_installed() {
        assert_eq!([look("ufw"), look("broken")], [Some(facts(None, false)), Some(facts(None, false))]);
    }

    #[test]
    fn a_pending_trigger_or_a_foreign_architecture_does_not_hide_an_installation() {
        assert_eq!(look("man-db"), Some(facts(Some("2.11.2-2"), false)));
        assert_eq!(look("libc6"), Some(facts(Some("2.36-9+deb12u10"), false)));
    }

    #[test]
    fn a_description_does_not_make_a_package() {
        assert_eq!(look("not-a-field"), None);
    }
}
