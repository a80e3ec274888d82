//! The node's journal: `/var/lib/enxame/journal.jsonl`, one line per event, on the disk before the act.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use enxame_core::change::ChangeId;
use enxame_core::facts::{FileFacts, InterruptedChange};
use enxame_core::journal::{self, ChangeEvent, Entry};

use crate::host::{Host, HostError};
use crate::replace::{replace, replace_by_link};

/// Where it is.
pub const PATH: &str = "/var/lib/enxame/journal.jsonl";
/// The size at which it becomes the previous one.
const ROTATE_BYTES: u64 = 256 * 1024;

/// Writes one event and waits until it is on the disk.
///
/// # Errors
/// [`HostError::File`].
pub fn record(operator: &str, change: &ChangeId, event: ChangeEvent) -> Result<(), HostError> {
    record_at(Path::new(PATH), operator, change, event)
}

/// The same in a journal elsewhere.
pub(crate) fn record_at(
    path: &Path,
    operator: &str,
    change: &ChangeId,
    event: ChangeEvent,
) -> Result<(), HostError> {
    let failed = |source| HostError::File { verb: "write", path: path.display().to_string(), source };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let entry = Entry {
        at_unix_ms: u64::try_from(now).unwrap_or(u64::MAX),
        operator: operator.to_owned(),
        change: change.clone(),
        event,
    };
    append(path, &entry).map_err(failed)
}

fn append(path: &Path, entry: &Entry) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // Only between changes: an entry that is begun keeps its end in the same file.
    let is_full = fs::metadata(path).is_ok_and(|about| about.len() > ROTATE_BYTES);
    if is_full && entry.event == ChangeEvent::Begun {
        rotate(path)?;
    }
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    let mut line = if ends_torn(&mut file)? { vec![b'\n'] } else { Vec::new() };
    serde_json::to_writer(&mut line, entry)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()
}

/// Lets the file become the previous one. What was begun and not ended begins the new one, so that it stays known and
/// its end is not one without a beginning.
fn rotate(path: &Path) -> std::io::Result<()> {
    let text = fs::read(path)?;
    let entries = parse(&String::from_utf8_lossy(&text));
    let mut carried = Vec::new();
    for entry in journal::open(&entries) {
        serde_json::to_writer(&mut carried, entry)?;
        carried.push(b'\n');
    }
    // First the old one under its second name: a power cut in between leaves it under both, and nothing is lost.
    replace_by_link(&path.with_extension("1.jsonl"), path)?;
    replace(path, &carried, 0o600)
}

/// Whether a power cut or a full disk left half a line at the end.
fn ends_torn(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Closes every change that was begun and not ended.
///
/// # Errors
/// [`HostError::File`].
pub fn settle(host: &dyn Host, operator: &str) -> Result<(), HostError> {
    for entry in open(host).unwrap_or_default() {
        record(operator, &entry.change, ChangeEvent::Settled)?;
    }
    Ok(())
}

/// The changes that were begun and not ended. A journal that cannot be read hides none: it says so itself.
pub fn interrupted(host: &dyn Host) -> Vec<InterruptedChange> {
    match open(host) {
        Ok(entries) => entries
            .into_iter()
            .map(|entry| InterruptedChange { change: entry.change.to_string(), operator: entry.operator })
            .collect(),
        Err(why) => {
            vec![InterruptedChange {
                change: format!("journal {PATH} ({why})"),
                operator: "unknown".to_owned(),
            }]
        }
    }
}

/// Whether the last that is known of a change is that it was made.
pub fn is_done(host: &dyn Host, change: &ChangeId) -> bool {
    let last = entries(host).unwrap_or_default().into_iter().rfind(|entry| entry.change == *change);
    last.is_some_and(|entry| entry.event == ChangeEvent::Done)
}

/// Whether any change was ever made here, as far as the journal goes back.
pub fn has_done_any(host: &dyn Host) -> bool {
    // One that is full and was put aside has seen some.
    host.read(&Path::new(PATH).with_file_name("journal.1.jsonl")) != FileFacts::Absent
        || entries(host).unwrap_or_default().iter().any(|entry| entry.event == ChangeEvent::Done)
}

fn open(host: &dyn Host) -> Result<Vec<Entry>, String> {
    let entries = entries(host)?;
    let open = journal::interrupted(&entries).map_err(|illegal| illegal.to_string())?;
    Ok(open.into_iter().cloned().collect())
}

fn entries(host: &dyn Host) -> Result<Vec<Entry>, String> {
    match host.read(Path::new(PATH)) {
        FileFacts::Absent => Ok(Vec::new()),
        FileFacts::Unreadable(why) => Err(why),
        FileFacts::Text { content, .. } => Ok(parse(&content)),
    }
}

/// A last line cut short by a power cut was never acted on: its event is written before the act.
fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn a_journal_that_is_full_takes_what_is_open_along() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.jsonl");
        let write = |change: &str, event| {
            let change = ChangeId(change.to_owned());
            append(&path, &Entry { at_unix_ms: 1, operator: "me".to_owned(), change, event }).unwrap();
        };
        write("kvm2/hosts", ChangeEvent::Begun);
        write("kvm2/hosts", ChangeEvent::Done);
        write("kvm2/ufw", ChangeEvent::Begun);
        write("kvm2/engine_package", ChangeEvent::Failed("x".repeat(300 * 1024)));
        // Only what begins makes it a new file.
        write("kvm2/sysctl", ChangeEvent::Settled);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        write("kvm2/guard", ChangeEvent::Begun);
        let previous = fs::read_to_string(directory.path().join("journal.1.jsonl")).unwrap();
        assert_eq!(parse(&previous).len(), 5);
        let open = || {
            let entries = parse(&fs::read_to_string(&path).unwrap());
            let open = journal::interrupted(&entries).unwrap();
            open.into_iter().map(|entry| entry.change.0.clone()).collect::<Vec<_>>()
        };
        assert_eq!(open(), ["kvm2/guard", "kvm2/ufw"]);
        write("kvm2/ufw", ChangeEvent::Settled);
        assert_eq!(open(), ["kvm2/guard"]);
    }

    #[test]
    fn a_change_is_done_when_its_last_event_says_so() {
        let change = ChangeId("kvm2/ufw".to_owned());
        let line = |change: &str, event| {
            let entry = Entry {
                at_unix_ms: 1,
                operator: "me".to_owned(),
                change: ChangeId(change.to_owned()),
                event,
            };
            serde_json::to_string(&entry).unwrap() + "\n"
        };
        let mut text = line("kvm2/ufw", ChangeEvent::Begun) + &line("kvm2/ufw", ChangeEvent::Done);
        text += &line("kvm2/guard", ChangeEvent::Begun);
        let host = |text: &str| FakeHost::default().with_file(PATH, text);
        assert!(is_done(&host(&text), &change));
        assert!(!is_done(&host(&text), &ChangeId("kvm2/guard".to_owned())));
        text += &line("kvm2/ufw", ChangeEvent::Begun);
        assert!(!is_done(&host(&text), &change), "begun again");
        assert!(!is_done(&FakeHost::default(), &change));
    }
}
