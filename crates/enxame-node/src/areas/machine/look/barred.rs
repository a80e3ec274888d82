//! What keeps modules from being loaded: modprobe's configuration, the kernel's command line, and the kernel's own switch.
//!
//! Read, not asked: `modprobe --show-depends` tells neither file nor line, and nothing of the next boot, at which
//! systemd-modules-load goes by the black lists too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use enxame_core::facts::{Bar, ModuleState};

use super::drop_ins::{self, Line};

/// modprobe.d(5).
const DIRECTORIES: [&str; 5] =
    ["etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"];
/// What the kernel was started with.
const COMMAND_LINE: &str = "proc/cmdline";
/// 1: nothing is loaded any more until the next boot.
const DISABLED: &str = "proc/sys/kernel/modules_disabled";

/// A module that is not built in: its name, whether it is loaded, and what it needs.
pub(super) struct Module<'a> {
    pub(super) name: &'a str,
    pub(super) state: ModuleState,
    pub(super) needs: BTreeSet<String>,
}

/// What bars each of these modules, by its name. `is_known`: whether there is a module of that name at all.
pub(super) fn look(
    root: &Path,
    modules: &[Module<'_>],
    is_known: &dyn Fn(&str) -> bool,
) -> BTreeMap<String, Bar> {
    let rules: Vec<Rule> = drop_ins::lines(root, &DIRECTORIES)
        .into_iter()
        .filter_map(|line| Rule::read(line, is_known))
        .chain(of_command_line(&drop_ins::lines_of(root, Path::new(COMMAND_LINE))))
        .collect();
    let is_disabled =
        drop_ins::lines_of(root, Path::new(DISABLED)).first().is_some_and(|line| line.text == "1");
    let bar = |module: &Module<'_>| {
        let applies = |rule: &&Rule| {
            rule.names(module.name)
                || (!rule.bar.at_boot_only && module.needs.iter().any(|name| rule.names(name)))
        };
        // What bars now counts for more than what does so at the next boot.
        let mut found: Vec<&Rule> = rules.iter().filter(applies).collect();
        found.sort_by_key(|rule| rule.bar.at_boot_only);
        let of_rules = found.first().map(|rule| rule.bar.clone());
        let disabled = || {
            let bars = is_disabled && module.state != ModuleState::Loaded;
            bars.then(|| Bar { place: format!("/{DISABLED}"), text: "1".to_owned(), at_boot_only: false })
        };
        Some((module.name.to_owned(), of_rules.or_else(disabled)?))
    };
    modules.iter().filter_map(bar).collect()
}

struct Rule {
    /// A module, or a pattern of fnmatch(3).
    pattern: String,
    bar: Bar,
}

impl Rule {
    /// Reads a line that bars a module; `options`, `softdep` and the like do not.
    fn read(line: Line, is_known: &dyn Fn(&str) -> bool) -> Option<Self> {
        let mut words = line.text.split_whitespace();
        let (directive, pattern) = (words.next()?, words.next()?.replace('-', "_"));
        let rest: Vec<&str> = words.collect();
        let at_boot_only = match directive {
            "install" if loads_nothing(&rest) => false,
            // An alias of a module's own name leads elsewhere; `off` is no module's name.
            "alias" if rest.first().is_some_and(|target| !is_known(target)) => false,
            "blacklist" => true,
            _ => return None,
        };
        Some(Self { pattern, bar: Bar { place: line.place, text: line.text, at_boot_only } })
    }

    fn names(&self, module: &str) -> bool {
        let module = module.replace('-', "_");
        glob::Pattern::new(&self.pattern).map_or(self.pattern == module, |pattern| pattern.matches(&module))
    }
}

/// Whether a command that is run in place of loading loads nothing: one that calls no modprobe and is no script of
/// somebody's own.
fn loads_nothing(command: &[&str]) -> bool {
    let is_systems = |program: &str| {
        let directories = ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"];
        !program.starts_with('/') || directories.iter().any(|directory| program.starts_with(directory))
    };
    let loads = |word: &&str| word.contains("modprobe") || word.contains("insmod");
    command.first().is_some_and(|program| is_systems(program)) && !command.iter().any(loads)
}

/// `modprobe.blacklist=` is modprobe's, `module_blacklist=` the kernel's, which loads none of those by any name
/// (kernel-parameters.txt).
fn of_command_line(lines: &[Line]) -> Vec<Rule> {
    let words = lines.iter().flat_map(|line| line.text.split_whitespace());
    let lists = words.filter_map(|word| match word.split_once('=')? {
        ("modprobe.blacklist", modules) => Some((word, modules, true)),
        ("module_blacklist", modules) => Some((word, modules, false)),
        _ => None,
    });
    let rule = |module: &str, word: &str, at_boot_only| Rule {
        pattern: module.replace('-', "_"),
        bar: Bar { place: "the kernel's command line".to_owned(), text: word.to_owned(), at_boot_only },
    };
    lists
        .flat_map(|(word, modules, at_boot_only)| {
            modules.split(',').map(move |module| rule(module, word, at_boot_only))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What bars `esp4`, which needs `xfrm_algo`, where these files are there.
    fn bar_of(state: ModuleState, files: &[(&str, &str)]) -> Option<Bar> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let module = Module { name: "esp4", state, needs: ["xfrm_algo".to_owned()].into() };
        look(root.path(), &[module], &|name| name.replace('-', "_") == "esp4_offload").remove("esp4")
    }

    fn bar(place: &str, text: &str, at_boot_only: bool) -> Bar {
        Bar { place: place.to_owned(), text: text.to_owned(), at_boot_only }
    }

    #[test]
    fn every_way_to_bar_a_module_is_found_where_it_is_written() {
        let of = |path: &str, text: &str| bar_of(ModuleState::Loadable, &[(path, text)]).unwrap();
        let file = "etc/modprobe.d/local.conf";
        for text in [
            "install esp4 /bin/false",
            "install esp[46] /bin/true",
            "install xfrm-algo /bin/echo no",
            "alias esp4 off",
        ] {
            assert_eq!(
                of(file, &format!("# why\n{text}\n")),
                bar("/etc/modprobe.d/local.conf:2", text, false)
            );
        }
        let later = bar("/etc/modprobe.d/local.conf:1", "blacklist esp4", true);
        assert_eq!(of(file, "blacklist esp4"), later);
        let line = "the kernel's command line";
        let text = "module_blacklist=floppy,esp4";
        assert_eq!(of("proc/cmdline", &format!("root=/dev/vda {text} quiet\n")), bar(line, text, false));
        assert_eq!(of("proc/cmdline", "modprobe.blacklist=esp4"), bar(line, "modprobe.blacklist=esp4", true));
        let switch = "/proc/sys/kernel/modules_disabled";
        assert_eq!(of("proc/sys/kernel/modules_disabled", "1\n"), bar(switch, "1", false));
    }

    #[test]
    fn what_bars_now_is_told_before_what_does_at_the_next_boot() {
        let files =
            [("etc/modprobe.d/a.conf", "blacklist esp4"), ("lib/modprobe.d/b.conf", "install esp4 false")];
        assert_eq!(
            bar_of(ModuleState::Loaded, &files).unwrap(),
            bar("/lib/modprobe.d/b.conf:1", "install esp4 false", false)
        );
    }

    #[test]
    fn what_bars_something_else_or_nothing_is_not_told() {
        for text in [
            "install esp6 /bin/false",
            "install esp4 /sbin/modprobe --ignore-install esp4 && logger loaded",
            "install esp4 /usr/local/sbin/load-esp",
            "alias esp4 esp4-offload",
            "blacklist xfrm_algo",
            "options esp4 x=1",
            "softdep esp4 pre: xfrm_algo",
            "# install esp4 /bin/false",
        ] {
            assert_eq!(bar_of(ModuleState::Loadable, &[("etc/modprobe.d/x.conf", text)]), None, "{text}");
        }
        let disabled = [("proc/sys/kernel/modules_disabled", "1\n")];
        assert_eq!(bar_of(ModuleState::Loaded, &disabled), None);
        assert_eq!(bar_of(ModuleState::Loadable, &[("proc/sys/kernel/modules_disabled", "0\n")]), None);
    }
}
