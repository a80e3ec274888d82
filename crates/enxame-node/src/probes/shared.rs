//! Using shared files as a container would: mounted by mount(2) with the options of a volume, in a mount namespace of the
//! thread's own, which ends with it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use enxame_core::names::NodeName;
use enxame_core::probe::{COUNTS_OF_EACH, ProbedExport, Shared, SharedOutcome, Sharing, SharingStep};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

use crate::cancel::Cancel;

/// What every file of a proof begins with.
const PREFIX: &str = ".enxame-verify-";
const PAYLOAD_BYTES: usize = 10_240;
/// Another node counts for as long as its round trips take.
const LOCK: Duration = Duration::from_secs(30);
/// What an earlier run left behind is not that of one that goes on beside it.
const STALE: Duration = Duration::from_secs(3600);

/// Does the step on every export, all at once. Nothing stays mounted.
pub(super) fn share(order: &Sharing, cancel: &Cancel) -> Shared {
    thread::scope(|scope| {
        let one = |export: &ProbedExport| {
            let export = export.clone();
            scope.spawn(move || mounted(order, &export, cancel).map_err(|error| error.to_string()))
        };
        let running: Vec<_> = order.exports.iter().map(|export| (export.name.clone(), one(export))).collect();
        let gave_up = || Err("it ended early".to_owned());
        running.into_iter().map(|(name, one)| (name, one.join().unwrap_or_else(|_| gave_up()))).collect()
    })
}

fn mounted(order: &Sharing, export: &ProbedExport, cancel: &Cancel) -> io::Result<SharedOutcome> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // What is mounted here is mounted nowhere else.
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    let place = PathBuf::from(format!("/run/enxame-verify-{}-{}", order.run, export.name.as_str()));
    fs::create_dir_all(&place)?;
    let options = Some(export.options.as_str());
    let done = mount(Some(export.source.as_str()), &place, Some("nfs"), MsFlags::empty(), options)
        .map_err(|error| io::Error::other(format!("cannot mount {}: {}", export.source, words(error))))
        .and_then(|()| {
            let done = step(order, export, &place, cancel);
            // With the thread it goes anyway.
            let _ = umount2(&place, MntFlags::MNT_DETACH);
            done
        });
    drop(fs::remove_dir(&place));
    done
}

fn words(error: Errno) -> &'static str {
    error.desc()
}

fn step(order: &Sharing, export: &ProbedExport, place: &Path, cancel: &Cancel) -> io::Result<SharedOutcome> {
    let files = Files { place, run: &order.run };
    match &order.step {
        SharingStep::Write => {
            let roots_file = roots_file(&files, &order.node);
            become_owner(export);
            files.remove_stale();
            let payload = order.marker.payload(0, PAYLOAD_BYTES);
            let written_bytes = write(&files, &order.node, &payload)?;
            let count = count(&files, COUNTS_OF_EACH, cancel)?;
            Ok(SharedOutcome {
                written_bytes,
                roots_file: Some(roots_file),
                count,
                ..SharedOutcome::default()
            })
        }
        SharingStep::Read(nodes) => {
            become_owner(export);
            let payload = order.marker.payload(0, PAYLOAD_BYTES);
            let read_from = nodes.iter().map(|node| (node.clone(), read(&files, node, &payload)));
            Ok(SharedOutcome {
                read_from: read_from.collect(),
                count: count(&files, 0, cancel)?,
                ..SharedOutcome::default()
            })
        }
        SharingStep::Erase => {
            let mut failed = None;
            for path in files.of_run() {
                match fs::remove_file(path) {
                    // Another node was faster.
                    Err(error) if error.kind() != io::ErrorKind::NotFound => failed = Some(error),
                    _ => {}
                }
            }
            // What root made where it is not squashed is root's, in a directory of the owner's.
            failed.map_or_else(|| Ok(SharedOutcome::default()), Err)
        }
    }
}

/// What this thread does with files it does as their owner from now on.
fn become_owner(export: &ProbedExport) {
    // Both give back who it was, and no error.
    let _ = setfsgid(Gid::from_raw(export.gid));
    let _ = setfsuid(Uid::from_raw(export.uid));
}

/// The files of a run in a directory.
struct Files<'a> {
    place: &'a Path,
    run: &'a str,
}

impl Files<'_> {
    fn named(&self, what: &str) -> PathBuf {
        self.place.join(format!("{PREFIX}{}-{what}", self.run))
    }

    fn all(&self) -> impl Iterator<Item = fs::DirEntry> {
        let entries = fs::read_dir(self.place).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
    }

    fn of_run(&self) -> BTreeSet<PathBuf> {
        let own = format!("{PREFIX}{}-", self.run);
        let is_own = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&own);
        self.all().filter(is_own).map(|entry| entry.path()).collect()
    }

    /// What a run left that was cut off.
    fn remove_stale(&self) {
        let is_stale = |entry: &fs::DirEntry| {
            let age = entry.metadata().and_then(|about| about.modified()).map(|at| at.elapsed());
            age.is_ok_and(|age| age.is_ok_and(|age| age > STALE))
        };
        for entry in self.all().filter(is_stale) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// Whose a file is that root makes.
fn roots_file(files: &Files<'_>, node: &NodeName) -> Result<u32, String> {
    let path = files.named(&format!("root-{}", node.as_str()));
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let about =
        made.and_then(|file| file.metadata()).map(|about| about.uid()).map_err(|error| error.to_string());
    if about.is_ok() {
        drop(fs::remove_file(&path));
    }
    about
}

/// Writes, flushes to the server's disk, moves to the name that others read, and reads it back.
fn write(files: &Files<'_>, node: &NodeName, payload: &[u8]) -> io::Result<u64> {
    let (partial, whole) = (files.named(&format!("partial-{}", node.as_str())), files.named(node.as_str()));
    let mut file = File::create(&partial)?;
    file.write_all(payload)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&partial, &whole)?;
    read(files, node, payload).map_err(io::Error::other)
}

fn read(files: &Files<'_>, node: &NodeName, payload: &[u8]) -> Result<u64, String> {
    let found = fs::read(files.named(node.as_str())).map_err(|error| error.to_string())?;
    if found == payload {
        return Ok(u64::try_from(found.len()).unwrap_or(u64::MAX));
    }
    Err(format!("{} bytes are there that are not the {} that were written", found.len(), payload.len()))
}

/// Counts on, so often, each time under the lock that every node takes. Gives the last count.
fn count(files: &Files<'_>, times: u32, cancel: &Cancel) -> io::Result<u32> {
    let mut last = 0;
    for step in (0..times.max(1)).map(|_| u32::from(times > 0)) {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(files.named("count"))?;
        let mut file = locked(file, cancel)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        last = text.trim().parse::<u32>().unwrap_or(0) + step;
        if step > 0 {
            file.rewind()?;
            file.write_all(format!("{last}\n").as_bytes())?;
            file.sync_all()?;
        }
    }
    Ok(last)
}

/// Over NFS a lock of the whole file, which the server keeps (flock(2)).
fn locked(mut file: File, cancel: &Cancel) -> io::Result<Flock<File>> {
    let end = Instant::now() + LOCK;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((back, Errno::EWOULDBLOCK)) if Instant::now() < end && !cancel.is_set() => file = back,
            Err((_, error)) => return Err(io::Error::other(format!("cannot lock a file: {}", words(error)))),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use enxame_core::probe::Marker;

    use super::*;

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    #[test]
    fn files_are_written_read_counted_and_erased_and_those_of_others_stay() {
        let place = tempfile::tempdir().unwrap();
        let files = Files { place: place.path(), run: "abc" };
        let payload = Marker::new([7; Marker::LENGTH]).payload(0, PAYLOAD_BYTES);
        assert_eq!(write(&files, &name("kvm2"), &payload).unwrap(), 10_240);
        assert_eq!(read(&files, &name("kvm2"), &payload), Ok(10_240));
        assert!(read(&files, &name("kvm4"), &payload).is_err());
        fs::write(files.named("kvm8"), "other").unwrap();
        assert!(read(&files, &name("kvm8"), &payload).unwrap_err().contains("5 bytes are there"));
        assert_eq!(count(&files, 5, &Cancel::new()).unwrap(), 5);
        assert_eq!(count(&files, 0, &Cancel::new()).unwrap(), 5);
        fs::write(place.path().join("of-the-user"), "").unwrap();
        fs::write(place.path().join(format!("{PREFIX}other-kvm2")), "").unwrap();
        assert_eq!(files.of_run().len(), 3);
        files.remove_stale();
        assert_eq!(files.all().count(), 4, "another run may go on beside this one");
    }

    #[test]
    fn whoever_counts_beside_others_loses_nothing() {
        let place = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let files = Files { place: place.path(), run: "abc" };
                    count(&files, 25, &Cancel::new()).unwrap();
                });
            }
        });
        let files = Files { place: place.path(), run: "abc" };
        assert_eq!(count(&files, 0, &Cancel::new()).unwrap(), 100);
    }
}
