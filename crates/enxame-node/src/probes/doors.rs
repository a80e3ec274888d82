//! Calls to a server of shared files by ways that are to be shut (ONC RPC version 2, RFC 5531; NFS, RFC 1813 and 8881).

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use enxame_core::probe::{Door, Doors, DoorsTried};

const WAIT: Duration = Duration::from_secs(5);
const NFS: u32 = 100_003;
const NULL: u32 = 0;
const COMPOUND: u32 = 1;
const CALL: u32 = 0;
const REPLY: u32 = 1;
const RPC_VERSION: u32 = 2;
/// The last fragment of a record (RFC 5531, 11).
const LAST: u32 = 0x8000_0000;
const TRANSACTION: u32 = 0x656e_7861;
/// An answer to what is asked here has some dozens of bytes.
const MOST_BYTES: u32 = 65_536;

/// Tries them.
pub(super) fn try_all(order: &Doors) -> DoorsTried {
    let server = SocketAddr::new(order.tunnel, order.port);
    let control = match ask(server, &compound(1)) {
        Ok(answer) if status(&answer) == Some(0) => Ok(()),
        Ok(answer) => Err(format!("it refuses NFSv4.1 with {:?}", status(&answer))),
        Err(error) => Err(error.to_string()),
    };
    let mut open = BTreeMap::new();
    // A server that speaks other versions only says which.
    if ask(server, &call(3, NULL, &[])).is_ok_and(|answer| accepted(&answer) == Some(0)) {
        open.insert(Door::V3, "takes calls".to_owned());
    }
    if ask(server, &compound(0)).is_ok_and(|answer| status(&answer) == Some(0)) {
        open.insert(Door::V40, "takes calls".to_owned());
    }
    if by_udp(server) {
        open.insert(Door::Udp, "answers".to_owned());
    }
    let public = SocketAddr::new(order.public, order.port);
    if TcpStream::connect_timeout(&public, WAIT).is_ok() {
        open.insert(Door::Public, "takes connections".to_owned());
    }
    DoorsTried { control, open }
}

/// A call without credentials.
fn call(version: u32, procedure: u32, arguments: &[u32]) -> Vec<u8> {
    let nobody = [0, 0];
    let head = [TRANSACTION, CALL, RPC_VERSION, NFS, version, procedure];
    let words = head.iter().chain(&nobody).chain(&nobody).chain(arguments);
    words.flat_map(|word| word.to_be_bytes()).collect()
}

/// A compound of nothing in a minor version: what a server answers tells whether it speaks it.
fn compound(minor: u32) -> Vec<u8> {
    let (tag_bytes, operations) = (0, 0);
    call(4, COMPOUND, &[tag_bytes, minor, operations])
}

fn ask(server: SocketAddr, call: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let length = u32::try_from(call.len()).unwrap_or_default();
    stream.write_all(&[&(LAST | length).to_be_bytes(), call].concat())?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let length = (u32::from_be_bytes(head) & !LAST).min(MOST_BYTES);
    let mut answer = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn by_udp(server: SocketAddr) -> bool {
    let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let asked = || -> io::Result<usize> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(WAIT))?;
        socket.connect(server)?;
        socket.send(&call(4, NULL, &[]))?;
        socket.recv(&mut [0; 512])
    };
    asked().is_ok()
}

fn word(answer: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*answer.get(place * 4..)?.first_chunk()?))
}

/// How an answer's call was taken; 0: it was carried out. `None`: it is no answer, or a refusal of the caller.
fn accepted(answer: &[u8]) -> Option<u32> {
    let is_answer = word(answer, 0)? == TRANSACTION && word(answer, 1)? == REPLY && word(answer, 2)? == 0;
    // A verifier of no bytes is before it.
    is_answer.then(|| word(answer, 5)).flatten().filter(|_| word(answer, 4) == Some(0))
}

/// The status of a compound that was carried out; 0: all is well.
fn status(answer: &[u8]) -> Option<u32> {
    accepted(answer).filter(|how| *how == 0).and_then(|_| word(answer, 6))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A server that gives each call the answer of `answer`, by version and minor version.
    fn serve(answer: impl Fn(u32, Option<u32>) -> Vec<u32> + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4];
                if stream.read_exact(&mut head).is_err() {
                    continue;
                }
                let mut call = vec![0; usize::try_from(u32::from_be_bytes(head) & !LAST).unwrap()];
                stream.read_exact(&mut call).unwrap();
                let told = bytes(&answer(word(&call, 4).unwrap(), word(&call, 11)));
                let length = LAST | u32::try_from(told.len()).unwrap();
                stream.write_all(&[length.to_be_bytes().to_vec(), told].concat()).unwrap();
            }
        });
        at
    }

    fn tried(server: SocketAddr) -> DoorsTried {
        // Nobody listens at that address on this port.
        let public = "127.0.0.2".parse().unwrap();
        try_all(&Doors { tunnel: server.ip(), public, port: server.port() })
    }

    #[test]
    fn a_server_that_speaks_4_1_alone_is_told_from_one_that_speaks_more() {
        let fine = |rest: &[u32]| [&[TRANSACTION, REPLY, 0, 0, 0], rest].concat();
        let strict = serve(move |version, minor| match (version, minor) {
            (4, Some(0)) => fine(&[0, 10_021, 0, 0]),
            (4, _) => fine(&[0, 0, 0, 0]),
            // PROG_MISMATCH, and the versions that it has.
            _ => fine(&[2, 4, 4]),
        });
        assert_eq!(tried(strict), DoorsTried { control: Ok(()), open: BTreeMap::new() });
        let lax = serve(move |_, _| fine(&[0, 0, 0, 0]));
        let found = tried(lax);
        assert_eq!(found.open.keys().copied().collect::<Vec<_>>(), [Door::V3, Door::V40]);
    }

    #[test]
    fn without_a_server_nothing_is_proven() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let found = tried(nobody);
        assert!(found.control.is_err() && found.open.is_empty(), "{found:?}");
    }

    #[test]
    fn an_answer_that_is_none_is_none() {
        for words in [&[][..], &[TRANSACTION], &[1, REPLY, 0, 0, 0, 0, 0], &[TRANSACTION, REPLY, 1, 0, 0, 0]]
        {
            assert_eq!(status(&bytes(words)), None, "{words:?}");
        }
    }
}
