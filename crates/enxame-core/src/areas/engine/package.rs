//! The engine's packages (manual 5.1, corrected): from Docker's repository, whose key's fingerprint is checked, or
//! the distribution's; other builds of it removed; version pinned and held, because unattended upgrades would
//! otherwise stop the swarm node by node.

use crate::change::{Difference, Kind, Risk};
use crate::config::{Config, EngineConfig, EngineSource, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{DockerSnap, FactsQuery, FileFacts, NodeFacts, OperatingSystem};
use crate::version::EngineVersion;
use serde::{Deserialize, Serialize};

use crate::files::{HEADER, OwnedFile};

pub(crate) const KIND: Kind = Kind::of("engine_package");
/// The repository's key.
pub const KEYRING: &str = "/etc/apt/keyrings/enxame-docker.asc";
/// What names the repository to apt.
pub const SOURCES: &str = "/etc/apt/sources.list.d/enxame-docker.sources";
/// The files that the manual and Docker's documentation make. Beside ours, apt refuses every source there is: they
/// name one repository and two keys.
pub const OTHER_SOURCES: [&str; 2] =
    ["/etc/apt/sources.list.d/docker.list", "/etc/apt/sources.list.d/docker.sources"];
/// The engine's unit.
pub const UNIT: &str = "docker.service";

const DOCKER_CE: [&str; 5] =
    ["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];
/// What Docker's documentation names as in the way of docker-ce.
const NOT_BESIDE_DOCKER_CE: [&str; 10] = [
    "docker.io",
    "docker-cli",
    "docker-doc",
    "docker-buildx",
    "docker-compose",
    "docker-compose-v2",
    "podman-docker",
    "containerd",
    "runc",
    "docker-engine",
];
/// What the distribution's own conflicts with, or would run beside.
const NOT_BESIDE_DISTRIBUTION: [&str; 7] = [
    "docker-ce",
    "docker-ce-cli",
    "containerd.io",
    "docker-buildx-plugin",
    "docker-compose-plugin",
    "docker-engine",
    "podman-docker",
];
/// What the engine needs and distributions only recommend: without `AppArmor`'s tools containers do not start where
/// the kernel has it on.
const BESIDES: [&str; 3] = ["apparmor", "iptables", "ca-certificates"];

/// See the module.
pub(crate) struct EnginePackage;

/// Docker's repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Where its key is.
    pub key_url: String,
    /// The fingerprint that the key must have.
    pub key_fingerprint: String,
    /// The file that names it to apt.
    pub sources: OwnedFile,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Where the packages come from, when that is to be set up.
    pub repository: Option<Repository>,
    /// Packages to remove.
    pub remove: Vec<String>,
    /// Whether Docker's snap goes.
    pub remove_snap: bool,
    /// Packages to install, as apt takes them.
    pub install: Vec<String>,
    /// Packages to hold.
    pub hold: Vec<String>,
    /// Whether the engine is to be started.
    pub start: bool,
    /// Whether the node is a member that has to come back.
    pub in_swarm: bool,
}

/// The packages that are the engine: these are pinned and held.
pub(super) fn engine_packages(source: EngineSource, os: &OperatingSystem) -> Vec<&'static str> {
    match source {
        EngineSource::DockerCe => DOCKER_CE.to_vec(),
        EngineSource::Distribution => {
            // Since Debian 13 the client is a package of its own.
            let is_split =
                os.id == "debian" && os.version_id.parse::<u32>().is_ok_and(|version| version >= 13);
            let mut packages = vec!["docker.io", "containerd", "runc"];
            packages.extend(is_split.then_some("docker-cli"));
            packages
        }
    }
}

fn foreign_packages(source: EngineSource) -> &'static [&'static str] {
    match source {
        EngineSource::DockerCe => &NOT_BESIDE_DOCKER_CE,
        EngineSource::Distribution => &NOT_BESIDE_DISTRIBUTION,
    }
}

fn repository(engine: &EngineConfig, facts: &NodeFacts) -> Repository {
    let base = format!("{}/{}", engine.repository.url, facts.os.id);
    let architecture = if facts.kernel.architecture == "aarch64" { "arm64" } else { "amd64" };
    let sources = format!(
        "{HEADER}# Key: {}\nTypes: deb\nURIs: {base}\nSuites: {}\nComponents: stable\nArchitectures: {architecture}\n\
         Signed-By: {KEYRING}\n",
        engine.repository.key_fingerprint, facts.os.codename
    );
    Repository {
        key_url: format!("{base}/gpg"),
        key_fingerprint: engine.repository.key_fingerprint.clone(),
        sources: OwnedFile::new(SOURCES, sources),
    }
}

impl Declare for EnginePackage {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "5.1"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        const { &[super::config::KIND] }
    }

    fn asks(&self, config: &Config, _: &NodeConfig) -> FactsQuery {
        let all =
            DOCKER_CE.iter().chain(&NOT_BESIDE_DOCKER_CE).chain(&NOT_BESIDE_DISTRIBUTION).chain(&BESIDES);
        let from_docker = config.engine.source == EngineSource::DockerCe;
        let files = [SOURCES, KEYRING]
            .iter()
            .chain(&OTHER_SOURCES)
            .filter(|_| from_docker)
            .map(|path| (*path).to_owned());
        FactsQuery {
            packages: all.map(|name| (*name).to_owned()).collect(),
            files: files.collect(),
            units: [UNIT.to_owned()].into(),
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let engine = &view.config.engine;
        let installed =
            |name: &str| view.facts.packages.get(name).and_then(|package| package.installed.as_deref());
        let is_held = |name: &str| view.facts.packages.get(name).is_some_and(|package| package.is_held);
        let ours = engine_packages(engine.source, &view.facts.os);
        let main = ours.first().copied().unwrap_or_default();

        let mut differences = Vec::new();
        let remove = owned(foreign_packages(engine.source).iter().filter(|name| installed(name).is_some()));
        for name in &remove {
            differences
                .push(Difference::removed(format!("package {name}"), installed(name).unwrap_or_default()));
        }
        if view.facts.docker_snap == DockerSnap::WithData {
            let message = "Docker's snap has volumes, containers or a swarm, which would be deleted with it";
            let hint =
                "save what you need of /var/snap/docker/common/var-lib-docker, then: snap remove docker";
            let finding = Finding::error("5.1", message, hint).on(&view.node.name);
            return Declaration { drafts: Vec::new(), findings: vec![finding] };
        }
        let has_snap = view.facts.docker_snap == DockerSnap::Empty;
        if has_snap {
            differences.push(Difference::removed("snap docker", "installed"));
        }
        let version_now = installed(main).and_then(EngineVersion::parse);
        let is_other_version =
            engine.version.is_some() && version_now.is_some() && engine.version != version_now;
        let needed = ours.iter().chain(&BESIDES).copied();
        let mut install = owned(needed.filter(|name| installed(name).is_none()).collect::<Vec<_>>().iter());
        if is_other_version {
            install.extend(owned(ours.iter().filter(|name| installed(name).is_some())));
        }
        for name in &install {
            let new =
                engine.version.filter(|_| name == main).map_or("installed".to_owned(), |v| v.to_string());
            differences.push(Difference {
                field: format!("package {name}").into(),
                old: installed(name).map(str::to_owned),
                new: Some(new),
            });
        }
        let install = pinned(install, engine);
        let hold = owned(ours.iter().filter(|name| !is_held(name)));
        differences
            .extend(hold.iter().map(|name| Difference::changed(format!("package {name}"), "free", "held")));
        let repository = (engine.source == EngineSource::DockerCe).then(|| repository(engine, view.facts));
        let of_repository =
            repository.as_ref().map(|wanted| repository_differences(wanted, view.facts)).unwrap_or_default();
        // One that is as it must be is left alone: setting it up fetches its key, and apt is without it meanwhile.
        let repository = repository.filter(|_| !of_repository.is_empty());
        differences.extend(of_repository);
        let units = unit_differences(view.facts);
        let start = !install.is_empty() || !units.is_empty();
        if install.is_empty() {
            differences.extend(units);
        }
        if differences.is_empty() {
            return Declaration::nothing();
        }
        let replaces = !remove.is_empty() || has_snap || is_other_version;
        let in_swarm = view.facts.is_swarm_member();
        let risk = match (replaces, in_swarm) {
            (false, _) => Risk::Safe,
            (true, false) => Risk::Restarts("docker".to_owned()),
            (true, true) => {
                Risk::Disruptive("the engine is replaced, and its containers stop meanwhile".to_owned())
            }
        };
        let reason = "the swarm runs on one build of the engine, which unattended upgrades must not replace";
        let action = Action { repository, remove, remove_snap: has_snap, install, hold, start, in_swarm };
        let draft = Draft::new(format!("install and hold {main}"), reason, action);
        let mut declaration = Declaration::from(draft.differing(differences).risking(risk));
        declaration.findings.extend(rehousing(view, replaces && in_swarm));
        declaration
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::package(view)
    }
}

/// How the repository differs: the file that names it, its key, and other files that name it.
fn repository_differences(wanted: &Repository, facts: &NodeFacts) -> Vec<Difference> {
    let is_there =
        |path: &&'static str| facts.files.get(*path).is_some_and(|file| *file != FileFacts::Absent);
    let others = OTHER_SOURCES.into_iter().filter(is_there);
    let others = others.map(|path| Difference::removed(path, "Docker's repository, with another key file"));
    let has_key = facts.files.get(KEYRING).and_then(FileFacts::content).is_some();
    let key = (!has_key).then(|| Difference::added(KEYRING, format!("key {}", wanted.key_fingerprint)));
    wanted.sources.differences(facts).into_iter().chain(others).chain(key).collect()
}

/// An engine that is installed and does not run, or would not after a reboot.
fn unit_differences(facts: &NodeFacts) -> Vec<Difference> {
    // A unit that could not be looked at is not known to be stopped.
    let Some(unit) = facts.units.get(UNIT) else { return Vec::new() };
    let compare = |what: &str, now: &str, wanted: &str| {
        (now != wanted).then(|| Difference::changed(format!("{UNIT} {what}"), now, wanted))
    };
    let found = [compare("state", &unit.active, "active"), compare("at boot", &unit.enabled, "enabled")];
    found.into_iter().flatten().collect()
}

/// Another build of the engine keeps `/var/lib/docker`, but an older one may not read it.
fn rehousing(view: &View<'_>, is_risky: bool) -> Option<Finding> {
    is_risky.then(|| {
        let hint = "have a backup of /var/lib/docker/swarm; going back to an older engine may lose the node";
        Finding::warning("5.1", "the engine of a living swarm node is replaced", hint).on(&view.node.name)
    })
}

fn owned<'a>(names: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    names.map(|name| (*name).to_owned()).collect()
}

/// `docker-ce=5:28.3.3-*`: apt takes a pattern, so that the distribution's suffix need not be known.
fn pinned(install: Vec<String>, engine: &EngineConfig) -> Vec<String> {
    let Some(version) = engine.version else { return install };
    let pin = |name: String| match name.as_str() {
        "docker-ce" | "docker-ce-cli" => format!("{name}=5:{version}-*"),
        "docker.io" | "docker-cli" => format!("{name}={version}*"),
        _ => name,
    };
    install.into_iter().map(pin).collect()
}
