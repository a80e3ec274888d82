//! One question to the resolver the engine runs inside a container's network namespace.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};

use super::exchange::{Deadline, is_over};

/// Where the engine's resolver answers in every container on a network of its own making (libnetwork).
pub(super) const RESOLVER: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 11)), 53);

/// How long one try waits for an answer.
const TRY: Duration = Duration::from_secs(2);

/// The IPv4 addresses of a name, asked again until there is an answer or the time is over. A name that is not
/// known has none.
pub(super) fn resolve(resolver: SocketAddr, name: &str, deadline: &Deadline) -> io::Result<BTreeSet<IpAddr>> {
    let mut id = 1;
    loop {
        match ask(resolver, name, id, deadline) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut && deadline.left().is_ok() => id += 1,
            answer => return answer,
        }
    }
}

fn ask(resolver: SocketAddr, name: &str, id: u16, deadline: &Deadline) -> io::Result<BTreeSet<IpAddr>> {
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).map_err(io::Error::other)?;
    query.questions.push(Question::new(name, TYPE::A.into(), CLASS::IN.into(), false));
    let query = query.build_bytes_vec().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(resolver)?;
    socket.send(&query)?;
    let patience = deadline.or_after(TRY);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        socket.set_read_timeout(Some(patience.tick()?))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if is_over(&error) => continue,
            Err(error) => return Err(error),
        };
        if let Some(answer) = addresses(buffer.get(..length).unwrap_or_default(), id)? {
            return Ok(answer);
        }
    }
}

/// The addresses in an answer; `None` when it answers another question.
fn addresses(answer: &[u8], id: u16) -> io::Result<Option<BTreeSet<IpAddr>>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let answer = Packet::parse(answer).map_err(|error| invalid(error.to_string()))?;
    if answer.id() != id || !answer.has_flags(PacketFlag::RESPONSE) {
        return Ok(None);
    }
    if answer.has_flags(PacketFlag::TRUNCATION) {
        return Err(invalid("the resolver's answer is cut short".to_owned()));
    }
    match answer.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Some(BTreeSet::new())),
        code => return Err(invalid(format!("the resolver answered {code:?}"))),
    }
    let addresses = answer.answers.iter().filter_map(|record| match &record.rdata {
        RData::A(record) => Some(IpAddr::from(record.address.to_be_bytes())),
        _ => None,
    });
    Ok(Some(addresses.collect()))
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::A;

    use super::*;

    fn answer(id: u16, code: RCODE, addresses: &[[u8; 4]]) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        *packet.rcode_mut() = code;
        for address in addresses {
            let rdata = RData::A(A { address: u32::from_be_bytes(*address) });
            packet.answers.push(ResourceRecord::new(Name::new_unchecked("tasks.x"), CLASS::IN, 600, rdata));
        }
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn an_answer_is_a_set_of_addresses() {
        let bytes = answer(7, RCODE::NoError, &[[10, 0, 1, 3], [10, 0, 1, 2], [10, 0, 1, 3]]);
        let expected = BTreeSet::from([IpAddr::from([10, 0, 1, 2]), IpAddr::from([10, 0, 1, 3])]);
        assert_eq!(addresses(&bytes, 7).unwrap(), Some(expected));
    }

    #[test]
    fn an_unknown_name_has_no_addresses_and_a_broken_resolver_is_an_error() {
        assert_eq!(addresses(&answer(7, RCODE::NameError, &[]), 7).unwrap(), Some(BTreeSet::new()));
        let error = addresses(&answer(7, RCODE::ServerFailure, &[]), 7).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(addresses(b"nonsense", 7).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_answer_to_another_question_is_passed_over() {
        assert_eq!(addresses(&answer(8, RCODE::NoError, &[[10, 0, 0, 1]]), 7).unwrap(), None);
        let question = Packet::new_query(7).build_bytes_vec().unwrap();
        assert_eq!(addresses(&question, 7).unwrap(), None);
    }

    #[test]
    fn a_resolver_that_is_silent_is_given_up_on_in_time() {
        let silent = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let deadline = Deadline::after(Duration::from_millis(50));
        let error = resolve(silent.local_addr().unwrap(), "tasks.x", &deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn the_right_answer_is_waited_for() {
        let resolver = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let address = resolver.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, from) = resolver.recv_from(&mut buffer).unwrap();
            let id = Packet::parse(&buffer[..length]).unwrap().id();
            resolver.send_to(&answer(id + 1, RCODE::NoError, &[[1, 1, 1, 1]]), from).unwrap();
            resolver.send_to(&answer(id, RCODE::NoError, &[[10, 0, 0, 1]]), from).unwrap();
        });
        let found = resolve(address, "tasks.x.net", &Deadline::after(Duration::from_secs(5))).unwrap();
        assert_eq!(found, BTreeSet::from([IpAddr::from([10, 0, 0, 1])]));
        thread.join().unwrap();
    }
}
