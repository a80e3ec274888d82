//! Kernel parameters: live ones, from `/proc/sys`, and what files set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use enxame_core::facts::{FileFacts, SetWhen, Setting};

use super::drop_ins::{self, Line};
use crate::host::Host;

/// sysctl.d(5).
const DIRECTORIES: [&str; 5] =
    ["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d"];
/// Where ufw is told which file to read (ufw(8), "NOTES").
const UFW_DEFAULTS: &str = "etc/default/ufw";

/// Reads the keys that were asked for.
pub(crate) fn look(host: &dyn Host, keys: &BTreeSet<String>) -> BTreeMap<String, Option<String>> {
    keys.iter()
        .map(|key| {
            let value = match path_of(key).map(|path| host.read(Path::new(&path))) {
                Some(FileFacts::Text { content, .. }) => Some(normal(&content)),
                Some(FileFacts::Absent | FileFacts::Unreadable(_)) | None => None,
            };
            (key.clone(), value)
        })
        .collect()
}

/// What files set these keys to, in the order in which they are read. A pattern sets no key that is written out anywhere, as
/// those of ours are (sysctl.d(5)).
pub(crate) fn settings(root: &Path, keys: &BTreeSet<String>) -> Vec<Setting> {
    let of_ufw = ufws_file(root).map(|path| drop_ins::lines_of(root, Path::new(&path))).unwrap_or_default();
    let at_boot = drop_ins::lines(root, &DIRECTORIES).into_iter().map(|line| (line, SetWhen::Boot));
    let with_ufw = of_ufw.into_iter().map(|line| (line, SetWhen::UfwReload));
    let setting = |(line, when): (Line, SetWhen)| {
        let (key, value) = line.text.split_once('=')?;
        let key = dotted(key.trim().trim_start_matches('-').trim_start());
        keys.contains(&key).then(|| Setting { key, value: normal(value), place: line.place, when })
    };
    at_boot.chain(with_ufw).filter_map(setting).collect()
}

fn ufws_file(root: &Path) -> Option<String> {
    let lines = drop_ins::lines_of(root, Path::new(UFW_DEFAULTS));
    let path = lines.iter().rev().find_map(|line| line.text.strip_prefix("IPT_SYSCTL="))?;
    Some(path.trim_matches(['"', '\'']).trim_start_matches('/').to_owned()).filter(|path| !path.is_empty())
}

/// The first separator decides which one separates; the other belongs to the names (sysctl.d(5)).
fn dotted(key: &str) -> String {
    if key.find(['/', '.']).is_some_and(|place| key[place..].starts_with('/')) {
        let swapped = |character| match character {
            '/' => '.',
            '.' => '/',
            other => other,
        };
        return key.chars().map(swapped).collect();
    }
    key.to_owned()
}

/// The file of a key; `None` for what cannot be a key, so that nothing outside `/proc/sys` is read.
fn path_of(key: &str) -> Option<String> {
    let plain = key.split('.').all(|part| !part.is_empty() && !part.contains('/'));
    plain.then(|| format!("/proc/sys/{}", key.replace('.', "/")))
}

/// The kernel separates fields by tabs, files by what their author liked: both become single spaces.
fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn values_are_compared_with_single_spaces() {
        let host = FakeHost::default()
            .with_file("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
            .with_file("/proc/sys/vm/swappiness", "60\n")
            .with_file("/proc/sys/net/ipv4/tcp_available_ulp", "\n");
        let keys =
            ["net.ipv4.ip_local_port_range", "vm.swappiness", "net.ipv4.tcp_available_ulp", "vm.no_such"];
        let values = look(&host, &keys.map(str::to_owned).into());
        let value = |key: &str| values[key].as_deref();
        assert_eq!(keys.map(value), [Some("32768 60999"), Some("60"), Some(""), None]);
    }

    #[test]
    fn what_files_set_is_told_in_the_order_in_which_they_are_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("etc/sysctl.d/99-sysctl.conf", "# net.ipv4.ip_forward=1\n-net/ipv4/ip_forward = 0\n");
        write(
            "usr/lib/sysctl.d/50-default.conf",
            "net.ipv4.ip_forward=1\nnet.ipv4.conf.*.rp_filter = 2\nvm.swappiness=1\n",
        );
        write("etc/default/ufw", "IPV6=yes\n#IPT_SYSCTL=/etc/no.conf\nIPT_SYSCTL=\"/etc/ufw/sysctl.conf\"\n");
        write("etc/ufw/sysctl.conf", "\nnet/ipv4/ip_forward=0\nnet/ipv4/conf/all/rp_filter=1\n");
        let keys = BTreeSet::from(["net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter"].map(str::to_owned));
        let shown: Vec<String> = settings(root.path(), &keys)
            .into_iter()
            .map(|setting| format!("{} {} {} {:?}", setting.place, setting.key, setting.value, setting.when))
            .collect();
        let expected = [
            "/usr/lib/sysctl.d/50-default.conf:1 net.ipv4.ip_forward 1 Boot",
            "/etc/sysctl.d/99-sysctl.conf:2 net.ipv4.ip_forward 0 Boot",
            "/etc/ufw/sysctl.conf:2 net.ipv4.ip_forward 0 UfwReload",
            "/etc/ufw/sysctl.conf:3 net.ipv4.conf.all.rp_filter 1 UfwReload",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_first_separator_of_a_key_decides() {
        assert_eq!(dotted("net/ipv4/conf/eth0.7/rp_filter"), "net.ipv4.conf.eth0/7.rp_filter");
        assert_eq!(dotted("net.ipv4.conf.eth0/7.rp_filter"), "net.ipv4.conf.eth0/7.rp_filter");
    }

    #[test]
    fn a_key_cannot_leave_the_tree() {
        assert_eq!(path_of("net.ipv4.ip_forward").as_deref(), Some("/proc/sys/net/ipv4/ip_forward"));
        for key in ["", ".", "net..x", "/etc/passwd", "net/../../x"] {
            assert_eq!(path_of(key), None, "{key:?}");
        }
    }
}
