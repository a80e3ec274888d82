//! ufw's files: the rules as ufw itself writes them (0.36, `backend_iptables.py`), and what is ours in them.
//!
//! ufw knows its rules by the `### tuple ###` lines alone; the `iptables` lines below each are what is loaded at boot. Both
//! are written here, so that one load replaces all rules at once and ufw's own commands go on working. Ours are told by
//! their comment, stand in front, and are the only ones that are ever replaced.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use super::source::text_of;
use super::{Opening, Service, Source};
use crate::config::ForeignRules;
use ipnet::IpNet;

/// What our rules' comments begin with.
const TAG: &str = "enxame: ";
const BEGIN: &str = "### RULES ###";
const END: &str = "### END RULES ###";
const TUPLE: &str = "### tuple ### ";

/// An address family, as ufw sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// What the names of its chains begin with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::V4 => "ufw",
            Self::V6 => "ufw6",
        }
    }

    /// What the names of its files have behind the first word: `user.rules`, `user6.rules`.
    #[must_use]
    pub fn digit(self) -> &'static str {
        match self {
            Self::V4 => "",
            Self::V6 => "6",
        }
    }

    /// The program that loads its rules.
    #[must_use]
    pub fn restore(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }

    /// The program that shows what is loaded.
    #[must_use]
    pub fn save(self) -> &'static str {
        match self {
            Self::V4 => "iptables-save",
            Self::V6 => "ip6tables-save",
        }
    }

    fn anywhere(self) -> &'static str {
        match self {
            Self::V4 => "0.0.0.0/0",
            Self::V6 => "::/0",
        }
    }

    /// What stands behind a single address where it is written as a network.
    fn whole_prefix(self) -> &'static str {
        match self {
            Self::V4 => "/32",
            Self::V6 => "/128",
        }
    }

    pub(super) fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }
}

/// The sources of an opening in one family, as ufw writes them: a single address without its prefix length. `None` is
/// everybody.
pub(super) fn sources(opening: &Opening, family: Family) -> Vec<Option<Cow<'_, str>>> {
    match &opening.source {
        Source::Anywhere => vec![None],
        Source::Networks(networks) => {
            let of_family = networks.iter().filter(|network| family.has(network.addr()));
            of_family.map(|network| (network.prefix_len() > 0).then(|| text_of(network).into())).collect()
        }
        Source::Nodes(nodes) => {
            let of_family = nodes.iter().filter(|(node, _)| family.has(*node));
            of_family.map(|(_, text)| Some(text.into())).collect()
        }
    }
}

/// Our rules for one family as they stand in ufw's file, in order: each with its tuple, and what is loaded at boot. Of an
/// interface they are for what comes in by it alone.
#[must_use]
pub fn rules(openings: &[Opening], family: Family, interface: Option<&str>) -> Vec<String> {
    let anywhere = family.anywhere();
    let of = |opening: &Opening| -> Vec<String> {
        let protocol = opening.service.protocol().to_lowercase();
        let port = opening.service.port().map(|port| port.to_string());
        let any_or_port = port.as_deref().unwrap_or("any");
        let tuple = format!("\n{TUPLE}allow {protocol} {any_or_port} {anywhere} any ");
        let way = interface.map(|interface| format!("_{interface}")).unwrap_or_default();
        let comment = format!(" in{way} comment={}\n", hex::encode(format!("{TAG}{}", opening.purpose)));
        let mut rule = format!("-A {}-user-input", family.prefix());
        if let Some(interface) = interface {
            let _ = write!(rule, " -i {interface}");
        }
        if protocol != "any" {
            let _ = write!(rule, " -p {protocol}");
        }
        if let Some(port) = port {
            let _ = write!(rule, " --dport {port}");
        }
        let rule = |source: Option<Cow<'_, str>>| match source {
            Some(source) => [&tuple, &*source, &comment, &rule, " -s ", &*source, " -j ACCEPT\n"].concat(),
            None => [&tuple, anywhere, &comment, &rule, " -j ACCEPT\n"].concat(),
        };
        sources(opening, family).into_iter().map(rule).collect()
    };
    openings.iter().flat_map(of).collect()
}

/// The same as `iptables-save` shows them, without their chain.
#[must_use]
pub fn saved(openings: &[Opening], family: Family, interface: Option<&str>) -> Vec<String> {
    let way = interface.map(|interface| format!("-i {interface} ")).unwrap_or_default();
    let of = |opening: &Opening| -> Vec<String> {
        let service = saved_service(opening.service);
        let rule = |source: Option<Cow<'_, str>>| {
            saved_source(source.as_deref(), family) + &way + &service + "-j ACCEPT"
        };
        sources(opening, family).into_iter().map(rule).collect()
    };
    openings.iter().flat_map(of).collect()
}

/// What a rule begins with in `iptables-save`, which writes every prefix length.
pub(super) fn saved_source(source: Option<&str>, family: Family) -> String {
    match source {
        Some(network) if network.contains('/') => ["-s ", network, " "].concat(),
        Some(address) => ["-s ", address, family.whole_prefix(), " "].concat(),
        None => String::new(),
    }
}

fn saved_service(service: Service) -> String {
    match service {
        Service::Tcp(port) => format!("-p tcp -m tcp --dport {port} "),
        Service::Udp(port) => format!("-p udp -m udp --dport {port} "),
        Service::Esp => "-p esp ".to_owned(),
        Service::Icmp => "-p icmp ".to_owned(),
        Service::Icmpv6 => "-p ipv6-icmp ".to_owned(),
        Service::Any => String::new(),
    }
}

/// What stands in front of the rules, the rules one by one, and what stands behind them.
struct Parts<'a> {
    before: &'a str,
    entries: Vec<&'a str>,
    after: &'a str,
}

/// A file of ufw's that is not as ufw writes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not as ufw writes it: {0}")]
pub struct NotUfws(&'static str);

fn parts(text: &str) -> Result<Parts<'_>, NotUfws> {
    let begin = text.find(&format!("{BEGIN}\n")).ok_or(NotUfws("there is no line `### RULES ###`"))?;
    let (before, rest) = text.split_at(begin + BEGIN.len() + 1);
    // Before its first rule ufw's file has no mark at the end.
    let mut length = 0;
    let is_end = |line: &str| {
        line.starts_with(END)
            || line.starts_with("### LOGGING")
            || line.starts_with("-A ufw-user-limit ")
            || line.starts_with("-A ufw6-user-limit ")
            || line.starts_with("COMMIT")
    };
    for line in rest.split_inclusive('\n').take_while(|line| !is_end(line)) {
        length += line.len();
    }
    let (rules, after) = rest.split_at(length);
    if !after.contains("COMMIT") {
        return Err(NotUfws("there is no `COMMIT` behind the rules"));
    }
    if [before, after]
        .iter()
        .any(|part| part.contains("-A ufw-user-input ") || part.contains("-A ufw6-user-input "))
    {
        return Err(NotUfws("a rule stands outside `### RULES ###`"));
    }
    let starts: Vec<usize> = rules.match_indices(TUPLE).map(|(at, _)| at).collect();
    let head = rules.get(..starts.first().copied().unwrap_or(rules.len())).unwrap_or_default();
    if !head.trim().is_empty() {
        return Err(NotUfws("a rule has no `### tuple ###`"));
    }
    let ends = starts.iter().skip(1).copied().chain([rules.len()]);
    let entries = starts.iter().zip(ends).filter_map(|(from, to)| rules.get(*from..to)).collect();
    Ok(Parts { before, entries, after })
}

/// The comment of a rule, when it has one that can be read.
fn comment(entry: &str) -> Option<String> {
    let (_, comment) = entry.lines().next()?.rsplit_once(" comment=")?;
    String::from_utf8(hex::decode(comment.trim()).ok()?).ok()
}

fn is_ours(entry: &str) -> bool {
    let comment = entry.lines().next().and_then(|line| line.rsplit_once(" comment="));
    // Of each of thousands of rules: only what decides is decoded.
    let mut tag = [0; TAG.len()];
    let head = comment.and_then(|(_, comment)| comment.get(..2 * TAG.len()));
    head.is_some_and(|head| hex::decode_to_slice(head, &mut tag).is_ok() && tag == TAG.as_bytes())
}

/// The rules that are not ours, as people read them: `allow tcp 8080 from any (my comment)`.
///
/// # Errors
/// [`NotUfws`].
pub fn foreign(text: &str) -> Result<Vec<String>, NotUfws> {
    Ok(parts(text)?.entries.into_iter().filter(|entry| !is_ours(entry)).map(told).collect())
}

/// Every rule, ours and foreign, as people read them.
///
/// # Errors
/// [`NotUfws`].
pub fn all(text: &str) -> Result<Vec<String>, NotUfws> {
    Ok(parts(text)?.entries.into_iter().map(told).collect())
}

/// Every rule as it stands there: its tuple and what is loaded for it, without the blank lines around it.
///
/// # Errors
/// [`NotUfws`].
pub fn entries(text: &str) -> Result<Vec<String>, NotUfws> {
    Ok(parts(text)?.entries.into_iter().map(|entry| entry.trim().to_owned()).collect())
}

fn told(entry: &str) -> String {
    let line = entry.lines().next().unwrap_or_default();
    let tuple = line.trim_start_matches(TUPLE).split(" comment=").next().unwrap_or_default();
    let said = comment(entry).map(|comment| format!(" ({comment})")).unwrap_or_default();
    let words: Vec<&str> = tuple.split_whitespace().collect();
    let plain = |address: &str| match address {
        "0.0.0.0/0" | "::/0" => "any".to_owned(),
        other => other.to_owned(),
    };
    match words.as_slice() {
        [action, protocol, port, to, _, from, way] => {
            let port = if *port == "any" { String::new() } else { format!(" {port}") };
            let to = if plain(to) == "any" { String::new() } else { format!(" to {to}") };
            let way = if *way == "in" { String::new() } else { format!(" {way}") };
            format!("{action} {protocol}{port} from {}{to}{way}{said}", plain(from))
        }
        _ => format!("{tuple}{said}"),
    }
}

/// What of a file is loaded into `ufw-user-input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Rules in front of the first of ours.
    pub before_ours: usize,
    /// All rules.
    pub all: usize,
}

/// Counts the rules that the file loads into `ufw-user-input`.
#[must_use]
pub fn loaded(text: &str, family: Family) -> Loaded {
    let chain = format!("-A {}-user-input ", family.prefix());
    let count = |entry: &str| entry.lines().filter(|line| line.starts_with(&chain)).count();
    let entries = parts(text).map(|parts| parts.entries).unwrap_or_default();
    let before = entries.iter().take_while(|entry| !is_ours(entry));
    Loaded {
        before_ours: before.map(|entry| count(entry)).sum(),
        all: entries.iter().map(|entry| count(entry)).sum(),
    }
}

/// Where a tuple lets something come from, when that is not everywhere.
fn source_of(entry: &str) -> Option<IpNet> {
    let line = entry.trim_start().lines().next()?.strip_prefix(TUPLE)?;
    let from = line.split_whitespace().nth(5)?;
    let network = from.parse().ok().or_else(|| from.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(network).filter(|network: &IpNet| network.prefix_len() > 0)
}

/// Whether a foreign rule goes in front of ours: it keeps somebody out, and nobody whom ours or the foreign ones before it
/// let in by name (`named`). A ban of an address is to hold against ports that are open to all; a ban of the operator or a
/// peer is not, and the user's own exceptions stay what they are.
fn is_ban_of_strangers(entry: &str, named: &[IpNet]) -> bool {
    let meets = |banned: IpNet| named.iter().any(|named| named.contains(&banned) || banned.contains(named));
    keeps_out(entry) && source_of(entry).is_some_and(|banned| !meets(banned))
}

/// Whom a rule lets in by name.
fn let_in(entry: &str) -> Option<IpNet> {
    (!keeps_out(entry)).then(|| source_of(entry)).flatten()
}

fn keeps_out(entry: &str) -> bool {
    let tuple = entry.trim_start().strip_prefix(TUPLE).unwrap_or_default();
    ["deny", "reject", "limit"].iter().any(|verb| tuple.starts_with(verb))
}

/// The file with our [`rules`] in front, and behind them, where they are kept, the others; bans of addresses
/// that ours do not name stand before ours.
///
/// # Errors
/// [`NotUfws`].
pub fn composed(text: &str, ours: &[String], foreign: ForeignRules) -> Result<String, NotUfws> {
    let Parts { before, entries, after } = parts(text)?;
    let (mut bans, mut others) = (Vec::new(), Vec::new());
    let mut named: Vec<IpNet> = ours.iter().filter_map(|rule| let_in(rule)).collect();
    for entry in entries.into_iter().filter(|entry| foreign == ForeignRules::Keep && !is_ours(entry)) {
        if is_ban_of_strangers(entry, &named) {
            bans.push(entry);
        } else {
            named.extend(let_in(entry));
            others.push(entry);
        }
    }
    // Blanks at the end of a line may be what makes it a tuple's.
    let whole = |entry: &str| format!("\n{}\n", entry.trim_end_matches('\n'));
    let mut composed = before.to_owned();
    composed.extend(bans.into_iter().map(whole));
    composed.extend(ours.iter().map(String::as_str));
    composed.extend(others.into_iter().map(whole));
    if after.starts_with(END) {
        let _ = write!(composed, "\n{after}");
    } else {
        let _ = write!(composed, "\n{END}\n{after}");
    }
    Ok(composed)
}

/// The file without our rules. Where it has no rule that `kept`, what was there before ours came, lacks, that is it again:
/// with the rules that had to go, and as it stood there.
///
/// # Errors
/// [`NotUfws`].
pub fn without_ours(text: &str, kept: Option<&str>) -> Result<String, NotUfws> {
    let Some(kept) = kept else { return composed(text, &[], ForeignRules::Keep) };
    let then: BTreeSet<&str> = parts(kept)?.entries.into_iter().map(str::trim).collect();
    let mut now = parts(text)?.entries.into_iter().filter(|entry| !is_ours(entry));
    let is_known = now.all(|entry| then.contains(entry.trim()));
    if is_known { Ok(kept.to_owned()) } else { composed(text, &[], ForeignRules::Keep) }
}

/// ufw's chains and the policies as they are in the kernel, for `iptables-restore --noflush`: loading this replaces those
/// chains and leaves everybody else's alone. `saved` is what `iptables-save -t filter` shows.
#[must_use]
pub fn snapshot(saved: &str, family: Family) -> String {
    let prefix = format!("{}-", family.prefix());
    let is_ufws = |line: &str| {
        let name = line.strip_prefix(':').or_else(|| line.strip_prefix("-A "));
        name.is_some_and(|name| name.starts_with(&prefix))
    };
    let is_policy =
        |line: &str| [":INPUT ", ":FORWARD ", ":OUTPUT "].iter().any(|chain| line.starts_with(chain));
    let lines = saved.lines().filter(|line| is_ufws(line) || is_policy(line));
    let lines: String = lines.flat_map(|line| [line, "\n"]).collect();
    format!("*filter\n{lines}COMMIT\n")
}

/// The jumps to ufw's chains that are missing: from which chain, and to which. Where its chains are there ufw takes the
/// jumps to be there too (`ufw-init-functions`, `ufw_start`), and somebody may have flushed them.
#[must_use]
pub fn missing_jumps(saved: &str, family: Family) -> Vec<(String, String)> {
    let is_there = |chain: &str| saved.lines().any(|line| line.starts_with(&format!(":{chain} ")));
    let has_jump =
        |from: &str, to: &str| saved.lines().any(|line| line.trim_end() == format!("-A {from} -j {to}"));
    let mut missing = Vec::new();
    for hook in ["input", "output", "forward"] {
        for part in ["before-logging", "before", "after", "after-logging", "reject", "track"] {
            let (from, to) = (hook.to_uppercase(), format!("{}-{part}-{hook}", family.prefix()));
            if is_there(&to) && !has_jump(&from, &to) {
                missing.push((from, to));
            }
        }
    }
    missing
}

/// A file of `KEY=value` lines with one value set, and all else as it was.
#[must_use]
pub fn with_setting(text: &str, key: &str, value: &str) -> String {
    let wanted = format!("{key}={value}");
    let is_it = |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with('='));
    if !text.lines().any(is_it) {
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return format!("{text}{newline}{wanted}\n");
    }
    text.lines().map(|line| if is_it(line) { wanted.as_str() } else { line }).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    )
}

#[cfg(test)]
mod tests;
