//! What is told of rules that are not enxame's, in ufw and in `DOCKER-USER`.

use super::super::brief;
use super::super::docker_user::{self, Asked, Harm, Passage};
use super::super::ufw_rules::Family;
use super::super::{Opening, Service, public};
use super::{Wanted, finding, table};
use crate::config::ForeignRules;
use crate::declare::{Finding, Severity, View};
use crate::facts::{Observed, TableFacts};

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
