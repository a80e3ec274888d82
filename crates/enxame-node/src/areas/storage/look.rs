//! What is seen of shared files: mounts, the kernel's server and its table of exports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use enxame_core::areas::storage::{EXPORTS_PATH, IMAGE_PATH, ROOT};
use enxame_core::facts::{
    DirectoryFacts, ExportFacts, MountFacts, PlaceFacts, RoomFacts, ServerFacts, SharedState, StorageFacts,
};
use nix::sys::statvfs::{Statvfs, statvfs};

use crate::host::Host;

const EXPORTS: &str = "/etc/exports";
const EXPORTS_DIRECTORY: &str = "/etc/exports.d";
/// What mountd hands out (exportfs(8)).
const TABLE: &str = "/var/lib/nfs/etab";
const THREADS: &str = "/proc/fs/nfsd/threads";
/// A directory for each client.
const CLIENTS: &str = "/proc/fs/nfsd/clients";
const PORT: u16 = 2049;
/// `TCP_LISTEN` (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";
/// Whether there are any is all that is asked.
const MOST_ENTRIES: usize = 1000;

/// Looks at the shared directories that are named, and at all around them. Nothing is mounted, and no module is loaded.
pub(crate) fn look(host: &dyn Host, shared: &BTreeSet<String>) -> StorageFacts {
    let mounts = mounts(&host.long_text("/proc/self/mountinfo"));
    StorageFacts {
        place: place(&mounts),
        image_bytes: fs::metadata(IMAGE_PATH).ok().filter(fs::Metadata::is_file).map(|about| about.len()),
        directories: shared.iter().filter_map(|name| Some((name.clone(), directory(name)?))).collect(),
        server: server(host),
        foreign_exports: foreign_exports(host),
        old_mounts: mounts.iter().filter(|one| one.is_old_nfs()).map(|one| one.point.clone()).collect(),
        volumes: BTreeMap::new(),
    }
}

/// What changes by itself.
pub(crate) fn state(host: &dyn Host) -> Option<SharedState> {
    let above = Path::new(ROOT).ancestors().skip(1).find(|path| path.is_dir())?;
    let around_bytes = statvfs(above).map(|about| about.blocks_free() * about.fragment_size()).ok()?;
    let device = |path: &Path| fs::metadata(path).map(|about| about.dev()).ok();
    let is_own = device(Path::new(ROOT)).is_some_and(|own| Some(own) != device(above));
    let within = is_own.then(|| statvfs(ROOT).ok()).flatten().map(|about| RoomFacts {
        total_bytes: size_of(&about),
        available_bytes: about.blocks_available() * about.fragment_size(),
    });
    let known = fs::read_dir(CLIENTS).into_iter().flatten().flatten();
    let known = known.filter_map(|client| fs::read_to_string(client.path().join("info")).ok());
    // `Y` once it is over (nfsd, `nfsctl.c`); where no server runs there is nothing to read.
    let is_in_grace = host.text("/proc/fs/nfsd/v4_end_grace").trim() == "N";
    Some(SharedState {
        around_bytes,
        within,
        clients: known.filter_map(|info| client(&info)).collect(),
        is_in_grace,
    })
}

/// The address of a client of the server's, of lines `KEY: VALUE`.
fn client(info: &str) -> Option<IpAddr> {
    let address = info.lines().find_map(|line| line.strip_prefix("address: "))?;
    let address: SocketAddr = address.trim().trim_matches('"').parse().ok()?;
    Some(address.ip().to_canonical())
}

fn size_of(about: &Statvfs) -> u64 {
    about.blocks() * about.fragment_size()
}

/// A line of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    point: String,
    options: String,
    filesystem: String,
    source: String,
    of_all: String,
}

impl Mount {
    fn has(&self, option: &str) -> bool {
        self.options.split(',').chain(self.of_all.split(',')).any(|one| one == option)
    }

    fn is_old_nfs(&self) -> bool {
        self.filesystem.starts_with("nfs") && ["vers=2", "vers=3"].iter().any(|version| self.has(version))
    }
}

fn mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (own, all) = line.split_once(" - ")?;
    let mut own = own.split(' ').skip(4);
    let mut all = all.split(' ');
    Some(Mount {
        point: unescaped(own.next()?),
        options: own.next()?.to_owned(),
        filesystem: all.next()?.to_owned(),
        source: unescaped(all.next()?),
        of_all: all.next().unwrap_or_default().to_owned(),
    })
}

/// Blanks and backslashes are octal there.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn place(mounts: &[Mount]) -> PlaceFacts {
    // The last is on top.
    if let Some(mount) = mounts.iter().rev().find(|mount| mount.point == ROOT) {
        let size_bytes = statvfs(ROOT).as_ref().map(size_of).unwrap_or_default();
        return PlaceFacts::Mounted(MountFacts {
            source: mount.source.clone(),
            filesystem: mount.filesystem.clone(),
            size_bytes,
            is_read_only: mount.has("ro"),
        });
    }
    match fs::symlink_metadata(ROOT) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => PlaceFacts::Absent,
        Err(error) => PlaceFacts::Other(error.to_string()),
        Ok(about) if about.is_dir() => match fs::read_dir(ROOT) {
            Ok(entries) => {
                let count = entries.take(MOST_ENTRIES).count();
                PlaceFacts::Directory { entries: u32::try_from(count).unwrap_or(u32::MAX) }
            }
            Err(error) => PlaceFacts::Other(error.to_string()),
        },
        Ok(_) => PlaceFacts::Other("it is no directory".to_owned()),
    }
}

fn directory(name: &str) -> Option<DirectoryFacts> {
    let about = fs::symlink_metadata(format!("{ROOT}/{name}")).ok().filter(fs::Metadata::is_dir)?;
    Some(DirectoryFacts { uid: about.uid(), gid: about.gid(), mode: about.mode() & 0o7777 })
}

/// The server's own file system is mounted where its unit was started once.
fn server(host: &dyn Host) -> Option<ServerFacts> {
    let runs = host.text(THREADS).trim().parse::<u32>().is_ok_and(|threads| threads > 0);
    if !runs {
        return None;
    }
    let ports = host.text("/proc/fs/nfsd/portlist");
    let tables = [host.long_text("/proc/net/tcp"), host.long_text("/proc/net/tcp6")];
    Some(ServerFacts {
        versions: versions(&host.text("/proc/fs/nfsd/versions")),
        protocols: ports.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect(),
        addresses: tables.iter().flat_map(|table| table.lines().filter_map(listener)).collect(),
        exports: host.long_text(TABLE).lines().flat_map(exported).collect(),
    })
}

/// `-3 +4 +4.1 ...`: those that it speaks.
fn versions(text: &str) -> BTreeSet<String> {
    text.split_whitespace().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect()
}

/// The address of a socket that listens at the server's port, in a line of `/proc/net/tcp` or `tcp6`.
fn listener(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    let state = words.nth(1)?;
    if state != LISTEN || u16::from_str_radix(port, 16).ok()? != PORT {
        return None;
    }
    // Words of 32 bits as the machine has them.
    let word = |place: usize| u32::from_str_radix(address.get(place * 8..place * 8 + 8)?, 16).ok();
    if address.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into());
    }
    let mut bytes = [0; 16];
    for (place, chunk) in bytes.chunks_exact_mut(4).enumerate() {
        chunk.copy_from_slice(&word(place)?.to_ne_bytes());
    }
    Some(Ipv6Addr::from(bytes).to_canonical())
}

/// `DIRECTORY<tab>CLIENT(OPTION,...)`, and more clients behind further blanks.
fn exported(line: &str) -> Vec<ExportFacts> {
    let mut words = line.split_whitespace();
    let Some(path) = words.next() else { return Vec::new() };
    let of_client = |word: &str| {
        let (client, options) = word.strip_suffix(')')?.split_once('(')?;
        let options = options.split(',').map(str::to_owned).collect();
        Some(ExportFacts { path: unescaped(path), client: client.to_owned(), options })
    };
    words.filter_map(of_client).collect()
}

/// What others export, as far as it is in files.
fn foreign_exports(host: &dyn Host) -> Vec<String> {
    let further = fs::read_dir(EXPORTS_DIRECTORY).into_iter().flatten().flatten();
    let further = further.filter_map(|entry| entry.path().to_str().map(str::to_owned));
    let mut files: Vec<String> =
        further.filter(|path| path.ends_with(".exports") && path != EXPORTS_PATH).collect();
    files.sort();
    files.insert(0, EXPORTS.to_owned());
    let lines = |path: &String| {
        let text = host.text(path);
        let lines = text.lines().enumerate().filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        lines.map(|(place, line)| format!("{path}:{}: {}", place + 1, line.trim())).collect::<Vec<_>>()
    };
    files.iter().flat_map(lines).collect()
}

/// All that is read here, for `fuzz/`.
#[cfg(fuzzing)]
pub(crate) fn read_all(text: &str) {
    let _ = place(&mounts(text));
    let _ = (versions(text), client(text));
    for line in text.lines() {
        let _ = (listener(line), exported(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn mounts_are_read_with_what_is_octal_in_them() {
        let text = "36 35 98:0 /mnt1 /mnt/with\\040blank rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
                    40 35 0:52 / /srv/old rw - nfs 10.0.0.1:/x rw,vers=3,addr=10.0.0.1\n\
                    41 35 0:53 / /srv/new rw - nfs4 10.0.0.1:/x rw,vers=4.2,addr=10.0.0.1\nnonsense\n";
        let mounts = mounts(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!((mounts[0].point.as_str(), mounts[0].source.as_str()), ("/mnt/with blank", "/dev/root"));
        assert!(!mounts[0].has("ro") && mounts[0].has("noatime"));
        assert_eq!(mounts.iter().map(Mount::is_old_nfs).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn the_server_is_read_from_the_kernel() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                   0: 03FFA8C0:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n   \
                   1: 03FFA8C0:0801 01FFA8C0:0300 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0\n   \
                   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0\n";
        let tcp6 =
            "   0: 00000000000000000000000000000000:0801 00000000000000000000000000000000:0000 0A 0 0\n";
        let with = |tcp6: &str| {
            FakeHost::default()
                .with_file(THREADS, "16\n")
                .with_file("/proc/fs/nfsd/versions", "-3 +4 -4.0 +4.1 +4.2\n")
                .with_file("/proc/fs/nfsd/portlist", "tcp 2049\ntcp 2049\n")
                .with_file("/proc/net/tcp", tcp)
                .with_file("/proc/net/tcp6", tcp6)
                .with_file(TABLE, "/srv/nfs/swarm_data/web\t192.168.255.1(rw,sync,fsid=1)\n")
        };
        let seen = server(&with("")).unwrap();
        assert_eq!(seen.versions, ["4", "4.1", "4.2"].map(str::to_owned).into());
        assert_eq!(seen.protocols, ["tcp".to_owned()].into());
        assert_eq!(seen.addresses, ["192.168.255.3".parse().unwrap()].into());
        assert_eq!(seen.exports[0].client, "192.168.255.1");
        assert!(seen.exports[0].options.contains("fsid=1"));
        assert!(server(&with(tcp6)).unwrap().addresses.contains(&"::".parse().unwrap()));
        assert_eq!(server(&with("").with_file(THREADS, "0\n")), None);
        assert_eq!(server(&FakeHost::default()), None);
    }

    #[test]
    fn clients_are_known_by_their_addresses() {
        let info = "clientid: 0x1\naddress: \"192.168.255.1:853\"\nstatus: confirmed\nname: \"Linux NFSv4.2 kvm2\"\n";
        assert_eq!(client(info), Some("192.168.255.1".parse().unwrap()));
        assert_eq!(client("status: confirmed\n"), None);
    }

    #[test]
    fn what_others_export_is_named_with_its_place() {
        let host =
            FakeHost::default().with_file(EXPORTS, "# /srv/example *(ro)\n\n  /srv/data 10.0.0.1(rw)\n");
        assert_eq!(foreign_exports(&host), ["/etc/exports:3: /srv/data 10.0.0.1(rw)"]);
    }
}
