//! Who throws away everybody's firewall rules at boot, with an interface or by the clock: read out of what is started, not
//! from a list of products. What is no shell script cannot be read like that; the few of those that are packaged have names.
//!
//! Looks at files alone, below `root`. Nothing of a script is kept but the line that was found.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use enxame_core::facts::RivalFacts;

/// Where units are, the first that has one decides (`systemd.unit(5)`).
const UNITS: [&str; 7] = [
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];
/// What loads our own rules, and what adds to them without flushing.
const HARMLESS: [&str; 4] = ["ufw.service", "enxame-guard.service", "docker.service", "fail2ban.service"];
/// Perl, C, and scripts that call iptables through functions of their own.
const KNOWN: [&str; 10] = [
    "arno-iptables-firewall",
    "csf",
    "ferm",
    "firehol",
    "fiaif",
    "shorewall",
    "shorewall6",
    "shorewall-lite",
    "shorewall6-lite",
    "vuurmuur",
];
/// Scripts that are run one by one: with an interface (interfaces(5), dhclient-script(8), networkd-dispatcher,
/// NetworkManager-dispatcher(8)), at boot (cloud-init), by the clock (cron(8)).
const HOOKS: [&str; 14] = [
    "etc/network/if-pre-up.d",
    "etc/network/if-up.d",
    "etc/network/if-down.d",
    "etc/network/if-post-down.d",
    "etc/dhcp/dhclient-enter-hooks.d",
    "etc/dhcp/dhclient-exit-hooks.d",
    "etc/networkd-dispatcher/configured.d",
    "etc/networkd-dispatcher/routable.d",
    "etc/NetworkManager/dispatcher.d",
    "var/lib/cloud/scripts/per-boot",
    "etc/cron.hourly",
    "etc/cron.daily",
    "etc/cron.weekly",
    "etc/cron.monthly",
];
/// Files with a command in each line, behind other words.
const TABLES: [&str; 2] = ["etc/crontab", "etc/network/interfaces"];
const DIRECTORIES_OF_TABLES: [&str; 3] =
    ["etc/cron.d", "var/spool/cron/crontabs", "etc/network/interfaces.d"];
/// Longer is no script that somebody wrote.
const MAX_SCRIPT_BYTES: u64 = 256 * 1024;
/// How many scripts are followed from what is started: `netfilter-persistent` has plugins.
const DEPTH: u8 = 3;

/// A line that throws rules away.
struct Harm {
    place: String,
    text: String,
    is_sure: bool,
}

/// Looks below `root`; each rival once.
pub(super) fn look(root: &Path) -> Vec<RivalFacts> {
    let mut found = BTreeMap::new();
    let mut add = |started_by: String, harm: Option<Harm>| {
        if let Some(Harm { place, text, is_sure }) = harm {
            found.entry(started_by.clone()).or_insert(RivalFacts { started_by, place, text, is_sure });
        }
    };
    let files = Files::below(root);
    for unit in files.enabled_units() {
        let harm = files.of_unit(&unit);
        add(unit, harm);
    }
    for (name, script) in files.boot_scripts() {
        let known = KNOWN.contains(&name.as_str());
        let harm = if known { Some(known_by_name(&script, &name)) } else { files.of_script(&script, DEPTH) };
        add(shown(&script), harm);
    }
    for script in HOOKS.iter().flat_map(|directory| files.entries(directory)).chain(["etc/rc.local".into()]) {
        let harm = files.of_script(&script, DEPTH);
        add(shown(&script), harm);
    }
    let tables = DIRECTORIES_OF_TABLES.iter().flat_map(|directory| files.entries(directory));
    for table in TABLES.iter().map(PathBuf::from).chain(tables) {
        let harm = files.of_lines(&table, &files.text(&table).unwrap_or_default(), DEPTH, &|_| true);
        add(shown(&table), harm);
    }
    found.into_values().collect()
}

/// A path below the root as people write it.
fn shown(path: &Path) -> String {
    format!("/{}", path.display())
}

fn known_by_name(script: &Path, name: &str) -> Harm {
    Harm { place: shown(script), text: format!("({name} loads a firewall of its own)"), is_sure: true }
}

struct Files<'a> {
    root: &'a Path,
    /// The directories of [`UNITS`] that are there, with the names in each: a unit is looked for in all of them.
    units: Vec<(&'static str, BTreeSet<OsString>)>,
}

impl<'a> Files<'a> {
    fn below(root: &'a Path) -> Self {
        let mut seen = BTreeSet::new();
        // `lib` is `usr/lib` on most systems.
        let is_another =
            |directory: &&str| fs::canonicalize(root.join(directory)).is_ok_and(|path| seen.insert(path));
        let names = |directory: &'static str| {
            let entries = fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
            (directory, entries.map(|entry| entry.file_name()).collect())
        };
        Self { root, units: UNITS.into_iter().filter(is_another).map(names).collect() }
    }

    /// The unit directories that have an entry of that name, in their order.
    fn unit_directories_with(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let having = self.units.iter().filter(move |(_, names)| names.contains(OsStr::new(name)));
        having.map(|(directory, _)| *directory)
    }

    fn entries(&self, directory: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(directory)).into_iter().flatten().flatten();
        let mut names: Vec<PathBuf> =
            entries.map(|entry| Path::new(directory).join(entry.file_name())).collect();
        names.sort();
        names
    }

    /// The text of a regular file that is not too long.
    fn text(&self, path: &Path) -> Option<String> {
        self.text_that_begins(path, b"")
    }

    /// That of one which begins with these bytes: most of what is started is a program, and is not read to its end.
    fn text_that_begins(&self, path: &Path, beginning: &[u8]) -> Option<String> {
        let path = self.root.join(path);
        let about = fs::metadata(&path).ok()?;
        if !about.is_file() || about.len() > MAX_SCRIPT_BYTES {
            return None;
        }
        let mut file = File::open(&path).ok()?;
        let mut bytes = vec![0; beginning.len()];
        file.read_exact(&mut bytes).ok()?;
        if bytes != beginning {
            return None;
        }
        file.take(MAX_SCRIPT_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Every unit that another one wants, and what the timers and paths among them start.
    fn enabled_units(&self) -> BTreeSet<String> {
        let mut units = BTreeSet::new();
        for (directory, names) in &self.units {
            let wanting = names.iter().filter_map(|name| {
                let name = name.to_str()?;
                let wants = [".wants", ".requires"].iter().any(|end| name.ends_with(end));
                wants.then(|| format!("{directory}/{name}"))
            });
            for wanted in wanting.flat_map(|path| self.entries(&path)) {
                let Some(name) = wanted.file_name().and_then(|name| name.to_str()) else { continue };
                let started = name.strip_suffix(".timer").or_else(|| name.strip_suffix(".path"));
                units.extend(started.map(|name| format!("{name}.service")));
                units.insert(name.to_owned());
            }
        }
        units.retain(|unit| unit.ends_with(".service") && !HARMLESS.contains(&unit.as_str()));
        units
    }

    /// A unit's file, with what is put on top of it.
    fn unit_file(&self, unit: &str) -> Option<(PathBuf, String)> {
        let template = unit.split_once('@').map(|(name, _)| format!("{name}@.service"));
        let names = [Some(unit.to_owned()), template];
        let path = names
            .iter()
            .flatten()
            .find_map(|name| Some(Path::new(self.unit_directories_with(name).next()?).join(name)))?;
        // One that is masked is a link to no file.
        let mut text = self.text(&path)?;
        let additions = format!("{unit}.d");
        for directory in self.unit_directories_with(&additions) {
            for addition in self.entries(&format!("{directory}/{additions}")) {
                text.push('\n');
                text.push_str(&self.text(&addition).unwrap_or_default());
            }
        }
        Some((path, text))
    }

    fn of_unit(&self, unit: &str) -> Option<Harm> {
        let (path, text) = self.unit_file(unit)?;
        let text = text.replace("\\\n", " ");
        if KNOWN.iter().any(|name| unit.strip_suffix(".service") == Some(name)) {
            return Some(known_by_name(&path, unit));
        }
        let starts = |line: &str| line.starts_with("ExecStart");
        let harm = self.of_lines(&path, &text, DEPTH, &starts);
        harm.or_else(|| calls_itself_a_firewall(&path, &text))
    }

    /// What is started of `SysV`'s scripts: those without a unit of that name.
    fn boot_scripts(&self) -> BTreeMap<String, PathBuf> {
        let links =
            ["S", "2", "3", "4", "5"].into_iter().flat_map(|level| self.entries(&format!("etc/rc{level}.d")));
        let name = |link: PathBuf| {
            let name = link.file_name()?.to_str()?.strip_prefix('S')?;
            Some(name.trim_start_matches(|digit: char| digit.is_ascii_digit()).to_owned())
        };
        let names: BTreeSet<String> = links.filter_map(name).collect();
        let has_unit = |name: &String| self.unit_file(&format!("{name}.service")).is_some();
        let is_harmless = |name: &String| HARMLESS.contains(&format!("{name}.service").as_str());
        let started = names.into_iter().filter(|name| !has_unit(name) && !is_harmless(name));
        started.map(|name| (name.clone(), Path::new("etc/init.d").join(name))).collect()
    }

    fn of_script(&self, path: &Path, depth: u8) -> Option<Harm> {
        let text = self.text_that_begins(path, b"#!")?;
        let interpreter = text.lines().next()?.strip_prefix("#!")?;
        if interpreter.contains("nft") {
            return flushing_line(path, &text);
        }
        // What stands at the margin is always run; the rest hangs on a condition, or is a function.
        let is_shell = ["sh", "bash", "dash"]
            .iter()
            .any(|shell| interpreter.split_whitespace().any(|word| word.rsplit('/').next() == Some(shell)));
        is_shell.then(|| self.of_lines(path, &text, depth, &|_| true))?
    }

    /// The first line that throws rules away for sure or, where there is none, the first that may.
    fn of_lines(&self, path: &Path, text: &str, depth: u8, counts: &dyn Fn(&str) -> bool) -> Option<Harm> {
        let mut doubtful = None;
        for line in text.lines().filter(|line| counts(line) && !line.trim_start().starts_with('#')) {
            let is_at_the_margin = !line.starts_with([' ', '\t']);
            let own = || Harm { place: shown(path), text: line.trim().to_owned(), is_sure: is_at_the_margin };
            let harm =
                if self.flushes(line) { Some(own()) } else { self.of_what_it_calls(line, text, depth) };
            match harm {
                Some(harm) if harm.is_sure && is_at_the_margin => return Some(harm),
                Some(harm) => drop(doubtful.get_or_insert(Harm { is_sure: false, ..harm })),
                None => {}
            }
        }
        doubtful
    }

    /// The scripts that a line names, one by one or by their directory.
    fn of_what_it_calls(&self, line: &str, text: &str, depth: u8) -> Option<Harm> {
        let depth = depth.checked_sub(1)?;
        let between = |character: char| character.is_whitespace() || "=;|&()<>\"'`{}".contains(character);
        let paths = line
            .split(between)
            .filter_map(|word| word.trim_start_matches(['-', '+', '!', '@']).strip_prefix('/'));
        paths.filter(|path| !path.is_empty()).find_map(|path| {
            let of_directory = || {
                let runs_parts = text.contains("run-parts");
                let scripts = if runs_parts { self.entries(path) } else { Vec::new() };
                scripts.iter().find_map(|script| self.of_script(script, depth))
            };
            self.of_script(Path::new(path), depth).or_else(of_directory)
        })
    }

    /// Whether a command of the line throws away rules that are not its own.
    fn flushes(&self, line: &str) -> bool {
        let line: String = line.chars().filter(|character| !"\"'".contains(*character)).collect();
        let commands = line.split([';', '|', '&', '(', ')', '`']);
        commands.map(|command| command.split_whitespace().collect::<Vec<_>>()).any(|words| {
            let mut rest = words.iter().enumerate();
            rest.any(|(place, word)| self.is_flush(program(word), words.get(place + 1..).unwrap_or_default()))
        })
    }

    fn is_flush(&self, program: &str, arguments: &[&str]) -> bool {
        let has = |options: [&str; 2]| arguments.iter().any(|word| options.contains(word));
        let is_of = |end: &str| {
            let variants = ["", "-nft", "-legacy"];
            variants.iter().any(|variant| {
                program
                    .strip_suffix(end)
                    .is_some_and(|name| is_iptables(name.strip_suffix(variant).unwrap_or(name)))
            })
        };
        if is_of("-restore") || is_of("-apply") {
            return !has(["-n", "--noflush"])
                && !has(["-t", "--test"])
                && !arguments.iter().any(|word| word.contains("NOFLUSH"));
        }
        if is_of("") {
            let flush = arguments.iter().position(|word| ["-F", "--flush"].contains(word));
            let chain = flush.map(|place| arguments.get(place + 1).copied());
            return chain.is_some_and(|chain| chain.is_none_or(is_everybodys_chain));
        }
        if ["nft", "NFT"].contains(&program) {
            let file = arguments.iter().position(|word| ["-f", "--file"].contains(word));
            let file = file.and_then(|place| arguments.get(place + 1)?.strip_prefix('/'));
            let text = file.and_then(|file| self.text(Path::new(file))).unwrap_or_default();
            return arguments.windows(2).any(|words| words == ["flush", "ruleset"])
                || flushing_line(Path::new(""), &text).is_some();
        }
        false
    }
}

/// A command's name: without its directory, and a variable's without its marks.
fn program(word: &str) -> &str {
    let name = word.rsplit('/').next().unwrap_or(word);
    let name = name.rsplit('=').next().unwrap_or(name);
    name.trim_start_matches(['$', '{', '-', '@', '+', '!']).trim_end_matches('}')
}

/// `iptables`, or what scripts call it.
fn is_iptables(name: &str) -> bool {
    ["iptables", "ip4tables", "ip6tables", "ipt", "ipt4", "ipt6"]
        .contains(&name.to_ascii_lowercase().as_str())
}

/// Another option follows, or a chain that is not one program's own.
fn is_everybodys_chain(word: &str) -> bool {
    let chains = ["INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING", "DOCKER", "DOCKER-USER"];
    word.starts_with(['-', '>', '<', '#']) || word.starts_with("2>") || chains.contains(&word)
}

/// Where nft's own language throws all rules away (nft(8)).
fn flushing_line(path: &Path, text: &str) -> Option<Harm> {
    let flushes =
        |line: &&str| line.split_whitespace().collect::<Vec<_>>().starts_with(&["flush", "ruleset"]);
    let line = text.lines().find(flushes)?;
    Some(Harm { place: shown(path), text: line.trim().to_owned(), is_sure: true })
}

/// A firewall is to be up before the network is (systemd.special(7), `network-pre.target`); a unit that says both is one.
fn calls_itself_a_firewall(path: &Path, text: &str) -> Option<Harm> {
    let line = text.lines().find(|line| line.starts_with("Description="))?;
    let words = line.to_lowercase();
    let is_one = ["firewall", "iptables", "netfilter", "nftables"].iter().any(|word| words.contains(word));
    let is_early = text.lines().any(|line| {
        line.strip_prefix("Before=")
            .is_some_and(|units| units.split_whitespace().any(|unit| unit == "network-pre.target"))
    });
    // What only adds to the rules (CrowdSec's bouncer) calls itself one too, and comes later.
    (is_one && is_early).then(|| Harm { place: shown(path), text: line.to_owned(), is_sure: true })
}

#[cfg(test)]
mod tests;
