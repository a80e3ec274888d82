//! What an action replaces that was there before: the node keeps it, once, before the first action that touches it.
//!
//! Files of enxame's own names are not in it: where they are there, enxame made them.

use super::{Action, engine, firewall, machine};
use firewall::ufw_rules::Family;

/// What an action may replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Files, by path.
    pub files: Vec<String>,
    /// Live kernel parameters.
    pub sysctl: Vec<String>,
    /// Packages that get held.
    pub holds: Vec<String>,
    /// What is one of a kind.
    pub values: Vec<Value>,
}

/// What a node has one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// The kernel's host name.
    Hostname,
    /// Who is in the group `docker`.
    DockerGroup,
}

impl Touched {
    fn files<const N: usize>(files: [&str; N]) -> Self {
        Self { files: files.map(str::to_owned).into(), ..Self::default() }
    }
}

impl Action {
    /// What it may replace; taking away replaces nothing but what enxame made.
    #[must_use]
    pub fn touches(&self) -> Touched {
        match self {
            Self::Machine(action) => of_machine(action),
            Self::Firewall(firewall::Action::Ufw(_)) => {
                let rules = Family::ALL.into_iter();
                let rules = rules.flat_map(|family| {
                    [firewall::ufw::user_rules(family), firewall::ufw::after_rules(family)]
                });
                let settings = [firewall::ufw::CONF, firewall::ufw::DEFAULTS].map(str::to_owned);
                Touched { files: rules.chain(settings).collect(), ..Touched::default() }
            }
            Self::Engine(action) => of_engine(action),
            Self::Firewall(_) | Self::Swarm(_) | Self::Tunnel(_) | Self::Storage(_) | Self::Stacks(_) => {
                Touched::default()
            }
        }
    }
}

fn of_machine(action: &machine::Action) -> Touched {
    match action {
        machine::Action::Hostname(action) => {
            Touched { values: vec![Value::Hostname], ..Touched::files([&action.file.path]) }
        }
        machine::Action::Hosts(_) => Touched::files([machine::hosts::PATH]),
        machine::Action::Sysctl(action) => {
            Touched { sysctl: action.live.keys().cloned().collect(), ..Touched::files([&action.file.path]) }
        }
        machine::Action::KernelModules(action) => Touched::files([&action.file.path]),
        machine::Action::CloudInit(_)
        | machine::Action::TimeSync(_)
        | machine::Action::Reboot(_)
        | machine::Action::Removal(_) => Touched::default(),
    }
}

fn of_engine(action: &engine::Action) -> Touched {
    match action {
        engine::Action::Config(_) => Touched::files([engine::config::PATH]),
        engine::Action::Package(action) => {
            let sources = action.repository.as_ref().map(|_| Touched::files(engine::package::OTHER_SOURCES));
            Touched { holds: action.hold.clone(), ..sources.unwrap_or_default() }
        }
        engine::Action::DockerGroup(_) => Touched { values: vec![Value::DockerGroup], ..Touched::default() },
        engine::Action::Removal(_) => Touched::default(),
    }
}
