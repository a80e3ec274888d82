//! The machine's own Debian mirror, read from its apt sources (sources.list(5), both formats).
//!
//! Invariant: no mirror is ever named here; a machine without one is told how to give one.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// Where the packages of an image come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Mirror {
    /// The archive proper.
    pub(crate) archive: String,
    /// The security archive.
    pub(crate) security: String,
}

/// For machines that are not Debian: "ARCHIVE SECURITY".
const OVERRIDE: &str = "ENXAME_LAB_MIRROR";

#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
}

/// The mirror this machine installs its own packages from.
pub(crate) fn machine_mirror() -> Result<Mirror> {
    if let Ok(given) = std::env::var(OVERRIDE) {
        let mut words = given.split_whitespace().map(str::to_owned);
        let (Some(archive), Some(security)) = (words.next(), words.next()) else {
            bail!("{OVERRIDE} holds two addresses, the archive's and the security archive's, not {given:?}");
        };
        return Ok(Mirror { archive, security });
    }
    let os_release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename =
        os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("stable");
    choose(&read_sources(Path::new("/etc/apt"))?, codename.trim_matches('"'))
        .with_context(|| format!("hint: set {OVERRIDE}='<Debian archive> <Debian security archive>'"))
}

fn choose(sources: &[Source], codename: &str) -> Result<Mirror> {
    let with_suite = |suite: &str| sources.iter().find(|source| source.suites.iter().any(|it| it == suite));
    let Some(archive) = with_suite(codename) else {
        bail!("none of this machine's apt sources is a Debian archive of {codename}");
    };
    let Some(security) = with_suite(&format!("{codename}-security")) else {
        bail!("none of this machine's apt sources is the security archive of {codename}");
    };
    Ok(Mirror { archive: archive.uri.clone(), security: security.uri.clone() })
}

fn read_sources(apt: &Path) -> Result<Vec<Source>> {
    let mut sources = one_line_format(&fs::read_to_string(apt.join("sources.list")).unwrap_or_default());
    let parts = apt.join("sources.list.d");
    let entries = fs::read_dir(&parts).with_context(|| format!("cannot list {}", parts.display()))?;
    let mut paths = entries.map(|entry| entry.map(|it| it.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    for path in paths {
        let parse = match path.extension().and_then(|it| it.to_str()) {
            Some("list") => one_line_format,
            Some("sources") => deb822_format,
            _ => continue,
        };
        sources.extend(parse(
            &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?,
        ));
    }
    Ok(sources)
}

/// `deb [options] uri suite component...`
fn one_line_format(text: &str) -> Vec<Source> {
    let parse = |line: &str| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = if rest.starts_with('[') { rest.split_once(']')?.1 } else { rest };
        let mut words = rest.split_whitespace().map(str::to_owned);
        let (uri, suite) = (words.next()?, words.next()?);
        words.any(|component| component == "main").then(|| Source { uri, suites: vec![suite] })
    };
    text.lines().filter_map(parse).collect()
}

/// Stanzas of `Key: value`, separated by empty lines.
fn deb822_format(text: &str) -> Vec<Source> {
    let parse = |stanza: &str| {
        let field = |name: &str| {
            stanza
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        let has =
            |name: &str, word: &str| field(name).unwrap_or_default().split_whitespace().any(|it| it == word);
        if field("Enabled").is_some_and(|value| value.trim() == "no")
            || !has("Types", "deb")
            || !has("Components", "main")
        {
            return None;
        }
        Some(Source {
            uri: field("URIs")?.split_whitespace().next()?.to_owned(),
            suites: field("Suites")?.split_whitespace().map(str::to_owned).collect(),
        })
    };
    text.split("\n\n").filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# a comment
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
";

    fn expected() -> Mirror {
        Mirror {
            archive: "http://mirror.test/debian".to_owned(),
            security: "http://mirror.test/debian-security".to_owned(),
        }
    }

    #[test]
    fn both_formats_give_the_same_mirror() {
        let one_line = "# deb http://no.test/debian bookworm main\n\
            deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main contrib\n\
            deb http://mirror.test/debian-security bookworm-security main\n";
        assert_eq!(choose(&deb822_format(DEB822), "bookworm").unwrap(), expected());
        assert_eq!(choose(&one_line_format(one_line), "bookworm").unwrap(), expected());
    }

    #[test]
    fn a_vendor_source_is_not_taken_for_the_archive() {
        let vendor = one_line_format("deb https://vendor.test/apt tool-bookworm main\n");
        let error = choose(&vendor, "bookworm").unwrap_err().to_string();
        assert!(error.contains("none of this machine's apt sources"), "{error}");
    }

    #[test]
    fn a_disabled_stanza_is_left_out() {
        assert_eq!(deb822_format(&format!("Enabled: no\n{DEB822}")).len(), 1);
    }
}
