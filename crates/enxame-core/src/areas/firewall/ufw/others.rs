//! What is told of rules that are not enxame's, in ufw and in `DOCKER-USER`.

use super::super::brief;
use super::super::docker_user::{self, Asked, Harm, Passage};
use super::super::ufw_rules::Family;
use super::super::{Opening, Service, public};
use super::chain::{Caller, Chains, Fate, Line};
use super::wanted::Wishes;
use super::{DOCKER_USER, HOOKS, Wanted, after_rules, before_rules, finding, table};
use crate::config::ForeignRules;
use crate::declare::{Finding, Severity, View};
use crate::facts::{FileFacts, Observed, TableFacts};
use crate::files::block_lines;

/// The rules of others in ufw's own files.
pub(super) fn in_ufw(view: &View<'_>, mut rules: Vec<String>) -> Option<Finding> {
    if rules.is_empty() {
        return None;
    }
    rules.sort();
    rules.dedup();
    let fate = match view.config.firewall.foreign {
        ForeignRules::Keep => "keeps them",
        ForeignRules::Remove => "loses them",
    };
    let message = format!("ufw has rules that are not enxame's, and {fate}: {}", brief::named(&rules));
    Some(finding(view, Severity::Warning, message, hint(view.config.firewall.foreign)))
}

fn hint(fate: ForeignRules) -> &'static str {
    match fate {
        ForeignRules::Keep => {
            "what they let in from outside passes the guard only when `firewall.openings` names it; `firewall.foreign: \
             remove` takes them away"
        }
        ForeignRules::Remove => {
            "name what is wanted of them in `firewall.openings`; `firewall.foreign: keep` leaves them"
        }
    }
}

/// The rules of others in `DOCKER-USER`: what becomes of them and, where they stay, what they do to what is declared.
pub(super) fn in_docker_user(
    view: &View<'_>,
    family: Family,
    wanted: &Wanted,
    interfaces: &[String],
) -> Vec<Finding> {
    let Observed::Known(now) = table(view.facts, family) else { return Vec::new() };
    let chain = now.docker_user.as_deref().unwrap_or_default();
    let foreign = docker_user::foreign(chain);
    if foreign.is_empty() {
        return Vec::new();
    }
    let name = family.restore().trim_end_matches("-restore");
    let fate = view.config.firewall.foreign;
    let told = match fate {
        ForeignRules::Keep => "keeps them until ufw or the node starts again",
        ForeignRules::Remove => "loses them",
    };
    let message = format!(
        "{name} has rules in DOCKER-USER that are not enxame's, and {told}: {}",
        brief::named(&foreign)
    );
    let mut found = vec![finding(view, Severity::Warning, message, hint(fate))];
    if fate == ForeignRules::Remove {
        return found;
    }
    let chain = docker_user::composed(chain, &wanted.docker_user, fate);
    let passage = Passage::new(&chain, &wanted.published, interfaces, family);
    for (obstacle, what) in passage.obstacles(&asked(view, now, family)) {
        let (rule, what) = (&obstacle.rule, what.join(", "));
        let delete = docker_user::deletion(name, rule);
        let (severity, message, hint) = match obstacle.harm {
            // Nothing that may be done opens it: in front of a rule of theirs ours would take away half of what they set
            // up. A warning would let the plan say that nothing is to change, of a node that does not serve.
            Harm::Shuts => (
                Severity::Error,
                format!("{name} has a rule in DOCKER-USER that shuts what is to be open ({what}): {rule}"),
                format!(
                    "on the node: `{delete}`, and take it out of what sets it; or close the port in `firewall`; or say \
                     `firewall.foreign: remove`, which takes all rules of others there away"
                ),
            ),
            Harm::KeepsOut => (
                Severity::Warning,
                format!(
                    "{name} has a rule in DOCKER-USER that stands between containers and the outside ({what}): {rule}"
                ),
                format!(
                    "what the node itself serves does not pass there; if it is not meant, on the node: `{delete}`"
                ),
            ),
            Harm::Unclear => (
                Severity::Warning,
                format!(
                    "{name} has a rule in DOCKER-USER of which enxame cannot tell whether it stands between containers and the \
                     outside ({what}): {rule}"
                ),
                format!("try it; if it does and is not meant, on the node: `{delete}`"),
            ),
        };
        found.push(finding(view, severity, message, &hint));
    }
    found
}

/// What is declared open, of one family. Public ports are what containers serve. What else is opened, the node may serve
/// itself, e.g. a VPN, unless a service is seen to publish it; and nothing is served through a chain that `FORWARD` does
/// not come to.
fn asked(view: &View<'_>, now: &TableFacts, family: Family) -> Vec<Asked> {
    let is_in_the_way = now.accepted_before_docker_user.is_some();
    let seen = || view.all.values().filter_map(|facts| facts.engine.swarm());
    let is_published =
        |service: Service| seen().any(|swarm| swarm.published.values().any(|ports| ports.contains(&service)));
    let is_public = |service: Service| match service {
        Service::Tcp(port) => view.config.firewall.public_ports.contains(&port),
        _ => false,
    };
    let is_served = |service: Service| is_in_the_way && (is_public(service) || is_published(service));
    let of = |opening: &Opening| Asked::of(opening, family, is_served(opening.service));
    public(view.config).iter().flat_map(of).collect()
}

/// What others have in `after.rules` about `DOCKER-USER`, e.g. ufw-docker: the block of ours is loaded behind it and makes the
/// chain anew, at boot and at each reload.
pub(super) fn in_after_rules(view: &View<'_>, family: Family) -> Option<Finding> {
    let path = after_rules(family);
    let text = view.facts.files.get(&path).and_then(FileFacts::content)?;
    let ours = block_lines(text);
    let fills = |line: &str| line.starts_with("-A DOCKER-USER") || line.starts_with("-I DOCKER-USER");
    let theirs: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(place, line)| (place + 1, line.trim()))
        .filter(|(number, line)| fills(line) && !ours.contains(number))
        .collect();
    let [(first, example), ..] = theirs.as_slice() else { return None };
    let last = theirs.last().map_or(first, |(number, _)| number);
    let lines = if first == last { format!("{path}:{first}") } else { format!("{path}:{first}-{last}") };
    let message = format!(
        "{lines} fills {DOCKER_USER} ({} rules, the first: {example}), and decides nothing: enxame's block behind it makes that chain \
         anew whenever ufw loads it",
        theirs.len()
    );
    let hint = "what it let through is to stand in `firewall.public_ports` or `firewall.openings`; then take it out of the file \
                (ufw-docker: its lines from `# BEGIN UFW AND DOCKER` to `# END UFW AND DOCKER`)";
    Some(finding(view, Severity::Warning, message, hint))
}

/// What others have in `before.rules`, which decides before ufw's rules do.
pub(super) fn in_before_rules(view: &View<'_>, family: Family, wishes: &Wishes) -> Vec<Finding> {
    let path = before_rules(family);
    let Some(text) = view.facts.files.get(&path).and_then(FileFacts::content) else { return Vec::new() };
    let chains = Chains::read(text);
    let mut found: Vec<(bool, Line, Vec<String>)> = Vec::new();
    for opening in &wishes.node {
        let networks = opening.source.networks();
        let sources: Vec<_> = match &networks {
            None => vec![None],
            Some(networks) => {
                networks.iter().filter(|network| family.has(network.addr())).map(|one| Some(*one)).collect()
            }
        };
        for (from, interface) in
            sources.iter().flat_map(|from| wishes.interfaces.iter().map(move |at| (from, at)))
        {
            let caller = Caller { service: opening.service, from: *from, interface };
            let (is_sure, line) = match chains.fate(caller, family) {
                Fate::Passes => continue,
                Fate::Shut(line) => (true, line),
                Fate::Unclear(line) => (false, line),
            };
            let what = match opening.service.port() {
                Some(port) => format!("{} {port}", opening.service.protocol()),
                None => opening.service.protocol().to_owned(),
            };
            match found.iter_mut().find(|(sure, known, _)| *sure == is_sure && *known == line) {
                Some((_, _, whats)) if whats.contains(&what) => {}
                Some((_, _, whats)) => whats.push(what),
                None => found.push((is_sure, line, vec![what])),
            }
        }
    }
    let told = |(is_sure, line, what): (bool, Line, Vec<String>)| {
        let place = format!("{path}:{}: {}", line.number, line.text);
        let what = what.join(", ");
        if is_sure {
            let message =
                format!("{place} shuts what is to be open ({what}), at boot and whenever ufw is reloaded");
            let hint =
                "take the line out, or let in before it who is declared; or close the port in cluster.yaml";
            finding(view, Severity::Error, message, hint)
        } else {
            let message =
                format!("{place} may shut what is to be open ({what}): enxame cannot tell from the file");
            finding(view, Severity::Warning, message, "try it; where it does, take the line out")
        }
    };
    found.into_iter().map(told).collect()
}

/// Programs of others that ufw runs when it loads its rules.
pub(super) fn hooks(view: &View<'_>) -> Vec<Finding> {
    let runs = |path: &&&str| {
        let file = view.facts.files.get(**path);
        matches!(file, Some(FileFacts::Text { mode, .. }) if mode & 0o111 != 0)
    };
    let told = |path: &&str| {
        let message = format!(
            "{path} may be executed: ufw runs it whenever it loads its rules, and what it does to the firewall is seen only \
             after that"
        );
        let hint = format!("see what it does; where it is not needed: chmod -x {path}");
        finding(view, Severity::Warning, message, &hint)
    };
    HOOKS.iter().filter(|path| runs(path)).map(told).collect()
}
