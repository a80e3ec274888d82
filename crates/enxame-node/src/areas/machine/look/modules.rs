//! Kernel modules: in the kernel, on the disk, or neither.
//!
//! `-` and `_` are equal, as for modprobe(8). A name that is no module's may be an alias (`ghash` is one of
//! `ghash_generic`); it is as present as the most present module behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use enxame_core::facts::{Bar, ModuleState};

use super::barred::{self, Module};
use crate::host::Host;

/// Looks for the modules that were asked for, and for what bars them.
pub(crate) fn look(
    host: &dyn Host,
    release: &str,
    wanted: &BTreeSet<String>,
) -> (BTreeMap<String, ModuleState>, BTreeMap<String, Bar>) {
    if wanted.is_empty() {
        return <_>::default();
    }
    let directory = format!("/lib/modules/{release}");
    let lists = ModuleLists {
        loaded: &host.text("/proc/modules"),
        built_in: &host.long_text(&format!("{directory}/modules.builtin")),
        loadable: &host.long_text(&format!("{directory}/modules.dep")),
    };
    let mut states = states(&lists, wanted);
    // The list of aliases is the longest; most looks need none of it.
    if states.values().any(|state| *state == ModuleState::Missing) {
        resolve(&mut states, &lists, &host.long_text(&format!("{directory}/modules.alias")));
    }
    let barred = barred(&lists, &states);
    (states, barred)
}

fn barred(lists: &ModuleLists<'_>, states: &BTreeMap<String, ModuleState>) -> BTreeMap<String, Bar> {
    let is_known = |name: &str| {
        let state = self::states(lists, &[name.to_owned()].into()).into_values().next();
        state.is_some_and(|state| state != ModuleState::Missing)
    };
    let names: BTreeSet<String> = states.keys().map(|name| normal(name)).collect();
    // What is built in cannot be barred, and is in the other list.
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in lists.loadable.lines() {
        let Some(name) = module_of(line).map(normal).filter(|name| names.contains(name)) else { continue };
        let needed = line.split_once(':').map(|(_, needed)| needed).unwrap_or_default();
        needs.insert(name, needed.split_whitespace().filter_map(module_of).map(normal).collect());
    }
    let modules: Vec<Module<'_>> = states
        .iter()
        .filter_map(|(name, state)| {
            Some(Module { name, state: *state, needs: needs.get(&normal(name))?.clone() })
        })
        .collect();
    barred::look(Path::new("/"), &modules, &is_known)
}

/// What files below a directory bar, for `fuzz/`.
#[cfg(fuzzing)]
pub(crate) fn barred_by(root: &Path, names: &[&str]) -> BTreeMap<String, Bar> {
    let module = |name| Module { name, state: ModuleState::Loadable, needs: BTreeSet::new() };
    let modules: Vec<Module<'_>> = names.iter().map(|name| module(*name)).collect();
    barred::look(root, &modules, &|_| true)
}

/// Which of these modules are in the kernel now.
pub(crate) fn in_kernel(host: &dyn Host, release: &str, names: &[&str]) -> BTreeSet<String> {
    let wanted = names.iter().map(|name| (*name).to_owned()).collect();
    let lists = ModuleLists {
        loaded: &host.text("/proc/modules"),
        built_in: &host.long_text(&format!("/lib/modules/{release}/modules.builtin")),
        loadable: "",
    };
    let states = states(&lists, &wanted);
    states.into_iter().filter(|(_, state)| *state == ModuleState::Loaded).map(|(name, _)| name).collect()
}

/// The texts of the three lists.
struct ModuleLists<'a> {
    /// `/proc/modules`: one module per line, its name first.
    loaded: &'a str,
    /// `modules.builtin`: one path per line.
    built_in: &'a str,
    /// `modules.dep`: `path: paths it needs`.
    loadable: &'a str,
}

fn states(lists: &ModuleLists<'_>, wanted: &BTreeSet<String>) -> BTreeMap<String, ModuleState> {
    // Only what was asked for is kept: modules.dep has some 4,000 lines.
    let names: BTreeSet<String> = wanted.iter().map(|name| normal(name)).collect();
    let listed = |name: Option<&str>| name.map(normal).filter(|name| names.contains(name));
    let loaded = lists.loaded.lines().filter_map(|line| listed(line.split_whitespace().next()));
    let built_in = lists.built_in.lines().filter_map(|line| listed(module_of(line)));
    let in_kernel: BTreeSet<String> = loaded.chain(built_in).collect();
    let on_disk: BTreeSet<String> =
        lists.loadable.lines().filter_map(|line| listed(module_of(line))).collect();
    let state = |name: &str| {
        let name = normal(name);
        if in_kernel.contains(&name) {
            ModuleState::Loaded
        } else if on_disk.contains(&name) {
            ModuleState::Loadable
        } else {
            ModuleState::Missing
        }
    };
    wanted.iter().map(|name| (name.clone(), state(name))).collect()
}

/// Gives missing names the state of the modules they are aliases of. Patterns (`pci:*`) are no names and match none.
fn resolve(states: &mut BTreeMap<String, ModuleState>, lists: &ModuleLists<'_>, aliases: &str) {
    let missing: BTreeMap<String, String> = states
        .iter()
        .filter(|(_, state)| **state == ModuleState::Missing)
        .map(|(name, _)| (normal(name), name.clone()))
        .collect();
    for line in aliases.lines() {
        let mut words = line.split(' ');
        let (Some("alias"), Some(alias), Some(module)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Some(name) = missing.get(&normal(alias)) else { continue };
        let behind = self::states(lists, &BTreeSet::from([module.to_owned()])).into_values().next();
        match (states.get(name), behind) {
            (Some(ModuleState::Missing), Some(state)) | (_, Some(state @ ModuleState::Loaded)) => {
                states.insert(name.clone(), state);
            }
            _ => {}
        }
    }
}

/// `kernel/net/ipv4/esp4.ko.xz: ...` is `esp4`.
fn module_of(line: &str) -> Option<&str> {
    let path = line.split_once(':').map_or(line, |(path, _)| path);
    let file = path.rsplit('/').next()?;
    file.split_once(".ko").map(|(name, _)| name)
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Lines of Debian 13 (6.12) and Debian 12 (6.1).
    const LOADED: &str = "xt_conntrack 12288 3 - Live 0xffffffffc0a3d000\nesp4 32768 0 - Live 0xffffffffc0b00000\n\
                          nf_conntrack 212992 5 xt_conntrack,nf_nat, Live 0xffffffffc0900000\n";
    const BUILT_IN: &str = "kernel/crypto/gcm.ko\nkernel/fs/ext4/ext4.ko\n";
    const LOADABLE: &str = "kernel/net/ipv4/esp4.ko.xz: kernel/net/xfrm/xfrm_algo.ko.xz\n\
                            kernel/crypto/ghash-generic.ko:\n\
                            kernel/drivers/net/vxlan/vxlan.ko.zst: kernel/net/ipv4/udp_tunnel.ko.zst\n";

    fn state_of(name: &str) -> ModuleState {
        let lists = ModuleLists { loaded: LOADED, built_in: BUILT_IN, loadable: LOADABLE };
        states(&lists, &BTreeSet::from([name.to_owned()]))[name]
    }

    #[test]
    fn a_module_is_loaded_when_it_runs_or_is_built_in() {
        assert_eq!([state_of("esp4"), state_of("gcm"), state_of("nf-conntrack")], [ModuleState::Loaded; 3]);
    }

    #[test]
    fn a_module_on_the_disk_is_loadable_under_either_spelling() {
        for name in ["vxlan", "ghash_generic", "ghash-generic"] {
            assert_eq!(state_of(name), ModuleState::Loadable, "{name}");
        }
    }

    #[test]
    fn a_module_that_others_merely_need_or_resemble_is_missing() {
        for name in ["udp_tunnel", "esp", "conntrack", "xfrm_algo", "ghash"] {
            assert_eq!(state_of(name), ModuleState::Missing, "{name}");
        }
    }

    #[test]
    fn an_alias_is_as_present_as_the_most_present_module_behind_it() {
        let aliases = "# Aliases extracted from modules themselves.\nalias pci:v* esp4\nalias crypto-ghash esp4\n\
                       alias ghash ghash_generic\nalias one-of-two ghash_generic\nalias one-of-two esp4\n";
        let lists = ModuleLists { loaded: LOADED, built_in: BUILT_IN, loadable: LOADABLE };
        let mut states = states(&lists, &["ghash", "one_of_two", "bogus"].map(str::to_owned).into());
        resolve(&mut states, &lists, aliases);
        assert_eq!(states["ghash"], ModuleState::Loadable);
        assert_eq!(states["one_of_two"], ModuleState::Loaded);
        assert_eq!(states["bogus"], ModuleState::Missing);
    }
}
