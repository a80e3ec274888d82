//! An engine that answers by a script, over a socket of its own.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// What the engine was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `METHOD PATH`.
    pub(crate) line: String,
    /// The request's body.
    pub(crate) body: String,
}

/// Runs something beside an engine that answers a ping and then, in turn, with these statuses and bodies. Gives what
/// came of it and what was asked, the ping left out.
pub(crate) fn scripted<T>(
    socket: &Path,
    answers: &[(&str, &str)],
    run: impl FnOnce() -> T,
) -> (T, Vec<Asked>) {
    let listener = UnixListener::bind(socket).expect("a socket");
    let answer = |(status, body): (&str, &str)| {
        let (mut stream, _) = listener.accept().expect("a connection");
        let asked = request(&mut stream);
        let length = body.len();
        let head = "Connection: close\r\nApi-Version: 1.45\r\nContent-Type: application/json";
        write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}")
            .expect("sent");
        asked
    };
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || {
            answer(("200 OK", ""));
            answers.iter().copied().map(answer).collect()
        });
        let outcome = run();
        (outcome, asked.join().expect("its requests"))
    })
}

fn request(stream: &mut UnixStream) -> Asked {
    let mut text = String::new();
    let (head, body) = loop {
        let mut bytes = [0; 2048];
        let read = stream.read(&mut bytes).expect("a request");
        text += &String::from_utf8_lossy(bytes.get(..read).unwrap_or_default());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) || read == 0 {
            break (head, body);
        }
    };
    let line = head.lines().next().unwrap_or_default();
    let line = line.trim_end_matches(" HTTP/1.1").trim_end_matches(" HTTP/1.0").to_owned();
    Asked { line, body: body.to_owned() }
}
