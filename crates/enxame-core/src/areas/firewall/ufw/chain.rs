//! What a new connection meets in ufw's own files before it comes to ufw's rules: `before.rules`, loaded at boot and at each
//! reload, whatever is in the kernel now.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::super::Service;
use super::super::iptables::{Condition, Rule};
use super::super::ufw_rules::Family;

/// How deep a chain may call another; the kernel knows no circles.
const DEEPEST: usize = 16;

/// A line that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: usize,
    /// As it stands there.
    pub(super) text: String,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on to ufw's rules, or is let in before.
    Passes,
    /// It is thrown away.
    Shut(Line),
    /// It may be: nobody can tell from the file.
    Unclear(Line),
}

/// Somebody who begins a connection to the node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    pub(super) service: Service,
    /// Who; `None`: everybody.
    pub(super) from: Option<IpNet>,
    pub(super) interface: &'a str,
}

/// The chains of a file.
pub(super) struct Chains {
    rules: BTreeMap<String, Vec<(Line, Rule)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Matches {
    Yes,
    No,
    Unknown,
}

impl Matches {
    fn inverted(self, is_inverted: bool) -> Self {
        match self {
            Self::Yes if is_inverted => Self::No,
            Self::No if is_inverted => Self::Yes,
            other => other,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }
}

/// Where a chain hands a packet.
enum End {
    Falls,
    Passes,
    Shut(Line),
    Unclear(Line),
}

impl Chains {
    /// Reads the table `filter` of a file as `iptables-restore` takes it.
    pub(super) fn read(text: &str) -> Self {
        let mut rules: BTreeMap<String, Vec<(Line, Rule)>> = BTreeMap::new();
        let mut is_filter = true;
        for (place, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(table) = line.strip_prefix('*') {
                is_filter = table == "filter";
            }
            // In front of the others.
            let (is_first, rest) = match (line.strip_prefix("-A "), line.strip_prefix("-I ")) {
                (Some(rest), _) => (false, rest),
                (None, Some(rest)) => (true, rest),
                (None, None) => continue,
            };
            if !is_filter {
                continue;
            }
            let (chain, rule) = rest.split_once(' ').unwrap_or((rest, ""));
            let line = Line { number: place + 1, text: line.to_owned() };
            let chain = rules.entry(chain.to_owned()).or_default();
            let place = if is_first { 0 } else { chain.len() };
            chain.insert(place, (line, Rule::read(rule)));
        }
        Self { rules }
    }

    /// What becomes of a caller in the chain before ufw's rules.
    pub(super) fn fate(&self, caller: Caller<'_>, family: Family) -> Fate {
        match self.end(&format!("{}-before-input", family.prefix()), caller, DEEPEST) {
            End::Falls | End::Passes => Fate::Passes,
            End::Shut(line) => Fate::Shut(line),
            End::Unclear(line) => Fate::Unclear(line),
        }
    }

    fn end(&self, chain: &str, caller: Caller<'_>, depth: usize) -> End {
        let mut doubt = None;
        for (line, rule) in self.rules.get(chain).into_iter().flatten() {
            let matches = matches(&rule.conditions, caller);
            if matches == Matches::No {
                continue;
            }
            let end = match rule.target.chain() {
                Some("ACCEPT") => End::Passes,
                Some("DROP" | "REJECT" | "TARPIT") => End::Shut(line.clone()),
                Some("RETURN") => End::Falls,
                Some(next) if depth > 0 && self.rules.contains_key(next) => {
                    match self.end(next, caller, depth - 1) {
                        End::Falls => continue,
                        end => end,
                    }
                }
                // It logs, counts or marks; or it is a chain of the kernel's that this file does not fill.
                Some(_) | None => continue,
            };
            match (matches, end) {
                (Matches::Yes, end) => return doubt.map_or(end, End::Unclear),
                (_, End::Shut(line) | End::Unclear(line)) => {
                    doubt.get_or_insert(line);
                }
                (_, End::Falls | End::Passes) => {}
            }
        }
        doubt.map_or(End::Falls, End::Unclear)
    }
}

fn matches(conditions: &[Condition], caller: Caller<'_>) -> Matches {
    conditions
        .iter()
        .map(|one| of_condition(one, caller).inverted(one.is_inverted))
        .fold(Matches::Yes, Matches::and)
}

fn of_condition(condition: &Condition, caller: Caller<'_>) -> Matches {
    let value = condition.value();
    let is = |holds: bool| if holds { Matches::Yes } else { Matches::No };
    match condition.option.as_str() {
        "--comment" => Matches::Yes,
        // What a match is told by its options.
        "-m" => match value {
            "comment" | "conntrack" | "state" | "tcp" | "udp" | "multiport" | "addrtype" | "icmp"
            | "icmp6" | "rt" | "limit" => Matches::Yes,
            _ => Matches::Unknown,
        },
        "-p" => is(protocol_names(caller.service).contains(&value)),
        "-i" => match value.strip_suffix('+') {
            Some(start) => is(caller.interface.starts_with(start)),
            None => is(caller.interface == value),
        },
        "-s" => source(value, caller.from),
        "--dport" | "--dports" | "--destination-ports" | "--destination-port" => {
            match caller.service.port() {
                Some(port) => is(value.split(',').any(|range| holds(range, port))),
                None => Matches::No,
            }
        }
        "--ctstate" | "--state" => is(value.split(',').any(|state| state == "NEW")),
        "--dst-type" => is(value == "LOCAL"),
        "--syn" => is(matches!(caller.service, Service::Tcp(_))),
        // Not what anybody's first packet has.
        "--icmp-type" | "--icmpv6-type" | "--rt-type" => Matches::No,
        _ => Matches::Unknown,
    }
}

fn protocol_names(service: Service) -> &'static [&'static str] {
    match service {
        Service::Tcp(_) => &["tcp", "6", "all"],
        Service::Udp(_) => &["udp", "17", "all"],
        Service::Esp => &["esp", "50", "all"],
        Service::Icmp | Service::Icmpv6 | Service::Any => &["all"],
    }
}

/// `80`, `80:90`, `80:` or `:90`.
fn holds(range: &str, port: u16) -> bool {
    let number = |text: &str, default: u16| if text.is_empty() { Some(default) } else { text.parse().ok() };
    match range.split_once(':') {
        Some((first, last)) => number(first, 0)
            .zip(number(last, u16::MAX))
            .is_some_and(|(first, last)| (first..=last).contains(&port)),
        None => range.parse() == Ok(port),
    }
}

/// Whether all of a caller is of those sources. Who is named apart among many is somebody's ban, and shuts nobody else out;
/// behind a `!` all others are meant.
fn source(value: &str, from: Option<IpNet>) -> Matches {
    let network =
        |text: &str| text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
    let Some(named) = value.split(',').map(network).collect::<Option<Vec<_>>>() else {
        return Matches::Unknown;
    };
    let covers = named.iter().any(|one| match from {
        Some(from) => one.contains(&from),
        None => one.prefix_len() == 0,
    });
    if covers { Matches::Yes } else { Matches::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ufw's own, as its package brings it (0.36.2).
    const OWN: &str = "*filter\n:ufw-before-input - [0:0]\n:ufw-not-local - [0:0]\n\
        -A ufw-before-input -i lo -j ACCEPT\n\
        -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
        -A ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny\n\
        -A ufw-before-input -m conntrack --ctstate INVALID -j DROP\n\
        -A ufw-before-input -p icmp --icmp-type echo-request -j ACCEPT\n\
        -A ufw-before-input -p udp --sport 67 --dport 68 -j ACCEPT\n\
        -A ufw-before-input -j ufw-not-local\n\
        -A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN\n\
        -A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN\n\
        -A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny\n\
        -A ufw-not-local -j DROP\n\
        -A ufw-before-input -p udp -d 239.255.255.250 --dport 1900 -j ACCEPT\nCOMMIT\n";

    fn caller(service: Service, from: Option<&str>) -> Caller<'static> {
        Caller { service, from: from.map(|from| from.parse().unwrap()), interface: "eth0" }
    }

    fn ssh() -> Caller<'static> {
        caller(Service::Tcp(22), Some("198.51.100.7/32"))
    }

    fn with(line: &str) -> Chains {
        Chains::read(&OWN.replace(
            "-A ufw-before-input -i lo -j ACCEPT\n",
            &format!("{line}\n-A ufw-before-input -i lo -j ACCEPT\n"),
        ))
    }

    fn fate(line: &str, caller: Caller<'_>) -> Fate {
        with(line).fate(caller, Family::V4)
    }

    #[test]
    fn ufws_own_file_shuts_nobody_out() {
        for service in [Service::Tcp(22), Service::Udp(51_820), Service::Esp] {
            assert_eq!(Chains::read(OWN).fate(caller(service, None), Family::V4), Fate::Passes);
        }
    }

    #[test]
    fn what_shuts_a_declared_opening_is_named_with_its_line() {
        for line in [
            "-A ufw-before-input -p tcp --dport 22 -j DROP",
            "-I ufw-before-input -p tcp -m multiport --dports 80,20:25 -m conntrack --ctstate NEW -j REJECT --reject-with tcp-reset",
            "-A ufw-before-input ! -s 10.0.0.0/8 -i eth+ -p tcp -j DROP",
            "-A ufw-before-input -s 198.51.100.0/24 -j DROP",
            ":mine - [0:0]\n-A mine -m limit --limit 3/min -j LOG --log-prefix \"x -j ACCEPT \"\n-A mine -j DROP\n\
             -A ufw-before-input -p tcp --dport 22 -j mine",
        ] {
            let Fate::Shut(found) = fate(line, ssh()) else { panic!("{line}: {:?}", fate(line, ssh())) };
            assert!(line.contains(&found.text), "{line}: {found:?}");
            assert!((4..=7).contains(&found.number), "{line}: {found:?}");
        }
    }

    #[test]
    fn what_is_meant_for_others_is_not_in_the_way() {
        for line in [
            "-A ufw-before-input -p tcp --dport 23 -j DROP",
            "-A ufw-before-input -p udp --dport 22 -j DROP",
            "-A ufw-before-input -s 192.0.2.0/24 -j DROP",
            "-A ufw-before-input -i docker0 -j DROP",
            "-A ufw-before-input -p tcp --dport 22 -s 198.51.100.7 -j ACCEPT\n-A ufw-before-input -p tcp --dport 22 -j DROP",
            "-A ufw-before-input -m conntrack --ctstate ESTABLISHED -j DROP",
            "-A ufw-before-input -p tcp --dport 22 -j LOG",
            "-A ufw-before-forward -j DROP",
            "COMMIT\n*raw\n-A ufw-before-input -j DROP\nCOMMIT\n*filter",
        ] {
            assert_eq!(fate(line, ssh()), Fate::Passes, "{line}");
        }
        // A ban of some shuts nobody else out.
        assert_eq!(
            fate("-A ufw-before-input -s 192.0.2.66 -j DROP", caller(Service::Tcp(80), None)),
            Fate::Passes
        );
    }

    #[test]
    fn what_cannot_be_judged_is_said_to_be_so() {
        for line in [
            "-A ufw-before-input -m set --match-set bad src -j DROP",
            "-A ufw-before-input -p tcp --dport 22 -m recent --update --seconds 30 --hitcount 6 -j DROP",
        ] {
            assert!(matches!(fate(line, ssh()), Fate::Unclear(_)), "{line}");
        }
        // A circle, which the kernel refuses, has an end here.
        let circle = "-A mine -j yours\n-A yours -j mine\n-A ufw-before-input -j mine";
        assert_eq!(fate(circle, ssh()), Fate::Passes);
    }
}
