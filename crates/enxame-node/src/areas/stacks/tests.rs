//! The socket in front of the engine's, with an engine that is scripted. On the laboratory's machines it stands in front of the
//! real one, with Docker's own command line before it.

use std::io::{Read, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use enxame_core::areas::stacks::{Bundle, Content, Write};
use enxame_core::names::ObjectName;
use serde_json::json;

use super::command::Scratch;
use super::recorder::Recorder;

/// An engine that has a secret `old` and tells what it is asked.
fn engine(socket: &Path) -> Receiver<String> {
    let listener = UnixListener::bind(socket).unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap() == 0 {
                    break;
                }
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let body = r#"[{"ID":"1","Spec":{"Name":"old"}}]"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nApi-Version: 1.45\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
            if tell.send(head.lines().next().unwrap_or_default().to_owned()).is_err() {
                return;
            }
        }
    });
    told
}

fn ask(socket: &Path, method: &str, path: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn reads_reach_the_engine_and_writes_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let engines = directory.path().join("engine.sock");
    let asked = engine(&engines);
    let recorder = Recorder::start(&directory.path().join("docker.sock"), &engines).unwrap();
    let socket = recorder.socket().to_owned();

    let version = ask(&socket, "GET", "/v1.45/services?filters=x", "");
    assert!(version.starts_with("HTTP/1.1 200 OK") && version.contains("1.45"), "{version}");
    let made = ask(&socket, "POST", "/v1.45/secrets/create", r#"{"Name":"new","Data":"Z2VoZWlt"}"#);
    assert!(made.starts_with("HTTP/1.1 201 Created"), "{made}");
    let updated = ask(&socket, "POST", "/v1.45/services/abc/update?version=3", r#"{"Name":"web_app"}"#);
    assert!(updated.starts_with("HTTP/1.1 200 OK"), "{updated}");
    // What would have been made by then is found.
    let listed = ask(&socket, "GET", "/v1.45/secrets", "");
    assert!(listed.contains(r#""Name":"old""#) && listed.contains(r#""Name":"new""#), "{listed}");
    for (method, path) in [
        ("POST", "/v1.45/containers/create"),
        ("DELETE", "/v1.45/services/abc"),
        ("PUT", "/x"),
        ("POST", "/v1.45/swarm/leave"),
    ] {
        let refused = ask(&socket, method, path, "{}");
        assert!(refused.starts_with("HTTP/1.1 501 "), "{method} {path}: {refused}");
    }

    let write = |path: &str, body| Write { path: path.to_owned(), body };
    let expected = [
        write("/secrets/create", json!({"Name": "new"})),
        write("/services/abc/update", json!({"Name": "web_app"})),
    ];
    assert_eq!(recorder.end(), expected);
    assert_eq!(
        asked.try_iter().collect::<Vec<_>>(),
        ["GET /v1.45/services?filters=x HTTP/1.1", "GET /v1.45/secrets HTTP/1.1"]
    );
    assert!(UnixStream::connect(&socket).is_err(), "nobody listens any more");
}

fn bundle(file: &str) -> Bundle {
    Bundle {
        stack: ObjectName::new("web").unwrap(),
        compose: vec!["web.yaml".to_owned()],
        files: [(file.to_owned(), Content(b"geheim".to_vec()))].into(),
        environment: [].into(),
    }
}

#[test]
fn a_stacks_files_are_roots_alone_and_gone_afterwards() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let scratch = Scratch::below(place.path()).unwrap();
    scratch.unpack(&bundle("conf/secret")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(scratch.path()), 0o700);
    assert_eq!(mode(&scratch.path().join("conf/secret")), 0o600);
    for outside in ["../x", "/etc/enxame-never", "a/../../x", ""] {
        let refused = scratch.unpack(&bundle(outside)).unwrap_err();
        assert!(refused.to_string().contains("not below its directory"), "{outside}: {refused}");
    }
    drop(scratch);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}
