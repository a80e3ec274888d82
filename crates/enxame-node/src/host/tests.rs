use super::*;

/// What both hosts must do alike; each fake is checked against the real thing by this one test.
fn behaves_as_a_host(host: &dyn Host) {
    let path = Path::new("/etc/enxame.test");
    assert_eq!(host.read(path), FileFacts::Absent);
    host.write(path, "one\n", 0o600).unwrap();
    host.write(path, "two\n", 0o640).unwrap();
    assert_eq!(host.read(path).content(), Some("two\n"));
    assert!(matches!(host.read(path), FileFacts::Text { mode: 0o640, .. }));
    let text = enxame_core::files::text_of(b"caf\xe9\0\r\n");
    host.write(path, &text, 0o600).unwrap();
    assert_eq!(host.read(path).content(), Some(text.as_str()));
    host.remove(path).unwrap();
    host.remove(path).unwrap();
    assert_eq!(host.read(path), FileFacts::Absent);

    assert_eq!(host.run_ok(&Command::new(["echo", "hello"])).unwrap(), "hello\n");
    let refused = host.run_ok(&Command::new(["false"])).unwrap_err();
    assert!(matches!(refused, HostError::Refused { ref status, .. } if status == "exit code 1"), "{refused}");
    let missing = host.run(&Command::new(["enxame-no-such-program"])).unwrap_err();
    assert!(matches!(missing, HostError::Start { .. }), "{missing}");
}

#[test]
fn the_fake_host_and_the_real_one_behave_alike() {
    let root = tempfile::tempdir().unwrap();
    behaves_as_a_host(&RealHost::rooted(root.path()));
    let hello = Finished { code: Some(0), stdout: "hello\n".to_owned(), stderr: String::new() };
    let no = Finished { code: Some(1), ..Finished::default() };
    behaves_as_a_host(&FakeHost::default().answering("echo hello", hello).answering("false", no));
}

#[test]
fn bytes_of_another_encoding_go_back_as_they_came() {
    let root = tempfile::tempdir().unwrap();
    let (host, file, bytes) =
        (RealHost::rooted(root.path()), root.path().join("hosts"), b"10.0.0.7 caf\xe9\n");
    fs::write(&file, bytes).unwrap();
    let content = host.read(Path::new("/hosts")).content().unwrap().to_owned();
    host.write(Path::new("/hosts"), &(content + "10.0.0.8 b\n"), 0o644).unwrap();
    assert_eq!(fs::read(&file).unwrap(), [&bytes[..], b"10.0.0.8 b\n"].concat());
}

#[test]
fn a_file_with_thousands_of_bans_is_text_and_one_over_the_limit_says_so() {
    let root = tempfile::tempdir().unwrap();
    let host = RealHost::rooted(root.path());
    let bans = "-A ufw-user-input -s 198.51.100.66 -j REJECT\n".repeat(30_000);
    fs::write(root.path().join("user.rules"), &bans).unwrap();
    assert_eq!(host.read(Path::new("/user.rules")).content(), Some(bans.as_str()));
    let limit = enxame_core::limits::MAX_TEXT_BYTES;
    fs::File::create(root.path().join("long")).unwrap().set_len(limit + 1).unwrap();
    let why = format!("{} bytes, over the limit of {limit}", limit + 1);
    assert_eq!(host.read(Path::new("/long")), FileFacts::Unreadable(why));
}

#[test]
fn a_command_that_hangs_is_killed_at_its_deadline_with_its_children() {
    let host: &dyn Host = &RealHost::new();
    let command = Command::new(["sh", "-c", "sleep 60 & wait"]).within(Duration::from_millis(200));
    let error = host.run(&command).unwrap_err();
    assert!(matches!(error, HostError::TimedOut { .. }), "{error}");
}

#[test]
fn a_write_that_fails_leaves_the_old_file_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    let host = RealHost::rooted(root.path());
    host.write(Path::new("/d/file"), "old", 0o644).unwrap();
    // The temporary file's place is taken by a directory that cannot be removed as a file.
    let blocker = root.path().join(format!("d/.file.enxame-{}", std::process::id()));
    fs::create_dir(&blocker).unwrap();
    assert!(matches!(
        host.write(Path::new("/d/file"), "new", 0o644),
        Err(HostError::File { verb: "write", .. })
    ));
    assert_eq!(host.read(Path::new("/d/file")).content(), Some("old"));
}

#[test]
fn a_symbolic_link_is_written_through() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("target"), "old").unwrap();
    std::os::unix::fs::symlink(root.path().join("target"), root.path().join("link")).unwrap();
    RealHost::rooted(root.path()).write(Path::new("/link"), "new", 0o644).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("target")).unwrap(), "new");
    assert!(root.path().join("link").is_symlink());
}

#[test]
fn a_service_that_keeps_the_pipe_open_does_not_keep_the_caller() {
    // Longer than the runner gives a test.
    let command = Command::new(["sh", "-c", "echo begun; sleep 130 & exit 3"]);
    let finished = RealHost::new().run(&command).unwrap();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), "begun\n"));
}
