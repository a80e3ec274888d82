//! What is told of rules that are not enxame's, in ufw and in `DOCKER-USER`.

use super::super::docker_user::{self, Obstacle};
use super::super::ufw_rules::Family;
use super::super::{Opening, Service, Source, public};
use super::{Wanted, finding, table};
use crate::config::ForeignRules;
use crate::declare::{Finding, Severity, View};
use crate::facts::Observed;

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
    let message = format!("ufw has rules that are not enxame's, and {fate}: {}", rules.join("; "));
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

/// What the rules of others in `DOCKER-USER` do to what is declared, once ours stand there too.
pub(super) fn in_docker_user(
    view: &View<'_>,
    family: Family,
    wanted: &Wanted,
    interfaces: &[String],
) -> Vec<Finding> {
    let Observed::Known(now) = table(view.facts, family) else { return Vec::new() };
    let fate = view.config.firewall.foreign;
    let chain = now.docker_user.as_deref().unwrap_or_default();
    let foreign = docker_user::foreign(chain);
    let name = family.restore().trim_end_matches("-restore");
    let mut found = Vec::new();
    if !foreign.is_empty() {
        let told = match fate {
            ForeignRules::Keep => "keeps them until ufw or the node starts again",
            ForeignRules::Remove => "loses them",
        };
        let message = format!(
            "{name} has rules in DOCKER-USER that are not enxame's, and {told}: {}",
            foreign.join("; ")
        );
        found.push(finding(view, Severity::Warning, message, hint(fate)));
    }
    let is_for_all = |opening: &&Opening| opening.source == Source::Anywhere;
    let port = |opening: &Opening| match opening.service {
        Service::Tcp(port) => Some(port),
        _ => None,
    };
    let ports: Vec<u16> = public(view.config).iter().filter(is_for_all).filter_map(port).collect();
    let chain = docker_user::composed(chain, &wanted.docker_user, fate);
    for (obstacle, what) in docker_user::obstacles(&chain, &wanted.published, interfaces, &ports) {
        let what = what.join(", ");
        found.push(match obstacle {
            Obstacle::Shuts(rule) => finding(
                view,
                Severity::Error,
                format!("{name} has a rule in DOCKER-USER that shuts what is to be open ({what}): {rule}"),
                "delete the rule, take the port out of `firewall`, or say `firewall.foreign: remove`",
            ),
            Obstacle::Unclear(rule) => finding(
                view,
                Severity::Warning,
                format!("{name} has a rule in DOCKER-USER of which enxame cannot tell whether it shuts what is to be open ({what}): {rule}"),
                "try the ports from outside; `firewall.foreign: remove` takes the rule away",
            ),
        });
    }
    found
}
