//! Systemd units, by one `systemctl show` of those that have a file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use enxame_core::facts::UnitFacts;

use crate::host::{Command, Host};

/// Where the system's units are (`systemd.unit(5)`, "System Unit Search Path").
const DIRECTORIES: [&str; 12] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// Systemd answers nobody while it reads its units again, which takes a small machine under load many seconds.
const ANSWER: Duration = Duration::from_secs(30);

/// Looks at the units that were asked for. Units that could not be looked at are left out.
///
/// Systemd is asked only about those with a file: it searches all its directories for each of the others.
pub(crate) fn look(host: &dyn Host, wanted: &BTreeSet<String>) -> BTreeMap<String, UnitFacts> {
    let has_file =
        |unit: &&String| DIRECTORIES.iter().any(|directory| host.exists(&format!("{directory}/{unit}")));
    let (there, absent): (BTreeSet<String>, BTreeSet<String>) =
        wanted.iter().cloned().partition(|unit| has_file(&unit));
    let mut found = shown(host, &there);
    // Where systemd does not answer, nothing is said of any.
    if found.is_empty() && !there.is_empty() {
        return found;
    }
    let absent = absent.into_iter().map(|unit| {
        (unit, UnitFacts { exists: false, active: "inactive".to_owned(), enabled: String::new() })
    });
    found.extend(absent);
    found
}

fn shown(host: &dyn Host, wanted: &BTreeSet<String>) -> BTreeMap<String, UnitFacts> {
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let options = ["systemctl", "show", "--no-pager", "-p", "Id,LoadState,ActiveState,UnitFileState", "--"];
    let arguments = options.into_iter().chain(wanted.iter().map(String::as_str));
    // What it printed counts even if one name was refused, which makes it exit with 1.
    host.run(&Command::new(arguments).within(ANSWER))
        .map(|finished| units(&finished.stdout, wanted))
        .unwrap_or_default()
}

/// Reads blocks of `key=value` lines. They come in the order asked for, which is what tells an alias apart
/// (`sshd.service` answers with `Id=ssh.service`); if blocks are missing, only `Id` can be trusted.
fn units(shown: &str, wanted: &BTreeSet<String>) -> BTreeMap<String, UnitFacts> {
    let blocks: Vec<(String, UnitFacts)> =
        shown.split("\n\n").filter(|block| !block.trim().is_empty()).map(unit).collect();
    if blocks.len() == wanted.len() {
        wanted.iter().cloned().zip(blocks.into_iter().map(|(_, facts)| facts)).collect()
    } else {
        blocks.into_iter().filter(|(id, _)| wanted.contains(id)).collect()
    }
}

fn unit(block: &str) -> (String, UnitFacts) {
    let mut id = String::new();
    let mut facts = UnitFacts::default();
    for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "Id" => value.clone_into(&mut id),
            "LoadState" => facts.exists = value != "not-found",
            "ActiveState" => value.clone_into(&mut facts.active),
            "UnitFileState" => value.clone_into(&mut facts.enabled),
            _ => {}
        }
    }
    (id, facts)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::host::{FakeHost, Finished};

    // As systemd 252 (Debian 12) prints it.
    const SHOWN: &str = "Id=docker.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n\
                         Id=no-such.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n\n\
                         Id=rpcbind.socket\nLoadState=masked\nActiveState=inactive\nUnitFileState=masked\n\n\
                         Id=ssh.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n";
    const NAMES: [&str; 4] = ["docker.service", "no-such.service", "rpcbind.socket", "sshd.service"];

    fn facts(exists: bool, active: &str, enabled: &str) -> UnitFacts {
        UnitFacts { exists, active: active.to_owned(), enabled: enabled.to_owned() }
    }

    fn host(with_files: &[&str], code: i32, shown: &str) -> FakeHost {
        let finished = Finished { code: Some(code), stdout: shown.to_owned(), stderr: String::new() };
        let host = FakeHost::default().answering("systemctl show", finished);
        for unit in with_files {
            host.write(&Path::new("/usr/lib/systemd/system").join(unit), "[Unit]\n", 0o644).unwrap();
        }
        host
    }

    fn look_at(names: &[&str], code: i32, shown: &str) -> BTreeMap<String, UnitFacts> {
        look(&host(names, code, shown), &names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn systemd_is_not_asked_about_units_without_a_file() {
        let shown = "Id=ssh.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n";
        let host = host(&["ssh.service"], 0, shown);
        let units = look(&host, &["docker.service", "ssh.service"].map(str::to_owned).into());
        let asked: Vec<String> = host.ran().iter().map(ToString::to_string).collect();
        assert!(asked.iter().all(|command| !command.contains("docker.service")), "{asked:?}");
        assert_eq!(units["ssh.service"], facts(true, "active", "enabled"));
        assert_eq!(units["docker.service"], facts(false, "inactive", ""));
    }

    #[test]
    fn units_are_read_by_the_name_they_were_asked_for() {
        let units = look_at(&NAMES, 0, SHOWN);
        assert_eq!(units["docker.service"], facts(true, "active", "enabled"));
        assert_eq!(units["no-such.service"], facts(false, "inactive", ""));
        assert_eq!(units["rpcbind.socket"], facts(true, "inactive", "masked"));
        assert_eq!(units["sshd.service"], facts(true, "active", "enabled"));
    }

    #[test]
    fn a_refused_name_leaves_the_others_readable() {
        let units =
            look_at(&["docker.service", "no-such.service", "rpcbind.socket", "ssh.service", "x@"], 1, SHOWN);
        assert_eq!(units["ssh.service"], facts(true, "active", "enabled"));
        assert_eq!(units.get("x@"), None);
    }

    #[test]
    fn without_systemd_no_unit_is_said_to_be_absent() {
        assert_eq!(look_at(&NAMES, 1, ""), BTreeMap::new());
        let deaf = host(&NAMES[..1], 1, "");
        assert_eq!(look(&deaf, &NAMES.map(str::to_owned).into()), BTreeMap::new());
    }
}
