//! What is served and where (manual 4.1, corrected): `NFSv4.1` and 4.2, at the server's address in the tunnels alone.
//!
//! What counts is what the kernel does (`/proc/fs/nfsd`, sockets, the table of exports), not what a file says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    DROP_IN_PATH, EXPORTS_PATH, ROOT, SERVER_PACKAGE, SERVER_UNIT, TRACKING_UNIT, Wanted, client, directory,
    filesystem, removal, texts,
};
use crate::change::{Difference, Kind, Risk};
use crate::config::{Config, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{ExportFacts, FactsQuery, PlaceFacts, ServerFacts};
use crate::files::OwnedFile;

pub(crate) const KIND: Kind = Kind::of("storage_server");
/// 4.0 is not among them.
const VERSIONS: [&str; 3] = ["4", "4.1", "4.2"];

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The packages to install.
    pub install: Vec<String>,
    /// The directories, there and theirs whose they are to be; what is in them is left alone.
    pub directories: Vec<Directory>,
    /// When the server starts, and what it exports.
    pub files: Vec<OwnedFile>,
    /// How what runs becomes another.
    pub how: How,
}

/// How what runs becomes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The table of exports is read again; open files stay open.
    Reload,
    /// The server starts anew; clients wait meanwhile.
    Restart,
}

/// A directory, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Where it is.
    pub path: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// See the module.
pub(crate) struct StorageServer;

impl Declare for StorageServer {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "4.1"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        use crate::areas::tunnel::interface;
        const { &[client::KIND, filesystem::KIND, interface::KIND] }
    }

    fn asks(&self, config: &Config, node: &NodeConfig) -> FactsQuery {
        let is_server = config.storage_node().is_some_and(|server| server.name == node.name);
        let packages = is_server.then(|| SERVER_PACKAGE.to_owned());
        FactsQuery {
            files: removal::FILES.map(str::to_owned).into(),
            units: [SERVER_UNIT, TRACKING_UNIT].map(str::to_owned).into(),
            packages: packages.into_iter().collect(),
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        if view.config.storage.is_none() {
            return removal::storage(view, "cluster.yaml has no `storage:` any more");
        }
        match Wanted::of(view.config) {
            Some(wanted) if wanted.server.name == view.node.name => declare(view, wanted),
            Some(wanted) => elsewhere(view, wanted),
            None => Declaration::nothing(),
        }
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        removal::storage(view, "the server's settings are of enxame's making")
    }
}

/// The role was another node's before: its files do not come along by themselves.
fn elsewhere(view: &View<'_>, wanted: Wanted<'_>) -> Declaration {
    if !removal::serves(view) {
        return Declaration::nothing();
    }
    let message = format!(
        "holds the shared files, and cluster.yaml gives the role `storage` to {}",
        wanted.server.name
    );
    let hint = format!(
        "enxame does not move them yet: give the role back to {}; or copy them yourself, then take `storage:` away, apply, and \
         write it again with the other node",
        view.node.name
    );
    let finding = Finding::error("4.1", message, hint).on(&view.node.name);
    Declaration { drafts: Vec::new(), findings: vec![finding] }
}

fn declare(view: &View<'_>, wanted: Wanted<'_>) -> Declaration {
    let seen = &view.facts.storage;
    if let [first, ..] = seen.foreign_exports.as_slice() {
        let message = format!("exports files already that cluster.yaml does not name: {first}");
        let hint = "the server would be reachable in the tunnels alone from then on: take the line away and run exportfs -ra; \
                    share that directory by `storage.exports`, where its files move to";
        let finding = Finding::error("4.1", message, hint).on(&view.node.name);
        return Declaration { drafts: Vec::new(), findings: vec![finding] };
    }
    let is_missing =
        view.facts.packages.get(SERVER_PACKAGE).is_none_or(|package| package.installed.is_none());
    let install = if is_missing { vec![SERVER_PACKAGE.to_owned()] } else { Vec::new() };
    let mut differences: Vec<Difference> =
        install.iter().map(|name| Difference::added(format!("packages.{name}"), "installed")).collect();
    let files = [texts::drop_in(), texts::exports(wanted)];
    differences.extend(files.iter().flat_map(|file| file.differences(view.facts)));
    let directories = directories(view, wanted, &mut differences);
    for unit in [SERVER_UNIT, TRACKING_UNIT] {
        let Some(seen) = view.facts.units.get(unit).filter(|seen| seen.exists) else { continue };
        if seen.active != "active" {
            differences.push(Difference::changed(unit, seen.active.as_str(), "active"));
        }
        // What remembers clients is started by the server's unit.
        if unit != TRACKING_UNIT && seen.enabled != "enabled" {
            differences.push(Difference::changed(unit, seen.enabled.as_str(), "enabled"));
        }
    }
    let mut how = How::Reload;
    let mut findings = Vec::new();
    match &seen.server {
        None => {
            differences.push(Difference::changed(format!("{SERVER_UNIT} (live)"), "does not run", "runs"));
            how = How::Restart;
        }
        Some(server) => {
            let of_server = of_server(server, wanted);
            if !of_server.is_empty() {
                how = How::Restart;
            }
            differences.extend(of_server);
            differences.extend(of_exports(server, wanted));
            findings.extend(gone(server, wanted).iter().map(|path| {
                let message = format!("{path} is shared no more, and its files stay");
                let hint =
                    format!("to share them again, name the export again; to be rid of them: rm -r {path}");
                Finding::warning("4.1", message, hint).on(&view.node.name)
            }));
        }
    }
    if differences.is_empty() {
        return Declaration { drafts: Vec::new(), findings };
    }
    let reason =
        "the shared files go by NFSv4 inside the tunnels, where an address is a key, and nowhere else";
    let action = Action { install, directories, files: files.into(), how };
    let mut draft =
        Draft::new("serve the shared files in the tunnels", reason, action).differing(differences);
    if how == How::Restart && seen.server.is_some() {
        draft = draft.risking(Risk::Restarts(format!(
            "{SERVER_UNIT}: whoever writes to shared files waits meanwhile"
        )));
    }
    Declaration { drafts: vec![draft], findings }
}

/// All of them; what differs of them is added to the differences.
fn directories(view: &View<'_>, wanted: Wanted<'_>, differences: &mut Vec<Difference>) -> Vec<Directory> {
    let seen = &view.facts.storage;
    let is_mounted = matches!(seen.place, PlaceFacts::Mounted(_));
    let mut all = Vec::new();
    for export in &wanted.storage.exports {
        let path = directory(&export.name);
        let (uid, gid, mode) = (export.uid, export.gid, export.mode);
        let is = |uid: u32, gid: u32, mode: u32| format!("{uid}:{gid} {mode:04o}");
        match seen.directories.get(export.name.as_str()).filter(|_| is_mounted) {
            None => differences.push(Difference::added(path.clone(), is(uid, gid, mode))),
            Some(now) => {
                if (now.uid, now.gid, now.mode) != (uid, gid, mode) {
                    let old = is(now.uid, now.gid, now.mode);
                    differences.push(Difference::changed(path.clone(), old, is(uid, gid, mode)));
                }
            }
        }
        all.push(Directory { path, uid, gid, mode });
    }
    all
}

/// What only another start of the server changes.
fn of_server(server: &ServerFacts, wanted: Wanted<'_>) -> Vec<Difference> {
    let list = |words: Vec<String>| words.join(" ");
    let mut found = Vec::new();
    let mut compare = |what: &str, now: Vec<String>, wanted: Vec<String>| {
        if now != wanted {
            found.push(Difference::changed(format!("nfsd {what} (live)"), list(now), list(wanted)));
        }
    };
    compare("versions", server.versions.iter().cloned().collect(), VERSIONS.map(str::to_owned).into());
    compare("protocols", server.protocols.iter().cloned().collect(), vec!["tcp".to_owned()]);
    let addresses = server.addresses.iter().map(ToString::to_string).collect();
    compare("addresses", addresses, vec![IpAddr::V4(wanted.address).to_string()]);
    found
}

/// What differs in the table of exports.
fn of_exports(server: &ServerFacts, wanted: Wanted<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for (path, client, options) in texts::lines(wanted) {
        let client = client.to_string();
        let is_it = |one: &&ExportFacts| one.path == path && one.client == client;
        let field = format!("export of {path} to {client} (live)");
        match server.exports.iter().find(is_it) {
            None => found.push(Difference::added(field, options.join(","))),
            Some(now) => {
                let missing: Vec<&str> = options
                    .iter()
                    .map(String::as_str)
                    .filter(|option| !now.options.contains(*option))
                    .collect();
                if !missing.is_empty() {
                    let old = now.options.iter().map(String::as_str).collect::<Vec<_>>().join(",");
                    found.push(Difference::changed(field, old, options.join(",")));
                }
            }
        }
        known.insert((path, client));
    }
    let is_unknown = |one: &&ExportFacts| !known.contains(&(one.path.clone(), one.client.clone()));
    found.extend(server.exports.iter().filter(is_unknown).map(|one| {
        let field = format!("export of {} to {} (live)", one.path, one.client);
        Difference::removed(field, one.options.iter().map(String::as_str).collect::<Vec<_>>().join(","))
    }));
    found
}

/// Directories that are exported and are not to be.
fn gone(server: &ServerFacts, wanted: Wanted<'_>) -> Vec<String> {
    let paths: BTreeSet<String> = wanted.storage.exports.iter().map(|one| directory(&one.name)).collect();
    let below = format!("{ROOT}/");
    let is_gone = |path: &&String| path.starts_with(&below) && !paths.contains(*path);
    let found: BTreeSet<&String> = server.exports.iter().map(|one| &one.path).filter(is_gone).collect();
    found.into_iter().cloned().collect()
}

/// The files that a server has and a client has not.
pub(super) const OWN_FILES: [&str; 2] = [DROP_IN_PATH, EXPORTS_PATH];
