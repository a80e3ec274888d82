//! Whether what is declared open comes through `DOCKER-USER`: its rules read as `iptables-save` shows them.
//!
//! The address is translated already when a packet comes here: what the client asked for is what conntrack keeps, and
//! `--dport` is the container's port, of which nothing is known here.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::super::guard_table::PUBLISHED_CHAIN;

/// Words as a shell would take them apart: `iptables-save` puts a comment of several in quotes.
pub(super) fn words(rule: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted, mut is_escaped) = (Vec::new(), String::new(), false, false);
    for letter in rule.chars() {
        match letter {
            _ if is_escaped => {
                word.push(letter);
                is_escaped = false;
            }
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// A packet of a stranger's connection, or of one that a container began (`port` is `None`).
#[derive(Clone, Copy)]
struct Packet<'a> {
    interface: &'a str,
    way: Way,
    state: &'static str,
    direction: &'static str,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    /// It hangs on what is not known here.
    Maybe,
}

impl Match {
    fn of(condition: bool) -> Self {
        if condition { Self::Yes } else { Self::No }
    }

    fn inverted(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Maybe, _) | (_, Self::Maybe) => Self::Maybe,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }
}

/// The conditions that are understood; each takes one value.
const KNOWN: [&str; 8] = ["-i", "-o", "-s", "-p", "--ctstate", "--state", "--ctdir", "--ctorigdstport"];

/// A rule that was read: whether it takes the packet, and where it hands it.
fn read(rule: &str, packet: &Packet<'_>) -> (Match, String) {
    let words = words(rule);
    let mut words = words.iter().map(String::as_str);
    let (mut matches, mut is_inverted) = (Match::Yes, false);
    while let Some(word) = words.next() {
        let condition = match word {
            "!" => {
                is_inverted = true;
                continue;
            }
            "-j" => return (matches, words.next().unwrap_or_default().to_owned()),
            "-g" => return (matches, String::new()),
            "-m" | "--comment" => {
                words.next();
                continue;
            }
            option if KNOWN.contains(&option) => condition(option, words.next().unwrap_or_default(), packet),
            // How many values it takes is not known either: none is skipped, or the target might be.
            _ => Match::Maybe,
        };
        matches = matches.and(if is_inverted { condition.inverted() } else { condition });
        is_inverted = false;
    }
    // It counts, and hands nothing on.
    (Match::No, String::new())
}

fn condition(option: &str, value: &str, packet: &Packet<'_>) -> Match {
    let is_interface = match value.strip_suffix('+') {
        Some(start) => packet.interface.starts_with(start),
        None => packet.interface == value,
    };
    match (option, packet.way) {
        ("-i", Way::In) | ("-o", Way::Out) => Match::of(is_interface),
        // The other one is a bridge of the engine's.
        ("-i" | "-o", _) if is_interface && !value.starts_with('+') => Match::No,
        // An address among all: what it names is not the stranger of whom this is asked.
        ("-s", Way::In) => Match::of(value.ends_with("/0")),
        // Containers have private addresses; which ones is not known here.
        ("-s", Way::Out) if !has_private(value) => Match::No,
        ("-p", _) => Match::of(matches!(value, "tcp" | "6" | "all")),
        ("--ctstate" | "--state", _) => Match::of(value.split(',').any(|state| state == packet.state)),
        ("--ctdir", _) => Match::of(value == packet.direction),
        ("--ctorigdstport", _) => packet.port.map_or(Match::Maybe, |port| among(value, port)),
        _ => Match::Maybe,
    }
}

/// Whether a network may hold a container's address, as Docker and swarm choose them (RFC 1918, RFC 4193).
fn has_private(network: &str) -> bool {
    let Ok(network) = network.parse::<IpNet>() else { return true };
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
    let mut private = private.iter().filter_map(|private| private.parse::<IpNet>().ok());
    private.any(|private| private.contains(&network) || network.contains(&private))
}

/// Whether `80` or `80:90` has the port.
fn among(ports: &str, port: u16) -> Match {
    let (first, last) = ports.split_once(':').unwrap_or((ports, ports));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => Match::of((first..=last).contains(&port)),
        _ => Match::Maybe,
    }
}

/// A rule that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Obstacle {
    /// It drops.
    Shuts(String),
    /// What becomes of the packet hangs on a rule that cannot be judged here.
    Unclear(String),
}

/// Both chains.
struct Chains<'a> {
    docker_user: &'a [String],
    published: &'a [String],
}

/// What a chain does with a packet.
enum ChainVerdict {
    Passes,
    Dropped(String),
    /// No rule took it.
    Through,
}

/// What rules that may or may not match would do.
#[derive(Default)]
struct Doubts {
    pass: Option<String>,
    drop: Option<String>,
}

impl Chains<'_> {
    fn walk(&self, rules: &[String], packet: &Packet<'_>, doubts: &mut Doubts) -> ChainVerdict {
        for rule in rules {
            let (matches, target) = read(rule, packet);
            let is_sure = match matches {
                Match::No => continue,
                Match::Yes => true,
                Match::Maybe => false,
            };
            match target.as_str() {
                "RETURN" | "ACCEPT" if is_sure => return ChainVerdict::Passes,
                "RETURN" | "ACCEPT" => drop(doubts.pass.get_or_insert_with(|| rule.clone())),
                "DROP" | "REJECT" if is_sure => return ChainVerdict::Dropped(rule.clone()),
                "DROP" | "REJECT" => drop(doubts.drop.get_or_insert_with(|| rule.clone())),
                "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TRACE" => {}
                PUBLISHED_CHAIN if is_sure => match self.walk(self.published, packet, doubts) {
                    ChainVerdict::Through => {}
                    verdict => return verdict,
                },
                target if target.starts_with("f2b-") => {}
                // A chain of somebody's, of which nothing is known.
                _ => {
                    doubts.pass.get_or_insert_with(|| rule.clone());
                    doubts.drop.get_or_insert_with(|| rule.clone());
                }
            }
        }
        ChainVerdict::Through
    }

    fn obstacle(&self, packet: &Packet<'_>) -> Option<Obstacle> {
        let mut doubts = Doubts::default();
        match self.walk(self.docker_user, packet, &mut doubts) {
            ChainVerdict::Dropped(rule) => Some(doubts.pass.map_or(Obstacle::Shuts(rule), Obstacle::Unclear)),
            ChainVerdict::Passes | ChainVerdict::Through => doubts.drop.map(Obstacle::Unclear),
        }
    }
}

/// The rules that are in the way of connections from anywhere to these TCP ports, or of answers to containers, each with
/// what it is in the way of.
pub(in super::super) fn obstacles(
    docker_user: &[String],
    published: &[String],
    interfaces: &[String],
    ports: &[u16],
) -> BTreeMap<Obstacle, Vec<String>> {
    let chains = Chains { docker_user, published };
    let mut found: BTreeMap<Obstacle, Vec<String>> = BTreeMap::new();
    for interface in interfaces {
        let packet = |way, state, direction, port| Packet { interface, way, state, direction, port };
        let mut look = |packet: Packet<'_>, what: String| {
            if let Some(obstacle) = chains.obstacle(&packet) {
                let named = found.entry(obstacle).or_default();
                if !named.contains(&what) {
                    named.push(what);
                }
            }
        };
        for port in ports {
            for packet in [
                packet(Way::In, "NEW", "ORIGINAL", Some(*port)),
                packet(Way::In, "ESTABLISHED", "ORIGINAL", Some(*port)),
                packet(Way::Out, "ESTABLISHED", "REPLY", Some(*port)),
            ] {
                look(packet, format!("TCP {port}"));
            }
        }
        look(packet(Way::In, "ESTABLISHED", "REPLY", None), "answers to containers".to_owned());
    }
    found
}
