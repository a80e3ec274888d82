//! The machine below the engine: distribution, kernel, processors, memory, disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use enxame_core::facts::{Hardware, Kernel, OperatingSystem};
use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;

use crate::host::Host;

/// Capabilities without which modules cannot be loaded, interfaces not be made and nothing be mounted (`linux/capability.h`).
const OVER_THE_KERNEL: [(u32, &str); 3] =
    [(12, "CAP_NET_ADMIN"), (16, "CAP_SYS_MODULE"), (21, "CAP_SYS_ADMIN")];

/// Reads `os-release(5)`.
pub(crate) fn operating_system(os_release: &str) -> OperatingSystem {
    let mut os = OperatingSystem::default();
    for (key, value) in os_release.lines().filter_map(|line| line.trim().split_once('=')) {
        let field = match key {
            "ID" => &mut os.id,
            "VERSION_ID" => &mut os.version_id,
            "VERSION_CODENAME" => &mut os.codename,
            "PRETTY_NAME" => &mut os.pretty_name,
            _ => continue,
        };
        *field = unquoted(value);
    }
    os
}

/// Takes off the shell quotes and backslashes that `os-release(5)` allows.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value);
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

/// The running kernel's release.
pub(crate) fn release() -> String {
    uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// The running kernel.
pub(crate) fn kernel(host: &dyn Host) -> Kernel {
    let Ok(name) = uname() else { return Kernel::default() };
    let release = name.release().to_string_lossy().into_owned();
    Kernel {
        modules_are_gone: modules_are_gone(host, &release),
        shared: shared(host),
        architecture: name.machine().to_string_lossy().into_owned(),
        release,
    }
}

/// A kernel that is built without modules has no list of them either, and none are missed.
fn modules_are_gone(host: &dyn Host, release: &str) -> bool {
    host.exists("/proc/modules") && !host.exists(&format!("/lib/modules/{release}/modules.dep"))
}

/// What tells that the kernel is another machine's, whatever made the container: numbers of users that are translated, or
/// capabilities over the kernel that not even root can have (capabilities(7)), or what it said of itself to systemd.
fn shared(host: &dyn Host) -> Option<String> {
    let users = host.text("/proc/self/uid_map");
    let users: Vec<&str> = users.split_whitespace().collect();
    // Where it cannot be read nothing is known; a machine maps all numbers to themselves.
    if !users.is_empty() && users != ["0", "0", "4294967295"] {
        return Some("its root is a plain user of the machine it runs on (/proc/self/uid_map)".to_owned());
    }
    let status = host.text("/proc/self/status");
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounding = bounding.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let lacks = |(bit, _): &&(u32, &str)| bounding.is_some_and(|bits| bits & (1 << bit) == 0);
    if let Some((_, name)) = OVER_THE_KERNEL.iter().find(lacks) {
        return Some(format!("{name} is kept from its root (CapBnd in /proc/self/status)"));
    }
    let manager = host.text("/run/systemd/container");
    let manager = manager.trim();
    (!manager.is_empty()).then(|| format!("/run/systemd/container says `{manager}`"))
}

/// The host name the kernel has now.
pub(crate) fn hostname() -> String {
    uname().map(|name| name.nodename().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Why a directory is not root's alone, where it is not.
pub(crate) fn root_is_not_roots(root: &Path) -> Option<String> {
    let about = fs::metadata(root).ok()?;
    let shown = root.display();
    if about.uid() != 0 {
        return Some(format!("{shown} belongs to user {}", about.uid()));
    }
    (about.mode() & 0o022 != 0)
        .then(|| format!("{shown} may be written by others than root (mode {:04o})", about.mode() & 0o7777))
}

/// Hardware, and how much of it is free now.
pub(crate) struct Observation {
    /// What stays.
    pub(crate) stable: Hardware,
    /// `MemAvailable`, in bytes.
    pub(crate) memory_available_bytes: u64,
    /// Space free for root where the engine keeps its data, in bytes.
    pub(crate) disk_available_bytes: u64,
}

/// Looks at `/proc/meminfo`, `/sys/devices/system/cpu/online` and the filesystem of `/var/lib`.
pub(crate) fn hardware(host: &dyn Host) -> Observation {
    let memory = host.text("/proc/meminfo");
    let (disk_bytes, disk_available_bytes) = disk("/var/lib");
    Observation {
        stable: Hardware {
            processors: processors(&host.text("/sys/devices/system/cpu/online")),
            memory_bytes: meminfo_bytes(&memory, "MemTotal"),
            disk_bytes,
        },
        memory_available_bytes: meminfo_bytes(&memory, "MemAvailable"),
        // The engine's data may have a filesystem of its own.
        disk_available_bytes: match disk("/var/lib/docker") {
            (0, _) => disk_available_bytes,
            (_, available) => available,
        },
    }
}

/// Size of the filesystem and space free for root, in bytes; zeros where there is no such directory.
fn disk(path: &str) -> (u64, u64) {
    // Root may use the reserved blocks too: `f_bfree`, not `f_bavail` (statvfs(3)).
    statvfs(path).map_or((0, 0), |about| {
        (about.blocks() * about.fragment_size(), about.blocks_free() * about.fragment_size())
    })
}

/// Counts a list of processors such as `0-3,5`.
fn processors(online: &str) -> u32 {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        (last.checked_sub(first)?).checked_add(1)
    };
    online.trim().split(',').filter_map(count).fold(0, u32::saturating_add)
}

fn meminfo_bytes(meminfo: &str, key: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| {
            line.strip_prefix(key)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse().ok()
        })
        .map_or(0, |kibibytes: u64| kibibytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn a_root_directory_that_is_not_roots_alone_is_told() {
        use std::os::unix::fs::{PermissionsExt, chown};
        let root = tempfile::tempdir().unwrap();
        let mode = |mode| fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o755);
        assert_eq!(root_is_not_roots(root.path()), None);
        mode(0o775);
        assert!(root_is_not_roots(root.path()).unwrap().contains("(mode 0775)"));
        chown(root.path(), Some(1000), None).unwrap();
        assert!(root_is_not_roots(root.path()).unwrap().ends_with("belongs to user 1000"));
    }

    const MACHINE: &str = "         0          0 4294967295\n";
    const ALL: &str = "Name:\tenxame\nCapBnd:\t000001ffffffffff\n";

    fn shares(users: &str, status: &str, manager: &str) -> Option<String> {
        let host =
            FakeHost::default().with_file("/proc/self/uid_map", users).with_file("/proc/self/status", status);
        shared(&host.with_file("/run/systemd/container", manager))
    }

    #[test]
    fn a_container_is_told_from_a_machine_by_what_its_root_may_do() {
        assert_eq!(shares(MACHINE, ALL, ""), None);
        assert_eq!(shares("", "", ""), None, "what cannot be read tells nothing");
        let unprivileged = shares("0 100000 65536\n", ALL, "").unwrap();
        assert!(unprivileged.contains("uid_map"), "{unprivileged}");
        let privileged = shares(MACHINE, "CapBnd:\t000001fffffeffff\n", "").unwrap();
        assert!(privileged.starts_with("CAP_SYS_MODULE"), "{privileged}");
        let with_all = shares(MACHINE, ALL, "lxc\n").unwrap();
        assert!(with_all.contains("`lxc`"), "{with_all}");
    }

    #[test]
    fn modules_are_gone_only_where_the_kernel_has_some_and_their_list_is_not_there() {
        let gone = FakeHost::default().with_file("/proc/modules", "");
        assert!(modules_are_gone(&gone, "6.1.0-9"));
        let upgraded = gone.with_file("/lib/modules/6.1.0-10/modules.dep", "");
        assert!(modules_are_gone(&upgraded, "6.1.0-9"));
        assert!(!modules_are_gone(&upgraded, "6.1.0-10"));
        assert!(!modules_are_gone(&FakeHost::default(), "6.1.0-9"), "a kernel without modules");
    }

    #[test]
    fn os_release_is_read_with_and_without_quotes() {
        let trixie = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\n\
                      VERSION=\"13 (trixie)\"\nVERSION_CODENAME=trixie\nID=debian\nHOME_URL=\"https://www.debian.org/\"\n";
        let os = operating_system(trixie);
        assert_eq!(
            (os.id.as_str(), os.version_id.as_str(), os.codename.as_str()),
            ("debian", "13", "trixie")
        );
        assert_eq!(os.pretty_name, "Debian GNU/Linux 13 (trixie)");
        assert_eq!(operating_system("ID='a\\$b'\n# ID=no\n").id, "a$b");
        assert_eq!(operating_system(""), OperatingSystem::default());
    }

    #[test]
    fn processors_online_are_counted_over_gaps() {
        for (list, count) in
            [("0\n", 1), ("0-3\n", 4), ("0-1,3,5-6\n", 5), ("", 0), ("3-1", 0), ("0-4294967295", 0)]
        {
            assert_eq!(processors(list), count, "{list:?}");
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let meminfo =
            "MemTotal:        2014432 kB\nMemFree:          133404 kB\nMemAvailable:    1561012 kB\n";
        assert_eq!(meminfo_bytes(meminfo, "MemTotal"), 2_014_432 * 1024);
        assert_eq!(meminfo_bytes(meminfo, "MemAvailable"), 1_561_012 * 1024);
        assert_eq!(meminfo_bytes(meminfo, "Mem"), 0);
    }
}
