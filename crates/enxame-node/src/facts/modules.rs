//! Kernel modules: in the kernel, on the disk, or neither.
//!
//! Names are the modules' own, not aliases: `ghash_generic`, not `ghash`. `-` and `_` are equal, as for modprobe(8).

use std::collections::{BTreeMap, BTreeSet};

use enxame_core::facts::ModuleState;

use super::{long_text, text};
use crate::host::Host;

/// Looks for the modules that were asked for.
pub(super) fn look(
    host: &dyn Host,
    release: &str,
    wanted: &BTreeSet<String>,
) -> BTreeMap<String, ModuleState> {
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let lists = Lists {
        loaded: &text(host, "/proc/modules"),
        built_in: &long_text(host, &format!("/lib/modules/{release}/modules.builtin")),
        loadable: &long_text(host, &format!("/lib/modules/{release}/modules.dep")),
    };
    states(&lists, wanted)
}

/// Which of these modules are in the kernel now.
pub(super) fn in_kernel(host: &dyn Host, release: &str, names: &[&str]) -> BTreeSet<String> {
    let wanted = names.iter().map(|name| (*name).to_owned()).collect();
    let lists = Lists {
        loaded: &text(host, "/proc/modules"),
        built_in: &long_text(host, &format!("/lib/modules/{release}/modules.builtin")),
        loadable: "",
    };
    let states = states(&lists, &wanted);
    states
        .into_iter()
        .filter(|(_, state)| *state == ModuleState::Loaded)
        .map(|(name, _)| name)
        .collect()
}

/// The texts of the three lists.
struct Lists<'a> {
    /// `/proc/modules`: one module per line, its name first.
    loaded: &'a str,
    /// `modules.builtin`: one path per line.
    built_in: &'a str,
    /// `modules.dep`: `path: paths it needs`.
    loadable: &'a str,
}

fn states(lists: &Lists<'_>, wanted: &BTreeSet<String>) -> BTreeMap<String, ModuleState> {
    // Only what was asked for is kept: modules.dep has some 4,000 lines.
    let names: BTreeSet<String> = wanted.iter().map(|name| normal(name)).collect();
    let listed = |name: Option<&str>| name.map(normal).filter(|name| names.contains(name));
    let loaded = lists
        .loaded
        .lines()
        .filter_map(|line| listed(line.split_whitespace().next()));
    let built_in = lists.built_in.lines().filter_map(|line| listed(module_of(line)));
    let in_kernel: BTreeSet<String> = loaded.chain(built_in).collect();
    let on_disk: BTreeSet<String> = lists
        .loadable
        .lines()
        .filter_map(|line| listed(module_of(line)))
        .collect();
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
        let lists = Lists {
            loaded: LOADED,
            built_in: BUILT_IN,
            loadable: LOADABLE,
        };
        states(&lists, &BTreeSet::from([name.to_owned()]))[name]
    }

    #[test]
    fn a_module_is_loaded_when_it_runs_or_is_built_in() {
        assert_eq!(
            [state_of("esp4"), state_of("gcm"), state_of("nf-conntrack")],
            [ModuleState::Loaded; 3]
        );
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
}
