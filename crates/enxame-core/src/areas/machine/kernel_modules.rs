//! Kernel modules for encrypted overlay networks and the routing mesh (manual 2.2, corrected): the set follows the
//! engine's version, is kept across reboots, loaded now, and tried out by adding a real ESP association.

use std::collections::BTreeSet;

use crate::change::{Difference, Kind};
use crate::config::{Config, EngineSource, NodeConfig};
use crate::declare::{Declaration, Declare, Draft, Finding, Scope, SwarmFate, View};
use crate::facts::{Bar, FactsQuery, ModuleState, NodeFacts, Observed};
use crate::version::EngineVersion;
use serde::{Deserialize, Serialize};

use crate::files::{HEADER, OwnedFile};

pub(crate) const KIND: Kind = Kind::of("kernel_modules");
/// The manual's file.
const PATH: &str = "/etc/modules-load.d/swarm-crypto.conf";

/// Without these there is no encrypted overlay or no routing mesh.
const NEEDED: [&str; 12] = [
    "overlay",
    "br_netfilter",
    "vxlan",
    "esp4",
    "xfrm_user",
    "xt_policy",
    "xt_mark",
    "xt_addrtype",
    "xt_conntrack",
    "ip_vs",
    "ip_vs_rr",
    "xt_ipvs",
];
/// Loaded where the kernel has them; others take their place where it does not (e.g. `aesni_intel` for `ghash`).
const USEFUL: [&str; 7] =
    ["xfrm_algo", "ip_vs_wrr", "ip_vs_sh", "gcm", "seqiv", "ghash_generic", "nft_compat"];
/// Needed where the nodes' addresses are IPv6, and not loadable where the kernel is told to have none (`ipv6.disable=1`).
const ESP6: &str = "esp6";

/// See the module.
pub(crate) struct KernelModules;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What is loaded at boot.
    pub file: OwnedFile,
    /// What is loaded now.
    pub load: Vec<String>,
    /// The package that brings what is missing.
    pub package: Option<String>,
}

/// The engine there will be after the plan, where that is known.
fn expected_engine(config: &Config, facts: &NodeFacts) -> Option<EngineVersion> {
    let of_distribution = || match (config.engine.source, facts.os.codename.as_str()) {
        (EngineSource::Distribution, "bookworm") => Some(EngineVersion::new(20, 10, 24)),
        _ => None,
    };
    // One from elsewhere is replaced.
    let stays = facts.packages.get(main_package(config)).is_some_and(|package| package.installed.is_some());
    let now = || facts.engine.version().filter(|_| stays);
    config.engine.version.or_else(now).or_else(of_distribution)
}

fn main_package(config: &Config) -> &'static str {
    match config.engine.source {
        EngineSource::DockerCe => "docker-ce",
        EngineSource::Distribution => "docker.io",
    }
}

/// The match that tells which packets to encrypt.
fn marking_module(config: &Config, facts: &NodeFacts) -> &'static str {
    let marks_with_u32 = expected_engine(config, facts).is_some_and(EngineVersion::marks_with_u32);
    let has_u32 = facts.modules.get("xt_u32").is_some_and(|state| *state != ModuleState::Missing);
    // 20.10.24 and 23.0.3 fall back to xt_bpf where xt_u32 is missing.
    if marks_with_u32 && has_u32 { "xt_u32" } else { "xt_bpf" }
}

impl Declare for KernelModules {
    fn kind(&self) -> Kind {
        KIND
    }

    fn section(&self) -> &'static str {
        "2.2"
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn after(&self) -> &'static [Kind] {
        &[]
    }

    fn asks(&self, config: &Config, _: &NodeConfig) -> FactsQuery {
        let modules = NEEDED.iter().chain(&USEFUL).chain(&["xt_u32", "xt_bpf", ESP6]);
        FactsQuery {
            files: [PATH.to_owned()].into(),
            modules: modules.map(|name| (*name).to_owned()).collect(),
            packages: [main_package(config).to_owned()].into(),
            ..FactsQuery::default()
        }
    }

    fn declare(&self, view: &View<'_>) -> Declaration {
        let state = |name: &str| view.facts.modules.get(name).copied().unwrap_or(ModuleState::Missing);
        let mut wanted: BTreeSet<&str> = NEEDED.into();
        wanted.insert(marking_module(view.config, view.facts));
        wanted.extend(view.node.address.is_ipv6().then_some(ESP6));
        let missing: Vec<&str> =
            wanted.iter().copied().filter(|name| state(name) == ModuleState::Missing).collect();
        if !missing.is_empty() && view.facts.kernel.modules_are_gone {
            return gone(view);
        }
        let package = extra_package(view.facts, &missing);
        if !missing.is_empty() && package.is_none() {
            return refusal(view, format!("the kernel lacks the modules {}", missing.join(", ")));
        }
        if let Observed::Known(false) = view.facts.esp {
            return refusal(view, "the kernel refuses an ESP association with rfc4106(gcm(aes))".to_owned());
        }
        let barred = barred(view, &wanted);
        if !barred.is_empty() {
            return Declaration { drafts: Vec::new(), findings: barred };
        }
        let may_be_loaded =
            |name: &str| view.facts.modules_barred.get(name).is_none_or(|bar| bar.at_boot_only);
        wanted
            .extend(USEFUL.iter().filter(|name| state(name) != ModuleState::Missing && may_be_loaded(name)));
        let load: Vec<&str> =
            wanted.iter().copied().filter(|name| state(name) != ModuleState::Loaded).collect();
        let names: String = wanted.iter().flat_map(|name| [*name, "\n"]).collect();
        let file = OwnedFile::new(PATH, format!("{HEADER}{names}"));
        let mut differences: Vec<Difference> = load
            .iter()
            .map(|name| Difference::changed(format!("module {name}"), "not loaded", "loaded"))
            .collect();
        differences.extend(
            package.iter().map(|package| Difference::added(format!("package {package}"), "installed")),
        );
        differences.extend(file.differences(view.facts));
        if differences.is_empty() {
            return Declaration::nothing();
        }
        let reason = "without them the encrypted network is made and carries nothing, or carries it in clear";
        let load = load.into_iter().map(str::to_owned).collect();
        let action = Action { file, load, package };
        Draft::new("load the modules of encrypted overlay networks", reason, action)
            .differing(differences)
            .into()
    }

    fn undeclare(&self, view: &View<'_>, _: SwarmFate) -> Declaration {
        super::removal::file(view, PATH, "load no modules for overlay networks at boot")
    }
}

/// Ubuntu keeps what a server seldom needs in a package of its own.
fn extra_package(facts: &NodeFacts, missing: &[&str]) -> Option<String> {
    let has_package = !missing.is_empty() && facts.os.id == "ubuntu";
    has_package.then(|| format!("linux-modules-extra-{}", facts.kernel.release))
}

/// What keeps modules that must be there from being loaded, now or at the next boot.
fn barred(view: &View<'_>, wanted: &BTreeSet<&str>) -> Vec<Finding> {
    let finding = |name: &&str| {
        let Bar { place, text, at_boot_only } = view.facts.modules_barred.get(*name)?;
        let is_loaded = view.facts.modules.get(*name) == Some(&ModuleState::Loaded);
        let what = match (is_loaded, at_boot_only) {
            (true, _) => "is loaded, and will not be after the next boot",
            (false, true) => "would not be loaded at boot",
            (false, false) => "cannot be loaded",
        };
        let message = format!("the module {name} {what}: {place} says `{text}`");
        let hint = "without it nothing is encrypted or reaches its service: take that away; where it stands against a hole in \
                    the kernel, upgrade and boot the kernel first";
        Some(Finding::error("2.2", message, hint).on(&view.node.name))
    };
    wanted.iter().filter_map(finding).collect()
}

/// A kernel that was upgraded under the running machine: no package brings its modules back.
fn gone(view: &View<'_>) -> Declaration {
    let release = &view.facts.kernel.release;
    let message = format!(
        "the modules of the running kernel, {release}, are gone: /lib/modules/{release} is not there"
    );
    let hint = "another kernel was installed in its place: reboot the server, then try again";
    let finding = Finding::error("2.2", message, hint).on(&view.node.name);
    Declaration { drafts: Vec::new(), findings: vec![finding] }
}

fn refusal(view: &View<'_>, message: String) -> Declaration {
    let finding = Finding::error(
        "2.2",
        message,
        format!("boot the distribution's own kernel (running: {})", view.facts.kernel.release),
    )
    .on(&view.node.name);
    Declaration { drafts: Vec::new(), findings: vec![finding] }
}
