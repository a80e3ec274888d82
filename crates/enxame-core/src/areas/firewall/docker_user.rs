//! What Docker publishes, closed but for what is declared (manual 3.2.3): `DOCKER-USER` hands what comes in from outside to
//! a chain of ours. ufw's `after.rules` loads both at boot, so they are part of ufw's change and of its way back.
//!
//! The rules of others there stay all, in their order, or go all. Invariant: ours stand where the chain ends, in front of
//! the bare `RETURN` that dockerd adds (moby, `AddReturnRule`), so that no rule begins or ceases to be reached.

mod traffic;

use std::fmt::Write;

use super::iptables::{self, Rule};
use super::ufw_rules::{self, Family, saved_source};
use super::{Opening, Service, brief, guard_table::PUBLISHED_CHAIN};
use crate::change::Difference;
use crate::config::ForeignRules;
use crate::facts::TableFacts;
use crate::files::line_differences;

pub(super) use traffic::{Asked, Harm, Passage};

/// What a chain ends with where dockerd made it.
const END: &str = "-j RETURN";

/// Whether a rule, as `iptables-save` shows it, is ours.
#[must_use]
pub fn is_ours(rule: &str) -> bool {
    Rule::read(rule).target.chain() == Some(PUBLISHED_CHAIN)
}

/// Whether it is fail2ban's: it keeps out who was seen to attack, and is nobody's wish about ports.
fn is_ban(rule: &str) -> bool {
    Rule::read(rule).target.chain().is_some_and(|chain| chain.starts_with("f2b-"))
}

/// The rules that are neither ours nor the engine's nor fail2ban's.
#[must_use]
pub fn foreign(now: &[String]) -> Vec<String> {
    now.iter().filter(|rule| !is_ours(rule) && !is_ban(rule) && *rule != END).cloned().collect()
}

/// The shell command that takes a rule out of the chain; `program` is `iptables` or `ip6tables`.
pub(super) fn deletion(program: &str, rule: &str) -> String {
    let rule = iptables::words(rule);
    let words = [program, "-D", "DOCKER-USER"].into_iter().chain(rule.iter().map(String::as_str));
    // What a shell cannot be told is a NUL, and that is in no rule.
    shlex::Quoter::new().allow_nul(true).join(words).unwrap_or_default()
}

/// The chain with ours in it: theirs in front, in their order, and behind it what is never reached.
#[must_use]
pub fn composed(now: &[String], ours: &[String], fate: ForeignRules) -> Vec<String> {
    let stays =
        |rule: &&String| !is_ours(rule) && (fate == ForeignRules::Keep || is_ban(rule) || *rule == END);
    let theirs: Vec<&String> = now.iter().filter(stays).collect();
    let end = theirs.iter().position(|rule| *rule == END).unwrap_or(theirs.len());
    let (front, behind) = theirs.split_at(end);
    front.iter().copied().chain(ours).chain(behind.iter().copied()).cloned().collect()
}

/// What of the two chains is not as wanted.
pub(super) fn differences(
    now: &TableFacts,
    wanted: &[String],
    published: &[String],
    program: &str,
) -> Vec<Difference> {
    let mut found = Vec::new();
    for (chain, now, wanted) in
        [("DOCKER-USER", &now.docker_user, wanted), (PUBLISHED_CHAIN, &now.published, published)]
    {
        if now.as_deref() == Some(wanted) {
            continue;
        }
        let field = format!("{program} {chain} (live)");
        let text = |rules: &[String]| rules.iter().flat_map(|rule| [rule.as_str(), "\n"]).collect::<String>();
        let lines = line_differences(field.clone(), &text(now.as_deref().unwrap_or_default()), &text(wanted));
        if lines.is_empty() {
            let old = now.as_ref().map_or_else(|| "absent".to_owned(), |rules| rules.join("; "));
            found.push(Difference::changed(field, old, wanted.join("; ")));
        }
        found.extend(brief::shortened(lines));
    }
    found
}

/// The chains that close what Docker publishes, in `iptables-save`'s own words: ours, one rule each.
#[must_use]
pub fn published(openings: &[Opening], family: Family) -> Vec<String> {
    let mut rules = vec!["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN".to_owned()];
    for opening in openings {
        // The address is translated already: what the client asked for is what conntrack keeps.
        let asked = |protocol, port| {
            format!("-p {protocol} -m conntrack --ctorigdstport {port} --ctdir ORIGINAL -j RETURN")
        };
        let what = match opening.service {
            Service::Tcp(port) => asked("tcp", port),
            Service::Udp(port) => asked("udp", port),
            _ => "-j RETURN".to_owned(),
        };
        let sources = ufw_rules::sources(opening, family);
        rules.extend(sources.iter().map(|source| saved_source(source.as_deref(), family) + &what));
    }
    rules.push("-j DROP".to_owned());
    rules
}

/// What `DOCKER-USER` holds: what comes in by a public interface goes through the chain that closes.
#[must_use]
pub fn jumps<'a>(interfaces: impl IntoIterator<Item = &'a str>, chain: &str) -> Vec<String> {
    interfaces.into_iter().map(|name| format!("-i {name} -j {chain}")).collect()
}

/// Both chains as `iptables-restore --noflush` takes them: these two are replaced, everything else stays.
#[must_use]
pub fn tables(docker_user: &[String], published: &[String], chain: &str) -> String {
    let mut text = format!("*filter\n:DOCKER-USER - [0:0]\n:{chain} - [0:0]\n");
    for (chain, rules) in [("DOCKER-USER", docker_user), (chain, published)] {
        for rule in rules {
            let _ = writeln!(text, "-A {chain} {rule}");
        }
    }
    text + "COMMIT\n"
}

#[cfg(test)]
mod tests;
