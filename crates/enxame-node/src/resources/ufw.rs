//! The host's firewall (manual 3.2, corrected): ufw denies what comes in and lets in what is declared, and what Docker
//! publishes is closed in `DOCKER-USER`, in both address families. Never `ufw reset`: the files are replaced and loaded
//! at once.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use enxame_core::change::{Difference, Kind, Risk};
use enxame_core::config::{Config, ForeignRules, NodeConfig};
use enxame_core::declare::{Declaration, Declare, Draft, Finding, Scope, Severity, View, declare_sharing};
use enxame_core::facts::{FactsQuery, FileFacts, NodeFacts, Observed, TableFacts};
use enxame_core::firewall::{self, Firewall, NoNetwork, Opening, Service, Source};
use serde::{Deserialize, Serialize};

use crate::actuate::{ActuateError, Context, Resource, read_action};
use crate::deadman::{Step, WayBack};
use crate::files::{line_differences, with_block};
use crate::guard::{PUBLISHED_CHAIN, why_closed};
use crate::host::{Command, Host};
use crate::ufw::{self, Family};

const KIND: Kind = Kind::of("ufw");
const CONF: &str = "/etc/ufw/ufw.conf";
const DEFAULTS: &str = "/etc/default/ufw";
/// ufw's own script: it loads the files, and starts no Python.
const INIT: &str = "/lib/ufw/ufw-init";
/// The mode that ufw gives its rules.
const MODE: u32 = 0o640;
/// Deny what comes in, allow what goes out, deny what passes through.
const SETTINGS: [(&str, &str); 4] = [
    ("IPV6", "yes"),
    ("DEFAULT_INPUT_POLICY", "\"DROP\""),
    ("DEFAULT_OUTPUT_POLICY", "\"ACCEPT\""),
    ("DEFAULT_FORWARD_POLICY", "\"DROP\""),
];
/// Loading a table takes a moment; the dead-man switch waits for all of them together.
const LOAD: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Ufw;

/// What one family's files and chains are to be.
struct Wanted {
    /// Our rules, as they stand in ufw's file.
    rules: Vec<String>,
    /// The same as the kernel shows them.
    saved: Vec<String>,
    docker_user: Vec<String>,
    published: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Action {
    /// What the node lets in.
    node: Vec<Allowed>,
    /// What it hands on to containers.
    containers: Vec<Allowed>,
    interfaces: Vec<String>,
    foreign: ForeignRules,
    /// Why the operator would be kept out, where he would.
    closed: Option<String>,
}

/// Openings for the same sources: those are as many as the cluster has nodes, and are written once.
#[derive(Serialize, Deserialize)]
struct Allowed {
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

fn openings(allowed: Vec<Allowed>) -> Result<Vec<Opening>, ActuateError> {
    let mut openings = Vec::new();
    for Allowed { from, what } in allowed {
        let wrong = |error: NoNetwork| ActuateError::wrong(error.to_string(), "");
        let source: Source = from.parse().map_err(wrong)?;
        openings.extend(what.into_iter().map(|(service, purpose)| Opening {
            service,
            source: source.clone(),
            purpose,
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

fn user_rules(family: Family) -> String {
    format!("/etc/ufw/user{}.rules", family.digit())
}

fn after_rules(family: Family) -> String {
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
            saved: rules.iter().map(ufw::Rule::saved).collect(),
            docker_user: ufw::docker_user(self.interfaces.iter().map(String::as_str), PUBLISHED_CHAIN),
            published: ufw::published(&self.containers, family),
        }
    }
}

impl Wanted {
    fn block(&self) -> String {
        ufw::docker_tables(&self.docker_user, &self.published, PUBLISHED_CHAIN)
    }

    /// What of the kernel's table is not as wanted; `loaded` is what the file has for `ufw-user-input`.
    fn differences(&self, now: &TableFacts, loaded: ufw::Loaded, family: Family) -> Vec<Difference> {
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
        let is_closed = now.docker_user.as_ref().is_some_and(|rules| closes(rules, &self.docker_user));
        if !is_closed || now.published.as_ref() != Some(&self.published) {
            let old = now.docker_user.as_ref().map_or_else(|| "absent".to_owned(), |rules| rules.join("; "));
            found.push(Difference::changed(
                format!("{name} DOCKER-USER (live)"),
                old,
                "closed but for what is declared",
            ));
        }
        found
    }
}

/// Whether `DOCKER-USER` hands on what comes from outside: ours are there, none for an interface that is public no more,
/// and nothing in front of them lets anything pass. Others may drop there before us (fail2ban does), and dockerd adds a rule of its own behind.
fn closes(rules: &[String], ours: &[String]) -> bool {
    let place = rules.windows(ours.len().max(1)).position(|window| window == ours);
    let lets_pass = |rule: &String| rule.ends_with("-j ACCEPT") || rule.ends_with("-j RETURN");
    let is_stale = |rule: &String| rule.ends_with(&format!("-j {PUBLISHED_CHAIN}")) && !ours.contains(rule);
    place.is_some_and(|place| !rules.iter().take(place).any(lets_pass)) && !rules.iter().any(is_stale)
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
        Observed::Known(now) => found.extend(wanted.differences(now, loaded, family)),
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
fn rule_differences(path: String, now: &str, new: &str) -> Vec<Difference> {
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

fn table(facts: &NodeFacts, family: Family) -> &Observed<TableFacts> {
    match family {
        Family::V4 => &facts.filter.ipv4,
        Family::V6 => &facts.filter.ipv6,
    }
}

fn setting<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().rev().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix('=')).map(str::trim)
}

/// The value without the quotes that a shell takes off.
fn plain(value: &str) -> &str {
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

    fn declare_each(&self, views: &[View<'_>]) -> Vec<Declaration> {
        declare_sharing(views, Firewall::of, declare)
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
        let draft = Draft::new("close the node but for what is declared", reason, &action);
        declaration.change(draft.differing(differences).risking(Risk::MayCutSsh));
    }
    declaration
}

fn finding(view: &View<'_>, severity: Severity, message: String, hint: &str) -> Finding {
    let node = Some(view.node.name.clone());
    Finding { severity, node, section: "3.2".to_owned(), message, hint: hint.to_owned(), waiver: None }
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

/// A file that is there already.
fn read(host: &dyn Host, path: &str) -> Result<String, ActuateError> {
    match host.read(Path::new(path)) {
        FileFacts::Text { content, .. } => Ok(content),
        FileFacts::Absent => Err(ActuateError::wrong(format!("{path} is not there"), "dpkg-reconfigure ufw")),
        FileFacts::Unreadable(why) => Err(ActuateError::wrong(format!("cannot read {path}: {why}"), "")),
    }
}

/// Docker holds the lock of legacy iptables now and then.
const WAIT: &str = "--wait=5";

fn restore(family: Family, text: String) -> Step {
    Step::reading([family.restore(), WAIT, "--noflush"], text)
}

/// Whether it could be loaded.
fn try_load(host: &dyn Host, family: Family, text: &str) -> Result<(), ActuateError> {
    let command = Command::new([family.restore(), WAIT, "--noflush", "--test"]).reading(text);
    Ok(host.run_ok(&command.within(LOAD)).map(drop)?)
}

fn load(on: &Context<'_>, family: Family, text: &str) -> Result<(), ActuateError> {
    let command = Command::new([family.restore(), WAIT, "--noflush"]).reading(text).within(LOAD);
    Ok(on.host.run_ok(&command).map(drop)?)
}

impl Resource for Ufw {
    fn way_back(&self, host: &dyn Host, _: &serde_json::Value) -> Result<Option<WayBack>, ActuateError> {
        let now = crate::facts::filter(host);
        let mut files: Vec<String> =
            Family::ALL.into_iter().flat_map(|family| [user_rules(family), after_rules(family)]).collect();
        files.extend([CONF, DEFAULTS].map(str::to_owned));
        let is_on = matches!(&now.ipv4, Observed::Known(table) if table.user_input.is_some());
        let mut reload = Vec::new();
        if !is_on {
            reload.push(Step::new([INIT, "force-stop"]));
        }
        for (family, table) in [(Family::V4, &now.ipv4), (Family::V6, &now.ipv6)] {
            let Observed::Known(table) = table else {
                let message =
                    format!("cannot see what {} has loaded, and so could not go back", family.save());
                return Err(ActuateError::wrong(message, ""));
            };
            // What is live, not what its files say: they may hold what was never loaded and would cut off SSH.
            let saved = host.run_ok(&Command::new([family.save(), "-t", "filter"]))?;
            let chain = |rules: &Option<Vec<String>>| rules.clone().unwrap_or_default();
            let (docker, published) = (chain(&table.docker_user), chain(&table.published));
            let docker = ufw::docker_tables(&docker, &published, PUBLISHED_CHAIN);
            for text in [ufw::snapshot(&saved, family), docker] {
                try_load(host, family, &text)?;
                reload.push(restore(family, text));
            }
            // What the change adds to chains that are everybody's.
            let program = family.restore().trim_end_matches("-restore");
            let jumps = ufw::missing_jumps(&saved, family);
            reload.extend(
                jumps.iter().map(|(from, to)| Step::where_done([program, WAIT, "-D", from, "-j", to])),
            );
        }
        Ok(Some(WayBack { files, reload }))
    }

    fn why_cut(&self, action: &serde_json::Value) -> Option<String> {
        let closed = read_action::<Action>(action).ok()?.closed?;
        Some(format!("ufw: {closed}"))
    }

    fn actuate(&self, on: &mut Context<'_>, action: &serde_json::Value) -> Result<(), ActuateError> {
        let action: Action = read_action(action)?;
        let wishes = Wishes {
            node: openings(action.node)?,
            containers: openings(action.containers)?,
            interfaces: action.interfaces,
        };
        let families = Family::ALL.map(|family| (family, wishes.wanted(family)));
        // Everything is made and tried before anything is written.
        let mut files = Vec::new();
        for (family, wanted) in &families {
            let family = *family;
            let (user, after) = (user_rules(family), after_rules(family));
            let wrong = |path: &str, error: &dyn std::error::Error| {
                ActuateError::wrong(format!("cannot change {path}: {error}"), "")
            };
            let rules = ufw::composed(&read(on.host, &user)?, &wanted.rules, action.foreign)
                .map_err(|error| wrong(&user, &error))?;
            let block = with_block(&read(on.host, &after)?, &wanted.block())
                .map_err(|error| wrong(&after, &error))?;
            for text in [&rules, &wanted.block()] {
                try_load(on.host, family, text)?;
            }
            files.extend([(user, rules), (after, block)]);
        }
        for (path, text) in &files {
            on.host.write(Path::new(path), text.as_bytes(), MODE)?;
        }
        let defaults = read(on.host, DEFAULTS)?;
        let wanted = SETTINGS
            .iter()
            .filter(|(key, value)| setting(&defaults, key).map(plain) != Some(plain(value)))
            .fold(defaults.clone(), |text, (key, value)| ufw::with_setting(&text, key, value));
        on.host.write(Path::new(DEFAULTS), wanted.as_bytes(), 0o644)?;
        follow(on, &families, defaults != wanted)?;
        // Turning ufw on writes its files anew, and without the rules for IPv6 where the kernel has none.
        for (family, wanted) in &families {
            let path = user_rules(*family);
            let now = read(on.host, &path)?;
            let wrong = |error| ActuateError::wrong(format!("cannot change {path}: {error}"), "");
            let rules = ufw::composed(&now, &wanted.rules, action.foreign).map_err(wrong)?;
            if rules != now {
                on.host.write(Path::new(&path), rules.as_bytes(), MODE)?;
                load(on, *family, &rules)?;
            }
        }
        Ok(())
    }
}

/// Makes the kernel follow the files.
fn follow(
    on: &mut Context<'_>,
    families: &[(Family, Wanted)],
    is_other_policy: bool,
) -> Result<(), ActuateError> {
    let is_enabled = setting(&read(on.host, CONF)?, "ENABLED").map(plain) == Some("yes");
    let now = crate::facts::filter(on.host);
    let is_up = |table: &Observed<TableFacts>| {
        table.known().is_some_and(|table| {
            table.goes_through_ufw
                && table.user_input.is_some()
                && table.input_policy == "DROP"
                && table.forward_policy == "DROP"
        })
    };
    for family in Family::ALL {
        let saved = on.host.run_ok(&Command::new([family.save(), "-t", "filter"]))?;
        let jumps = ufw::missing_jumps(&saved, family);
        if !jumps.is_empty() {
            let rules: Vec<String> = jumps.iter().map(|(from, to)| format!("-A {from} -j {to}\n")).collect();
            let rules = rules.concat();
            load(on, family, &format!("*filter\n{rules}COMMIT\n"))?;
        }
    }
    if !is_enabled {
        (on.progress)("turning ufw on");
        // It writes its rules again, with its logging; one start of Python.
        on.host.run_ok(&Command::new(["ufw", "--force", "enable"]))?;
    } else if is_other_policy || !is_up(&now.ipv4) || !is_up(&now.ipv6) {
        (on.progress)("loading ufw from the start");
        let is_there = now.ipv4.known().is_some_and(|table| table.user_input.is_some());
        on.host.run_ok(&Command::new([INIT, if is_there { "force-reload" } else { "start" }]))?;
    } else {
        for family in Family::ALL {
            load(on, family, &read(on.host, &user_rules(family))?)?;
        }
    }
    for (family, wanted) in families {
        let family = *family;
        let before = match family {
            Family::V4 => &now.ipv4,
            Family::V6 => &now.ipv6,
        };
        // What others put there to drop stays in front; loading ufw from the start has taken it away.
        let others = before.known().and_then(|table| table.docker_user.clone()).unwrap_or_default();
        let jumps = ["RETURN", "ACCEPT", PUBLISHED_CHAIN].map(|target| format!("-j {target}"));
        let is_others = |rule: &String| !jumps.iter().any(|jump| rule.ends_with(jump));
        let mut docker_user: Vec<String> = others.into_iter().filter(is_others).collect();
        docker_user.extend(wanted.docker_user.iter().cloned());
        load(on, family, &ufw::docker_tables(&docker_user, &wanted.published, PUBLISHED_CHAIN))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{FakeHost, Finished};

    fn answer(code: i32, stdout: &str, stderr: &str) -> Finished {
        Finished { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    #[test]
    fn a_way_back_that_could_not_be_gone_is_refused_before_anything_is_changed() {
        let saved = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
        let host = FakeHost::default()
            .with_file("/usr/sbin/iptables-save", "")
            .with_file("/usr/sbin/ip6tables-save", "")
            .answering("iptables-save", answer(0, saved, ""))
            .answering("ip6tables-save", answer(0, saved, ""))
            .answering("nft", answer(0, "", ""))
            .answering("iptables-restore", answer(0, "", ""))
            .answering("ip6tables-restore", answer(2, "", "line 7 failed"));
        let refused = Ufw.way_back(&host, &serde_json::Value::Null).expect_err("a refusal");
        assert!(format!("{:?}", refused.failure()).contains("line 7 failed"), "{refused:?}");
        let loads = |command: &&Command| command.argv.first().is_some_and(|name| name.ends_with("-restore"));
        let ran = host.ran();
        let loads: Vec<_> = ran.iter().filter(loads).collect();
        assert_eq!(loads.len(), 3, "two of one family and the first of the other: {loads:?}");
        assert!(loads.iter().all(|command| command.argv.contains(&"--test".to_owned())), "{loads:?}");
    }
}
