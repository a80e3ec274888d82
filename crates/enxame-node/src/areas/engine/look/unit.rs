//! How systemd starts dockerd, or would: its unit with what is put on top of it, there or not yet.

use std::path::Path;

use enxame_core::facts::EngineFlag;

use crate::areas::machine::look::drop_ins::{self, Line};

/// Where units are, the first that has one decides (`systemd.unit(5)`).
const DIRECTORIES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
const UNIT: &str = "docker.service";
/// Flags whose value is judged. Those of a logging driver may be secrets.
const JUDGED: [&str; 4] = ["config-file", "iptables", "live-restore", "firewall-backend"];

/// The flags of dockerd's command line.
pub(crate) fn flags(root: &Path) -> Vec<EngineFlag> {
    let units = DIRECTORIES.map(|directory| drop_ins::lines_of(root, &Path::new(directory).join(UNIT)));
    let unit = units.into_iter().find(|lines| !lines.is_empty()).unwrap_or_default();
    let additions = DIRECTORIES.map(|directory| format!("{directory}/{UNIT}.d"));
    let additions = drop_ins::lines(root, &additions.each_ref().map(String::as_str));
    let (mut started, mut environment) = (None, Vec::new());
    for line in unit.into_iter().chain(additions) {
        match line.text.strip_prefix("EnvironmentFile=").map(str::trim) {
            Some("") => environment.clear(),
            Some(path) => environment.push(path.trim_start_matches(['-', '/']).to_owned()),
            None => {}
        }
        // An empty one takes away what was said before.
        if let Some(command) = line.text.strip_prefix("ExecStart=") {
            let command = command.trim().to_owned();
            started = (!command.is_empty()).then_some(Line { text: command, ..line });
        }
    }
    let Some(line) = started else { return Vec::new() };
    let words = shlex::split(&line.text).unwrap_or_default();
    let mut flags = Vec::new();
    let mut own = Vec::new();
    for word in words.into_iter().skip(1) {
        // systemd takes such a word apart at blanks (`systemd.service(5)`, "COMMAND LINES").
        match word.strip_prefix('$') {
            Some(name) if !name.starts_with(['{', '$']) => {
                let given = environment.iter().rev().find_map(|path| variable(root, path, name));
                flags.extend(given.into_iter().flat_map(|line| {
                    let words = line.text.split_whitespace().map(str::to_owned).collect();
                    of_words(words, &line.place)
                }));
            }
            _ => own.push(word),
        }
    }
    flags.extend(of_words(own, &line.place));
    flags
}

/// What a file of the environment sets a variable to, last, without its quotes.
fn variable(root: &Path, path: &str, name: &str) -> Option<Line> {
    let lines = drop_ins::lines_of(root, Path::new(path));
    let value = |line: Line| {
        let value =
            line.text.strip_prefix(name)?.strip_prefix('=')?.trim().trim_matches(['"', '\'']).to_owned();
        Some(Line { text: value, ..line })
    };
    lines.into_iter().rev().find_map(value)
}

fn of_words(words: Vec<String>, place: &str) -> Vec<EngineFlag> {
    let mut words = words.into_iter().peekable();
    let mut flags = Vec::new();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, words.next_if(|next| !next.starts_with('-'))),
        };
        let value = value.filter(|_| JUDGED.contains(&name));
        flags.push(EngineFlag { name: name.to_owned(), value, place: place.to_owned() });
    }
    flags
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_command_line_that_counts_is_read_and_no_secret_of_it_kept() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(flags(root.path()), []);
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let shown = || -> Vec<String> {
            let shown = |flag: EngineFlag| format!("{} {} {:?}", flag.place, flag.name, flag.value);
            flags(root.path()).into_iter().map(shown).collect()
        };
        write(
            "usr/lib/systemd/system/docker.service",
            "[Service]\nExecStart=/usr/bin/dockerd -H fd:// $DOCKER_OPTS\n",
        );
        assert_eq!(shown(), ["/usr/lib/systemd/system/docker.service:2 H None"]);
        let addition = "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --iptables=false \\\n  --log-opt splunk-token=secret -D\n";
        write("etc/systemd/system/docker.service.d/override.conf", addition);
        let place = "/etc/systemd/system/docker.service.d/override.conf:3";
        let expected = ["iptables Some(\"false\")", "log-opt None", "D None"];
        assert_eq!(shown(), expected.map(|flag| format!("{place} {flag}")));
        write("usr/lib/systemd/system/docker.service", "[Service]\nEnvironmentFile=-/etc/default/docker\n");
        write(
            "etc/default/docker",
            "# DOCKER_OPTS=\"--iptables=true\"\nDOCKER_OPTS=\"--iptables=false --config-file /srv/d.json\"\n",
        );
        write(
            "etc/systemd/system/docker.service.d/override.conf",
            "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd:// $DOCKER_OPTS\n",
        );
        let of_file = ["iptables Some(\"false\")", "config-file Some(\"/srv/d.json\")"];
        let of_file = of_file.map(|flag| format!("/etc/default/docker:2 {flag}"));
        let all = of_file.into_iter().chain([format!("{place} H None")]).collect::<Vec<_>>();
        assert_eq!(shown(), all);
        write("etc/systemd/system/docker.service.d/z.conf", "[Service]\nExecStart=\n");
        assert_eq!(flags(root.path()), []);
    }
}
