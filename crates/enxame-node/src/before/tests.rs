use super::*;
use crate::host::FakeHost;

fn touching(path: &str) -> Touched {
    Touched { files: vec![path.to_owned()], ..Touched::default() }
}

#[test]
fn what_was_there_first_is_kept_and_a_later_apply_does_not_replace_it() {
    let host = FakeHost::default().with_file("/etc/hosts", "first\n");
    keep(&host, &touching("/etc/hosts")).unwrap();
    keep(&host, &touching("/etc/absent")).unwrap();
    for path in ["/etc/hosts", "/etc/absent"] {
        host.write(Path::new(path), "of enxame's making\n", 0o644).unwrap();
        keep(&host, &touching(path)).unwrap();
    }
    let before = look(&host);
    assert_eq!(before.record, Coverage::FromTheStart);
    assert_eq!(before.text("/etc/hosts"), Some("first\n"));
    assert_eq!(before.files["/etc/absent"], FileFacts::Absent);
    put_back(&host, "/etc/hosts").unwrap();
    put_back(&host, "/etc/absent").unwrap();
    assert_eq!(host.read(Path::new("/etc/hosts")).content(), Some("first\n"));
    assert_eq!(host.read(Path::new("/etc/absent")), FileFacts::Absent);
}

#[test]
fn a_run_that_was_cut_off_before_the_index_was_written_keeps_again_what_is_still_there() {
    let host = FakeHost::default().with_file("/etc/hosts", "first\n");
    // The copy is there, half of it, and no index says so.
    host.write(&copy_of("/etc/hosts"), "fir", MODE).unwrap();
    keep(&host, &touching("/etc/hosts")).unwrap();
    assert_eq!(look(&host).text("/etc/hosts"), Some("first\n"));
}

#[test]
fn what_an_earlier_build_made_is_not_taken_for_what_was_there_before_it() {
    let done = r#"{"at_unix_ms":1,"operator":"me","change":"a/hosts","event":"done"}"#;
    let host = FakeHost::default().with_file("/etc/hosts", "with our block\n").with_file(journal::PATH, done);
    keep(&host, &touching("/etc/hosts")).unwrap();
    let before = look(&host);
    assert!(before.is_missing() && before.files.is_empty(), "{before:?}");
    // And a copy that is gone is no absence: the file is not removed for it.
    let host = FakeHost::default().with_file("/etc/hosts", "first\n");
    keep(&host, &touching("/etc/hosts")).unwrap();
    host.remove(&copy_of("/etc/hosts")).unwrap();
    let refused = put_back(&host, "/etc/hosts");
    assert!(matches!(refused, Err(ActuateError::Wrong { .. })), "{refused:?}");
    assert_eq!(host.read(Path::new("/etc/hosts")).content(), Some("first\n"));
}

#[test]
fn a_first_change_that_replaces_nothing_begins_the_record() {
    let host = FakeHost::default().with_file("/etc/hosts", "first\n");
    keep(&host, &Touched::default()).unwrap();
    let done = r#"{"at_unix_ms":1,"operator":"me","change":"a/time_sync","event":"done"}"#;
    host.write(Path::new(journal::PATH), done, 0o600).unwrap();
    keep(&host, &touching("/etc/hosts")).unwrap();
    assert_eq!(look(&host).text("/etc/hosts"), Some("first\n"));
}
