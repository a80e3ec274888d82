//! Live kernel settings, from `/proc/sys`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use enxame_core::facts::FileFacts;

use crate::host::Host;

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
    fn a_key_cannot_leave_the_tree() {
        assert_eq!(path_of("net.ipv4.ip_forward").as_deref(), Some("/proc/sys/net/ipv4/ip_forward"));
        for key in ["", ".", "net..x", "/etc/passwd", "net/../../x"] {
            assert_eq!(path_of(key), None, "{key:?}");
        }
    }
}
