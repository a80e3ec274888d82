//! Whether what is declared open comes through `DOCKER-USER`.
//!
//! The address is translated already when a packet comes here: what the client asked for is what conntrack keeps, and
//! `--dport` is the container's port, of which nothing is known here.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::super::guard_table::PUBLISHED_CHAIN;
use super::super::iptables::{Condition, Rule, Target};
use super::super::openings::{Opening, Service};
use super::super::source::text_of;
use super::super::ufw_rules::Family;

/// What somebody is to reach.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Asked {
    /// What; without a port it is not asked about.
    pub service: Service,
    /// Who; `None`: everybody.
    pub from: Option<IpNet>,
    /// Whether a container serves it. If not, it may be the node itself, to which these rules are nothing.
    pub is_served: bool,
}

impl Asked {
    /// All who are let in by an opening, in one family.
    pub(in super::super) fn of(opening: &Opening, family: Family, is_served: bool) -> Vec<Self> {
        let asked = |from| Self { service: opening.service, from, is_served };
        let Some(networks) = opening.source.networks() else { return vec![asked(None)] };
        let of_family = networks.into_iter().filter(|network| family.has(network.addr()));
        of_family.map(|network| asked(Some(network).filter(|network| network.prefix_len() > 0))).collect()
    }
}

/// What a rule does to what is asked for, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Harm {
    /// It shuts what a container serves, and is declared open.
    Shuts,
    /// It keeps from containers what they may never be sent, or some, whom it names, of those who are let in by name, or
    /// the answers to what containers ask outside. That may be meant.
    KeepsOut,
    /// It cannot be judged here whether it does one of these.
    Unclear,
}

/// A rule that is in the way, as `iptables-save` shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Obstacle {
    pub harm: Harm,
    pub rule: String,
}

/// The way from outside to containers, in one family.
pub(in super::super) struct Passage<'a> {
    docker_user: Vec<(&'a str, Rule)>,
    published: Vec<(&'a str, Rule)>,
    interfaces: &'a [String],
    everybody: IpNet,
    /// The networks that rules name.
    named: BTreeSet<IpNet>,
}

/// Those of a network whom the rules may treat differently. A network stands for its addresses that no smaller one named
/// has.
#[derive(Default)]
struct Askers {
    /// Who it is as a whole.
    all: Vec<IpNet>,
    /// Who is named apart.
    exceptions: Vec<IpNet>,
}

fn askers(network: IpNet, named: &BTreeSet<IpNet>) -> Askers {
    let inner = named.iter().copied().filter(|one| *one != network && network.contains(one));
    // In their order a network comes right before those within it.
    let mut widest: Vec<IpNet> = Vec::new();
    for one in inner {
        if !widest.last().is_some_and(|last| last.contains(&one)) {
            widest.push(one);
        }
    }
    let is_all_named = IpNet::aggregate(&widest) == [network];
    let mut found =
        Askers { all: if is_all_named { Vec::new() } else { vec![network] }, ..Askers::default() };
    for one in widest {
        let Askers { all, exceptions } = askers(one, named);
        if is_all_named { &mut found.all } else { &mut found.exceptions }.extend(all);
        found.exceptions.extend(exceptions);
    }
    found
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
    protocol: Protocol,
    /// The one outside.
    stranger: IpNet,
    port: Option<u16>,
}

#[derive(Clone, Copy)]
enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// As `-p` shows it: by name, or by number where `/etc/protocols` is missing.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Tcp => ["tcp", "6"],
            Self::Udp => ["udp", "17"],
        }
    }
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

impl Packet<'_> {
    fn is_taken_by(&self, rule: &Rule) -> Match {
        rule.conditions.iter().fold(Match::Yes, |matches, condition| {
            let held = self.meets(condition);
            matches.and(if condition.is_inverted { held.inverted() } else { held })
        })
    }

    fn meets(&self, condition: &Condition) -> Match {
        let value = condition.value();
        let is_interface = match value.strip_suffix('+') {
            Some(start) => self.interface.starts_with(start),
            None => self.interface == value,
        };
        match (condition.option.as_str(), self.way) {
            ("-m", _) => match value {
                // They judge by options alone; `tcp` and `udp` stand behind the protocol.
                "comment" | "conntrack" | "state" | "tcp" | "udp" => Match::Yes,
                _ => Match::Maybe,
            },
            ("--comment", _) => Match::Yes,
            ("-i", Way::In) | ("-o", Way::Out) => Match::of(is_interface),
            // The other one is a bridge of the engine's.
            ("-i" | "-o", _) if is_interface && !value.starts_with('+') => Match::No,
            ("-s", Way::In) | ("-d", Way::Out) => {
                value.parse::<IpNet>().map_or(Match::Maybe, |named| Match::of(named.contains(&self.stranger)))
            }
            // Containers have private addresses; which ones is not known here.
            ("-s", Way::Out) | ("-d", Way::In) if !has_private(value) => Match::No,
            ("-p", _) => Match::of(value == "all" || self.protocol.names().contains(&value)),
            ("--ctstate" | "--state", _) => Match::of(value.split(',').any(|state| state == self.state)),
            ("--ctdir", _) => Match::of(value == self.direction),
            ("--ctorigdstport", _) => self.port.map_or(Match::Maybe, |port| among(value, port)),
            _ => Match::Maybe,
        }
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

/// What a chain does with a packet.
enum ChainVerdict<'a> {
    Passes,
    Dropped(&'a str),
    /// No rule took it.
    Through,
}

/// What rules that may or may not match would do.
#[derive(Default)]
struct Doubts<'a> {
    pass: Option<&'a str>,
    drop: Option<&'a str>,
}

impl<'a> Passage<'a> {
    /// The chains as `iptables-save` shows them, and the interfaces that face outside.
    pub(in super::super) fn new(
        docker_user: &'a [String],
        published: &'a [String],
        interfaces: &'a [String],
        family: Family,
    ) -> Self {
        let read = |rules: &'a [String]| -> Vec<(&'a str, Rule)> {
            rules.iter().map(|rule| (rule.as_str(), Rule::read(rule))).collect()
        };
        let (docker_user, published) = (read(docker_user), read(published));
        let conditions = docker_user.iter().chain(&published).flat_map(|(_, rule)| &rule.conditions);
        let addresses = conditions.filter(|condition| matches!(condition.option.as_str(), "-s" | "-d"));
        let named = addresses.filter_map(|condition| condition.value().parse().ok()).collect();
        let everybody = match family {
            Family::V4 => Ipv4Net::default().into(),
            Family::V6 => Ipv6Net::default().into(),
        };
        Self { docker_user, published, interfaces, everybody, named }
    }

    fn walk(
        &'a self,
        rules: &'a [(&str, Rule)],
        packet: &Packet<'_>,
        doubts: &mut Doubts<'a>,
    ) -> ChainVerdict<'a> {
        for (text, rule) in rules {
            let is_sure = match packet.is_taken_by(rule) {
                Match::No => continue,
                Match::Yes => true,
                Match::Maybe => false,
            };
            let target = match &rule.target {
                Target::Nowhere => continue,
                Target::Jump(target) => target.as_str(),
                // Where it comes back to is not here.
                Target::Goto(_) => "",
            };
            match target {
                "RETURN" | "ACCEPT" if is_sure => return ChainVerdict::Passes,
                "RETURN" | "ACCEPT" => drop(doubts.pass.get_or_insert(text)),
                "DROP" | "REJECT" if is_sure => return ChainVerdict::Dropped(text),
                "DROP" | "REJECT" => drop(doubts.drop.get_or_insert(text)),
                "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TRACE" => {}
                PUBLISHED_CHAIN if is_sure => match self.walk(&self.published, packet, doubts) {
                    ChainVerdict::Through => {}
                    verdict => return verdict,
                },
                target if target.starts_with("f2b-") => {}
                // A chain of somebody's, of which nothing is known.
                _ => {
                    doubts.pass.get_or_insert(text);
                    doubts.drop.get_or_insert(text);
                }
            }
        }
        ChainVerdict::Through
    }

    /// What is in the packet's way; `harm` is what it is to be dropped.
    fn obstacle(&self, packet: &Packet<'_>, harm: Harm) -> Option<Obstacle> {
        let mut doubts = Doubts::default();
        let (harm, rule) = match self.walk(&self.docker_user, packet, &mut doubts) {
            ChainVerdict::Dropped(rule) => {
                doubts.pass.map_or((harm, rule), |unclear| (Harm::Unclear, unclear))
            }
            ChainVerdict::Passes | ChainVerdict::Through => (Harm::Unclear, doubts.drop?),
        };
        Some(Obstacle { harm, rule: rule.to_owned() })
    }

    /// The rules that are in the way of what is asked for, or of answers to containers, each with what it is in the way
    /// of: `TCP 443`, `UDP 5000 from 192.0.2.0/24`, `answers`.
    pub(in super::super) fn obstacles(&self, asked: &[Asked]) -> BTreeMap<Obstacle, Vec<String>> {
        let mut found: BTreeMap<Obstacle, Vec<String>> = BTreeMap::new();
        let mut look = |packet: &Packet<'_>, harm: Harm, what: &str| {
            if let Some(obstacle) = self.obstacle(packet, harm) {
                let named = found.entry(obstacle).or_default();
                if !named.iter().any(|one| one == what) {
                    named.push(what.to_owned());
                }
            }
        };
        for interface in self.interfaces {
            let answer = Packet {
                interface,
                way: Way::In,
                state: "ESTABLISHED",
                direction: "REPLY",
                protocol: Protocol::Tcp,
                stranger: self.everybody,
                port: None,
            };
            for asked in asked {
                let (protocol, port) = match asked.service {
                    Service::Tcp(port) => (Protocol::Tcp, port),
                    Service::Udp(port) => (Protocol::Udp, port),
                    Service::Esp | Service::Icmp | Service::Icmpv6 | Service::Any => continue,
                };
                let mut ask = |stranger: IpNet, harm: Harm| {
                    let name = asked.service.protocol();
                    let what = if stranger == self.everybody {
                        format!("{name} {port}")
                    } else {
                        format!("{name} {port} from {}", text_of(&stranger))
                    };
                    for (way, state, direction) in [
                        (Way::In, "NEW", "ORIGINAL"),
                        (Way::In, "ESTABLISHED", "ORIGINAL"),
                        (Way::Out, "ESTABLISHED", "REPLY"),
                    ] {
                        let port = Some(port);
                        let packet = Packet { interface, way, state, direction, protocol, stranger, port };
                        look(&packet, harm, &what);
                    }
                };
                let Askers { all, exceptions } = askers(asked.from.unwrap_or(self.everybody), &self.named);
                for stranger in all {
                    ask(stranger, if asked.is_served { Harm::Shuts } else { Harm::KeepsOut });
                }
                // Whoever keeps an address away from what is open to all takes nothing from anybody who is let in by name.
                for stranger in exceptions.into_iter().filter(|_| asked.from.is_some()) {
                    ask(stranger, Harm::KeepsOut);
                }
            }
            look(&answer, Harm::KeepsOut, "answers");
        }
        found
    }
}
