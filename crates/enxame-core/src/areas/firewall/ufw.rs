//! The host's firewall (manual 3.2, corrected): ufw denies what comes in and lets in what is declared, and what Docker
//! publishes is closed in `DOCKER-USER`, in both address families. Never `ufw reset`: the files are replaced and loaded
//! at once.

mod chain;
mod others;
mod wanted;

use crate::areas::tunnel;
use crate::change::{Difference, Kind, Risk};
use crate::config::{Config, ForeignRules, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, SwarmFate, View};
use crate::facts::{FactsQuery, FileFacts, NodeFacts, Observed, TableFacts};
use serde::{Deserialize, Serialize};

pub use self::wanted::{Allowed, Wanted};
use self::wanted::{Wishes, allowed, openings};
use super::guard_table::why_closed;
use super::ufw_rules::{self as ufw, Family};
use super::{Firewall, NoNetwork, brief};
use crate::files::{BLOCK_END_LINE, BrokenBlock, line_differences, with_block, without_block};
use crate::limits::MAX_TEXT_BYTES;

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

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What the node lets in.
    node: Vec<Allowed>,
    /// What it hands on to containers.
    containers: Vec<Allowed>,
    /// What it lets in by the tunnels between the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tunnel: Vec<Allowed>,
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
            tunnel: openings(&self.tunnel)?,
            interfaces: self.interfaces.clone(),
        };
        Ok(Family::ALL.map(|family| (family, wishes.wanted(family))))
    }
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

/// The file that is loaded before them.
fn before_rules(family: Family) -> String {
    format!("/etc/ufw/before{}.rules", family.digit())
}

/// What ufw runs where it may be executed, whenever it starts, stops or reloads (ufw-framework(8)).
const HOOKS: [&str; 2] = ["/etc/ufw/before.init", "/etc/ufw/after.init"];

/// What of `after.rules` is loaded behind our block would take the place of what it holds.
const DOCKER_USER: &str = "DOCKER-USER";

/// The text of `after.rules` with our block in it: where it was or, where others fill `DOCKER-USER` behind it, at the end.
///
/// # Errors
/// [`BrokenBlock`].
pub fn with_after_block(now: &str, wanted: &Wanted) -> Result<String, BrokenBlock> {
    let text = with_block(now, &wanted.block())?;
    let Some((_, behind)) = text.split_once(BLOCK_END_LINE) else { return Ok(text) };
    let fills = |line: &str| !line.trim_start().starts_with('#') && line.contains(DOCKER_USER);
    if !behind.lines().any(fills) {
        return Ok(text);
    }
    let without = without_block(now)?.unwrap_or_else(|| now.to_owned());
    with_block(&without, &wanted.block())
}

/// Why nothing is done to a file, and what to do about it.
pub(super) struct Refusal {
    message: String,
    hint: &'static str,
}

impl Refusal {
    /// It is no text, or too long.
    fn unreadable(path: &str, why: &str) -> Self {
        let hint = "it stays as it is; make it ufw's text again, or shorter: thousands of bans belong in one set (ipset; \
                    fail2ban's `banaction = nftables`), not in a rule each";
        Self { message: format!("{path} cannot be read: {why}"), hint }
    }

    /// Nobody can say what of it is ours.
    pub(super) fn broken_block(path: &str, why: &dyn std::error::Error) -> Self {
        let hint =
            "take the lines `# BEGIN enxame` and `# END enxame` out of it, with what stands between them";
        Self { message: format!("{path} cannot be read: {why}"), hint }
    }

    /// It is text, but not ufw's.
    pub(super) fn not_ufws(path: &str, why: &dyn std::error::Error) -> Self {
        let hint = "mend it; or move it away and `dpkg-reconfigure ufw`, which writes a fresh one, without the rules in it";
        Self { message: format!("{path} cannot be read: {why}"), hint }
    }

    pub(super) fn finding(&self, view: &View<'_>) -> Finding {
        finding(view, Severity::Error, &self.message, self.hint)
    }
}

/// The text of a file; `None` where there is none.
pub(super) fn readable<'a>(view: &View<'a>, path: &str) -> Result<Option<&'a str>, Refusal> {
    match view.facts.files.get(path) {
        Some(FileFacts::Unreadable(why)) => Err(Refusal::unreadable(path, why)),
        Some(FileFacts::Text { content, .. }) => Ok(Some(content)),
        Some(FileFacts::Absent) | None => Ok(None),
    }
}

/// What would be written must be readable again.
pub(super) fn fits(path: &str, text: &str) -> Result<(), Refusal> {
    if text.len() as u64 <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let message = format!("{path} would have {} bytes, over the limit of {MAX_TEXT_BYTES}", text.len());
    let hint = "name networks instead of single addresses in `ssh.allow_from` and `firewall.openings`: each is a rule for \
                every port that it opens";
    Err(Refusal { message, hint })
}

/// What differs of one family, in the files and in the kernel.
fn of_family(
    view: &View<'_>,
    family: Family,
    wanted: &Wanted,
    foreign: &mut Vec<String>,
) -> Result<Vec<Difference>, Refusal> {
    let path = user_rules(family);
    let Some(now) = readable(view, &path)? else {
        fits(&path, &wanted.rules.concat())?;
        // ufw is about to be installed, and brings files without rules.
        let added = |path| Difference::added(path, "the rules of enxame's own");
        return Ok([path, after_rules(family)].map(added).into());
    };
    let new = ufw::composed(now, &wanted.rules, view.config.firewall.foreign)
        .map_err(|error| Refusal::not_ufws(&path, &error))?;
    fits(&path, &new)?;
    foreign.extend(ufw::foreign(now).unwrap_or_default());
    let loaded = ufw::loaded(&new, family);
    let mut found = rule_differences(path, now, &new);
    let path = after_rules(family);
    let now = readable(view, &path)?.unwrap_or_default();
    let new = with_after_block(now, wanted).map_err(|error| Refusal::broken_block(&path, &error))?;
    fits(&path, &new)?;
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
    if now == new {
        return Vec::new();
    }
    let lines = |rules: Vec<String>| rules.into_iter().map(|rule| rule + "\n").collect::<String>();
    let entries = |text: &str| lines(ufw::entries(text).unwrap_or_default());
    let (old_entries, new_entries) = (entries(now), entries(new));
    if old_entries == new_entries {
        return Vec::new();
    }
    let told = |text: &str| lines(ufw::all(text).unwrap_or_default());
    let differences = line_differences(path.clone(), &told(now), &told(new));
    let differences =
        if differences.is_empty() { line_differences(path, &old_entries, &new_entries) } else { differences };
    brief::shortened(differences)
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
        let rules = Family::ALL
            .into_iter()
            .flat_map(|family| [user_rules(family), after_rules(family), before_rules(family)]);
        FactsQuery {
            files: rules.chain([CONF, DEFAULTS].map(str::to_owned)).chain(HOOKS.map(str::to_owned)).collect(),
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
    let wanted = Family::ALL.map(|family| (family, wishes.wanted(family)));
    let mut declaration = Declaration::nothing();
    let mut differences = Vec::new();
    let mut foreign = Vec::new();
    for (family, wanted) in &wanted {
        match of_family(view, *family, wanted, &mut foreign) {
            Ok(found) => differences.extend(found),
            Err(refusal) => {
                declaration.findings.push(refusal.finding(view));
                return declaration;
            }
        }
    }
    differences.extend(settings(view.facts));
    for (family, wanted) in &wanted {
        declaration.findings.extend(others::in_docker_user(view, *family, wanted, &wishes.interfaces));
        declaration.findings.extend(others::in_after_rules(view, *family));
        declaration.findings.extend(others::in_before_rules(view, *family, &wishes));
    }
    declaration.findings.extend(others::hooks(view));
    let defaults = view.facts.files.get(DEFAULTS).and_then(FileFacts::content).unwrap_or_default();
    if setting(defaults, "MANAGE_BUILTINS").map(plain) == Some("yes") {
        declaration.findings.push(finding(
            view,
            Severity::Error,
            format!("{DEFAULTS} says MANAGE_BUILTINS=yes: each reload of ufw throws Docker's rules away"),
            "set it to `no` there, and restart docker when ufw has reloaded",
        ));
    }
    declaration.findings.extend(others::in_ufw(view, foreign));
    if !differences.is_empty() {
        let closed = view.facts.ssh_session.and_then(|session| {
            let way = if tunnel::carries(view.facts, session) { &wishes.tunnel } else { &wishes.node };
            why_closed(way, session.from, session.port)
        });
        let action = Action {
            node: allowed(&wishes.node),
            containers: allowed(&wishes.containers),
            tunnel: allowed(&wishes.tunnel),
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

fn finding(view: &View<'_>, severity: Severity, message: impl Into<String>, hint: &str) -> Finding {
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
