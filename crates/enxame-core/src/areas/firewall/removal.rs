//! Taking the firewall off: ufw and `DOCKER-USER` get back what they were, the guard's table goes. Both may cut off SSH, as
//! putting them up may: the user's own rules of before come back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::guard_table::{PATH, PUBLISHED_CHAIN};
use super::ufw::{self, CONF, DEFAULTS, Refusal, SETTINGS, plain, setting};
use super::ufw_rules::{self, Family};
use super::{Firewall, Service, Source, docker_user, guard};
use crate::change::{Difference, Risk};
use crate::declare::{Declaration, Draft, View};
use crate::facts::{FileFacts, GuardState, NodeFacts, Observed};
use crate::files::without_block;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// ufw's files get back what they were, and `DOCKER-USER` closes nothing any more.
    Ufw {
        /// What becomes of ufw.
        ufw: UfwFate,
    },
    /// The table goes, with its file.
    Guard,
    /// What loaded the table at boot. Only when the table's end was confirmed: it would load it again, had it been put back.
    GuardUnit,
}

/// What becomes of ufw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UfwFate {
    /// It was on before enxame came, and goes on with the rules it had.
    On,
    /// It was off, or nobody knows.
    Off,
}

impl UfwFate {
    fn enabled(self) -> &'static str {
        match self {
            Self::On => "yes",
            Self::Off => "no",
        }
    }

    /// What ufw was before.
    #[must_use]
    pub fn before(facts: &NodeFacts) -> Self {
        let conf = facts.before.as_ref().and_then(|before| before.text(CONF)).unwrap_or_default();
        if setting(conf, "ENABLED").map(plain) == Some("yes") { Self::On } else { Self::Off }
    }
}

fn text<'a>(view: &View<'a>, path: &str) -> Option<&'a str> {
    view.facts.files.get(path).and_then(FileFacts::content)
}

fn kept<'a>(view: &View<'a>, path: &str) -> Option<&'a str> {
    view.facts.before.as_ref().and_then(|before| before.text(path))
}

/// What of ufw's and Docker's chains is enxame's.
fn of_family(view: &View<'_>, family: Family) -> Result<Vec<Difference>, Refusal> {
    let mut found = Vec::new();
    let path = ufw::user_rules(family);
    if let Some(now) = text(view, &path) {
        let new = ufw_rules::without_ours(now, kept(view, &path))
            .map_err(|error| Refusal::not_ufws(&path, &error))?;
        // ufw writes its file anew when it is turned on: what is not a rule may differ by itself.
        if ufw_rules::entries(now).ok() != ufw_rules::entries(&new).ok() {
            found.extend(ufw::rule_differences(path, now, &new));
        }
    }
    let path = ufw::after_rules(family);
    if let Some(now) = text(view, &path) {
        let rest = without_block(now).map_err(|error| Refusal::broken_block(&path, &error))?;
        found.extend(rest.map(|rest| {
            Difference::removed(path, format!("{} lines", now.lines().count() - rest.lines().count()))
        }));
    }
    if let Observed::Known(now) = ufw::table(view.facts, family) {
        let rules = now.docker_user.iter().flatten().filter(|rule| docker_user::is_ours(rule));
        let name = family.restore().trim_end_matches("-restore");
        found.extend(rules.map(|rule| Difference::removed(format!("{name} DOCKER-USER (live)"), rule)));
        let chain = now.published.as_ref();
        let told = |rules: &Vec<String>| format!("{} rules", rules.len());
        found.extend(
            chain.map(|rules| Difference::removed(format!("{name} {PUBLISHED_CHAIN} (live)"), told(rules))),
        );
    }
    Ok(found)
}

/// What differs from before in the settings that enxame makes.
fn settings(view: &View<'_>, fate: UfwFate, is_ours: bool) -> Vec<Difference> {
    let was_touched = kept(view, CONF).is_some() || is_ours;
    let mut found = Vec::new();
    for (key, _) in SETTINGS {
        let value = |text: Option<&str>| text.and_then(|text| setting(text, key)).map(str::to_owned);
        let (now, then) = (value(text(view, DEFAULTS)), value(kept(view, DEFAULTS)));
        // Without a record they stay as they are: while ufw is off nobody reads them.
        if then.is_some() && now.as_deref().map(plain) != then.as_deref().map(plain) {
            found.push(Difference { field: format!("{DEFAULTS} {key}").into(), old: now, new: then });
        }
    }
    let now = text(view, CONF).and_then(|text| setting(text, "ENABLED"));
    if was_touched && now.is_some_and(|now| plain(now) != fate.enabled()) {
        found.push(Difference::changed(format!("{CONF} ENABLED"), now.unwrap_or_default(), fate.enabled()));
    }
    found
}

pub(super) fn ufw(view: &View<'_>) -> Declaration {
    let mut differences = Vec::new();
    for family in Family::ALL {
        match of_family(view, family) {
            Ok(found) => differences.extend(found),
            Err(refusal) => {
                return Declaration { drafts: Vec::new(), findings: vec![refusal.finding(view)] };
            }
        }
    }
    let fate = UfwFate::before(view.facts);
    let is_ours = !differences.is_empty();
    differences.extend(settings(view, fate, is_ours));
    if differences.is_empty() {
        return Declaration::nothing();
    }
    let (summary, reason) = match fate {
        UfwFate::On => ("give ufw its own rules back", "it was on before enxame came"),
        UfwFate::Off => ("turn ufw off", "enxame turned it on"),
    };
    let draft = Draft::new(summary, reason, Action::Ufw { ufw: fate });
    draft.differing(differences).risking(Risk::MayCutSsh).into()
}

pub(super) fn guard(view: &View<'_>) -> Declaration {
    let mut declaration = Declaration::nothing();
    let mut differences = Vec::new();
    let live = match &view.facts.filter.guard {
        Observed::Known(GuardState::AsLoaded | GuardState::Changed) => Some("there"),
        // The plan refuses what cannot be seen.
        Observed::Known(GuardState::Absent) | Observed::Unknown(_) => None,
    };
    differences.extend(live.map(|live| Difference::removed("table inet enxame (live)", live)));
    let table = text(view, PATH).map(|text| format!("{} lines", text.lines().count()));
    differences.extend(table.map(|lines| Difference::removed(PATH, lines)));
    if !differences.is_empty() {
        let reason = "the table is of enxame's making";
        let draft = Draft::new("take the guard off the public interface", reason, Action::Guard);
        declaration.change(draft.differing(differences).risking(Risk::MayCutSsh));
    }
    if let Some(unit) = text(view, guard::UNIT_PATH) {
        let reason = "without its table it has nothing to load";
        let lines = format!("{} lines", unit.lines().count());
        let draft = Draft::new("take the guard's unit away", reason, Action::GuardUnit).item("unit");
        declaration.change(draft.differing([Difference::removed(guard::UNIT_PATH, lines)]));
    }
    declaration
}

/// What anybody can reach when the firewall is off and could not before, as far as is seen: what listens on the node, and
/// what the swarm publishes.
#[must_use]
pub fn opened(view: &View<'_>) -> Vec<Service> {
    let published = view.all.values().filter_map(|facts| facts.engine.swarm());
    let published = published.flat_map(|swarm| swarm.published.values().flatten().copied());
    let volatile = &view.facts.volatile;
    let mut all: BTreeSet<Service> = volatile.listening.iter().map(|listener| listener.at).collect();
    all.extend(volatile.containers.values().flatten());
    all.extend(published.filter(|_| view.facts.is_swarm_member()));
    let firewall = Firewall::of(view.config);
    let mut open = firewall.on_node(view.node, view.facts.ssh_session);
    open.extend(firewall.to_containers(view.node));
    let is_open = |service: &Service| {
        open.iter().any(|opening| opening.service == *service && opening.source == Source::Anywhere)
    };
    all.into_iter().filter(|service| !is_open(service)).collect()
}
