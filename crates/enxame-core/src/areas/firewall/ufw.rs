//! The host's firewall (manual 3.2, corrected): ufw denies what comes in and lets in what is declared, and what Docker
//! publishes is closed in `DOCKER-USER`, in both address families. Never `ufw reset`: the files are replaced and loaded
//! at once.

use std::borrow::Cow;

use crate::areas::firewall::{self, Firewall, NoNetwork, Opening, Service, Source};
use crate::change::{Difference, Kind, Risk};
use crate::config::{Config, ForeignRules, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, SwarmFate, View};
use crate::facts::{FactsQuery, FileFacts, NodeFacts, Observed, TableFacts};
use serde::{Deserialize, Serialize};

use super::docker_user::{self, Obstacle};
use super::guard_table::{PUBLISHED_CHAIN, why_closed};
use super::ufw_rules::{self as ufw, Family};
use crate::files::{line_differences, with_block};

pub(crate) const KIND: Kind = Kind::of("ufw");
/// Whether ufw is on.
pub const CONF: &str = "/etc/ufw/ufw.conf";
/// Its policies.
pub const DEFAULTS: &str = "/etc/default/ufw";
/// Deny what comes in, allow what goes out, deny what passes through.
pub const SETTINGS: [(&str, &str); 4] = [
    ("IPV6", "yes"),
    ("DEFAULT_INPUT_POLICY", "\"DROP\""),
    ("DEFAULT_OUTPUT_POLICY", "\"ACCEPT\""),
    ("DEFAULT_FORWARD_POLICY", "\"DROP\""),
];

/// See the module.
pub(crate) struct Ufw;

/// What one family's files and chains are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Our rules, as they stand in ufw's file.
    pub rules: Vec<String>,
    /// The same as the kernel shows them.
    saved: Vec<String>,
    /// Ours in `DOCKER-USER`.
    pub docker_user: Vec<String>,
    /// The chain that those hand to.
    pub published: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What the node lets in.
    node: Vec<Allowed>,
    /// What it hands on to containers.
    containers: Vec<Allowed>,
    interfaces: Vec<String>,
    /// What becomes of rules that are not ours.
    pub foreign: ForeignRules,
    /// Why the operator would be kept out, where he would.
    pub closed: Option<String>,
}

impl Action {
    /// What each family's files and chains are to be.
    ///
    /// # Errors
    /// [`NoNetwork`] where a source is none.
    pub fn wanted(&self) -> Result<[(Family, Wanted); 2], NoNetwork> {
        let wishes = Wishes {
            node: openings(&self.node)?,
            containers: openings(&self.containers)?,
            interfaces: self.interfaces.clone(),
        };
        Ok(Family::ALL.map(|family| (family, wishes.wanted(family))))
    }
}

/// Openings for the same sources: those are as many as the cluster has nodes, and are written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    from: String,
    what: Vec<(Service, Cow<'static, str>)>,
}

fn allowed(openings: &[Opening]) -> Vec<Allowed> {
    let alike = openings.chunk_by(|one, other| one.source == other.source);
    let what = |opening: &Opening| (opening.service, opening.purpose.clone());
    let group = |group: &[Opening]| {
        let from = group.first().map(|opening| opening.source.to_string()).unwrap_or_default();
        Allowed { from, what: group.iter().map(what).collect() }
    };
    alike.map(group).collect()
}

fn openings(allowed: &[Allowed]) -> Result<Vec<Opening>, NoNetwork> {
    let mut openings = Vec::new();
    for Allowed { from, what } in allowed {
        let source: Source = from.parse()?;
        openings.extend(what.iter().map(|(service, purpose)| Opening {
            service: *service,
            source: source.clone(),
            purpose: purpose.clone(),
        }));
    }
    Ok(openings)
}

/// What is let in, before it becomes one family's rules.
struct Wishes {
    node: Vec<Opening>,
    containers: Vec<Opening>,
    interfaces: Vec<String>,
}

/// The file of a family's rules.
#[must_use]
pub fn user_rules(family: Family) -> String {
    format!("/etc/ufw/user{}.rules", family.digit())
}

/// The file that is loaded after them.
#[must_use]
pub fn after_rules(family: Family) -> String {
    format!("/etc/ufw/after{}.rules", family.digit())
}

impl Wishes {
    fn of(view: &View<'_>, firewall: &Firewall<'_>) -> Self {
        let interfaces = firewall::public_interfaces(view.node, view.facts);
        Self {
            node: firewall.on_node(view.node, view.facts.ssh_session),
            containers: firewall.to_containers(view.node),
            interfaces: interfaces.into_iter().map(|interface| interface.name.clone()).collect(),
        }
    }

    fn wanted(&self, family: Family) -> Wanted {
        let rules = ufw::rules(&self.node, family);
        Wanted {
            rules: rules.iter().map(|rule| rule.text(family)).collect(),
            saved: rules.iter().map(ufw::UfwRule::saved).collect(),
            docker_user: docker_user::jumps(self.interfaces.iter().map(String::as_str), PUBLISHED_CHAIN),
            published: docker_user::published(&self.containers, family),
        }
    }
}

impl Wanted {
    /// The block in ufw's `after.rules`.
    #[must_use]
    pub fn block(&self) -> String {
        docker_user::tables(&self.docker_user, &self.published, PUBLISHED_CHAIN)
    }

    /// What of the kernel's table is not as wanted; `loaded` is what the file has for `ufw-user-input`.
    fn differences(
        &self,
        now: &TableFacts,
        loaded: ufw::Loaded,
        (family, fate): (Family, ForeignRules),
    ) -> Vec<Difference> {
        let name = family.restore().trim_end_matches("-restore");
        let mut found = Vec::new();
        for (chain, policy) in [("INPUT", &now.input_policy), ("FORWARD", &now.forward_policy)] {
            if policy != "DROP" {
                found.push(Difference::changed(format!("{name} {chain} (policy)"), policy, "DROP"));
            }
        }
        if !now.goes_through_ufw {
            found.push(Difference::added(format!("{name} INPUT, OUTPUT, FORWARD"), "through ufw's chains"));
        }
        let user = now.user_input.clone().unwrap_or_default();
        let ours = user.get(loaded.before_ours..).unwrap_or_default();
        if !ours.starts_with(&self.saved) || user.len() != loaded.all {
            let (old, new) = (format!("{} rules", user.len()), format!("the {} of its file", loaded.all));
            found.push(Difference::changed(
                format!("{name} {}-user-input (live)", family.prefix()),
                old,
                new,
            ));
        }
        let chain = now.docker_user.as_deref().unwrap_or_default();
        let docker_user = docker_user::composed(chain, &self.docker_user, fate);
        found.extend(docker_user::differences(now, &docker_user, &self.published, name));
        found
    }
}

/// What differs of one family, in the files and in the kernel.
fn of_family(
    view: &View<'_>,
    wishes: &Wishes,
    family: Family,
    foreign: &mut Vec<String>,
) -> Result<Vec<Difference>, (String, String)> {
    let text = |path: &str| view.facts.files.get(path).and_then(FileFacts::content);
    let broken = |path: String| move |error: &dyn std::error::Error| (path, error.to_string());
    let path = user_rules(family);
    if let Some(FileFacts::Unreadable(why)) = view.facts.files.get(&path) {
        return Err((path, why.clone()));
    }
    let Some(now) = text(&path) else {
        // ufw is about to be installed, and brings files without rules.
        let added = |path| Difference::added(path, "the rules of enxame's own");
        return Ok([path, after_rules(family)].map(added).into());
    };
    let wanted = wishes.wanted(family);
    let wrong = broken(path.clone());
    let new =
        ufw::composed(now, &wanted.rules, view.config.firewall.foreign).map_err(|error| wrong(&error))?;
    foreign.extend(ufw::foreign(now).unwrap_or_default());
    let loaded = ufw::loaded(&new, family);
    let mut found = rule_differences(path, now, &new);
    let path = after_rules(family);
    let now = text(&path).unwrap_or_default();
    let new = with_block(now, &wanted.block()).map_err(|error| broken(path.clone())(&error))?;
    found.extend(line_differences(path, now, &new));
    match table(view.facts, family) {
        Observed::Known(now) => {
            found.extend(wanted.differences(now, loaded, (family, view.config.firewall.foreign)));
        }
        Observed::Unknown(why) => {
            let name = family.restore().trim_end_matches("-restore");
            found.push(Difference::changed(
                format!("{name} (live)"),
                format!("not seen: {why}"),
                "as in the files",
            ));
        }
    }
    Ok(found)
}

/// What differs in two files of rules: the rules as people read them or, where they read the same, what is loaded for them.
pub(super) fn rule_differences(path: String, now: &str, new: &str) -> Vec<Difference> {
    let lines = |rules: Vec<String>| rules.into_iter().map(|rule| rule + "\n").collect::<String>();
    let entries = |text: &str| lines(ufw::entries(text).unwrap_or_default());
    let (old_entries, new_entries) = (entries(now), entries(new));
    if old_entries == new_entries {
        return Vec::new();
    }
    let told = |text: &str| lines(ufw::all(text).unwrap_or_default());
    let differences = line_differences(path.clone(), &told(now), &told(new));
    if differences.is_empty() { line_differences(path, &old_entries, &new_entries) } else { differences }
}

pub(super) fn table(facts: &NodeFacts, family: Family) -> &Observed<TableFacts> {
    match family {
        Family::V4 => &facts.filter.ipv4,
        Family::V6 => &facts.filter.ipv6,
    }
}

/// A setting in a file of shell variables, as it stands there.
#[must_use]
pub fn setting<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().rev().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix('=')).map(str::trim)
}

/// The value without the quotes that a shell takes off.
#[must_use]
pub fn plain(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}

impl Declare for Ufw {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "3.2"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        const { &[super::guard::KIND] }
    }

    fn asks(&self, _: &Config, _: &NodeConfig) -> FactsQuery {
        let rules = Family::ALL.into_iter().flat_map(|family| [user_rules(family), after_rules(family)]);
        FactsQuery {
            files: rules.chain([CONF, DEFAULTS].map(str::to_owned)).collect(),
            filter: true,
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        declare(view, &Firewall::of(view.config))
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::ufw(view)
    }
}

fn declare(view: &View<'_>, firewall: &Firewall<'_>) -> Declaration {
    let wishes = Wishes::of(view, firewall);
    let mut declaration = Declaration::nothing();
    let mut differences = Vec::new();
    let mut foreign = Vec::new();
    for family in Family::ALL {
        match of_family(view, &wishes, family, &mut foreign) {
            Ok(found) => differences.extend(found),
            Err((path, why)) => {
                declaration.findings.push(finding(
                    view,
                    Severity::Error,
                    format!("{path} cannot be read: {why}"),
                    "mend it, or move it away and `dpkg-reconfigure ufw`, which writes a fresh one",
                ));
                return declaration;
            }
        }
    }
    differences.extend(settings(view.facts));
    declaration.findings.extend(Family::ALL.into_iter().flat_map(|family| published(view, &wishes, family)));
    let defaults = view.facts.files.get(DEFAULTS).and_then(FileFacts::content).unwrap_or_default();
    if setting(defaults, "MANAGE_BUILTINS").map(plain) == Some("yes") {
        declaration.findings.push(finding(
            view,
            Severity::Error,
            format!("{DEFAULTS} says MANAGE_BUILTINS=yes: each reload of ufw throws Docker's rules away"),
            "set it to `no` there, and restart docker when ufw has reloaded",
        ));
    }
    if !foreign.is_empty() {
        foreign.sort();
        foreign.dedup();
        let (fate, hint) = match view.config.firewall.foreign {
            ForeignRules::Keep => (
                "keeps them",
                "what they let in from outside passes the guard only when `firewall.openings` names it; `firewall.foreign: \
                 remove` takes them away",
            ),
            ForeignRules::Remove => (
                "loses them",
                "name what is wanted of them in `firewall.openings`; `firewall.foreign: keep` leaves them",
            ),
        };
        let message = format!("ufw has rules that are not enxame's, and {fate}: {}", foreign.join("; "));
        declaration.findings.push(finding(view, Severity::Warning, message, hint));
    }
    if !differences.is_empty() {
        let closed =
            view.facts.ssh_session.and_then(|session| why_closed(&wishes.node, session.from, session.port));
        let action = Action {
            node: allowed(&wishes.node),
            containers: allowed(&wishes.containers),
            interfaces: wishes.interfaces,
            foreign: view.config.firewall.foreign,
            closed,
        };
        let reason = "everything that listens on the node is open to the world";
        let draft = Draft::new("close the node but for what is declared", reason, action);
        declaration.change(draft.differing(differences).risking(Risk::MayCutSsh));
    }
    declaration
}

/// What the rules of others in `DOCKER-USER` do to what is declared, once ours stand there too.
fn published(view: &View<'_>, wishes: &Wishes, family: Family) -> Vec<Finding> {
    let Observed::Known(now) = table(view.facts, family) else { return Vec::new() };
    let (wanted, fate) = (wishes.wanted(family), view.config.firewall.foreign);
    let chain = now.docker_user.as_deref().unwrap_or_default();
    let foreign = docker_user::foreign(chain);
    let name = family.restore().trim_end_matches("-restore");
    let mut found = Vec::new();
    if !foreign.is_empty() {
        let (fate, hint) = match fate {
            ForeignRules::Keep => (
                "keeps them until ufw or the node starts again",
                "what they let in from outside passes the guard only when `firewall.openings` names it; `firewall.foreign: \
                 remove` takes them away",
            ),
            ForeignRules::Remove => (
                "loses them",
                "name what is wanted of them in `firewall.openings`; `firewall.foreign: keep` leaves them",
            ),
        };
        let message = format!(
            "{name} has rules in DOCKER-USER that are not enxame's, and {fate}: {}",
            foreign.join("; ")
        );
        found.push(finding(view, Severity::Warning, message, hint));
    }
    let is_for_all = |opening: &&Opening| opening.source == Source::Anywhere;
    let port = |opening: &Opening| match opening.service {
        Service::Tcp(port) => Some(port),
        _ => None,
    };
    let ports: Vec<u16> = firewall::public(view.config).iter().filter(is_for_all).filter_map(port).collect();
    let chain = docker_user::composed(chain, &wanted.docker_user, fate);
    for (obstacle, what) in docker_user::obstacles(&chain, &wanted.published, &wishes.interfaces, &ports) {
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

fn finding(view: &View<'_>, severity: Severity, message: String, hint: &str) -> Finding {
    Finding::new(severity, "3.2", message, hint).on(&view.node.name)
}

fn settings(facts: &NodeFacts) -> Vec<Difference> {
    let text = |path: &str| facts.files.get(path).and_then(FileFacts::content).unwrap_or_default();
    let mut found = Vec::new();
    let enabled = [("ENABLED", "yes")];
    for (path, key, wanted) in SETTINGS
        .iter()
        .map(|(key, wanted)| (DEFAULTS, *key, *wanted))
        .chain(enabled.iter().map(|(key, wanted)| (CONF, *key, *wanted)))
    {
        let now = setting(text(path), key);
        if now.map(plain) != Some(plain(wanted)) {
            let field = format!("{path} {key}");
            found.push(Difference {
                field: field.into(),
                old: now.map(str::to_owned),
                new: Some(wanted.to_owned()),
            });
        }
    }
    found
}
