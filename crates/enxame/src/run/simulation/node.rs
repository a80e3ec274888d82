//! One server of the model: what is on its disk and in its kernel, its power, its engine, its lock and its way back.

use std::collections::BTreeSet;
use std::time::Duration;

use enxame_core::areas::Action;
use enxame_core::areas::{engine, firewall, machine};
use enxame_core::change::ChangeId;
use enxame_core::facts::{FileFacts, GuardState, NodeFacts, Observed};
use enxame_core::limits::DEAD_MAN;
use enxame_core::names::NodeName;
use tokio::time::Instant;

/// What the model moves on a node, each as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    Hosts,
    Sysctl,
    Modules,
    Guard,
    Ufw,
    EngineConfig,
    EnginePackage,
}

pub(super) const CONCERNS: [Concern; 7] = [
    Concern::Hosts,
    Concern::Sysctl,
    Concern::Modules,
    Concern::Guard,
    Concern::Ufw,
    Concern::EngineConfig,
    Concern::EnginePackage,
];

impl Concern {
    /// What an action is about; `None` where that is the swarm or the machine as a whole.
    pub(super) fn of(action: &Action) -> Option<Self> {
        Some(match action {
            Action::Machine(machine::Action::Hosts(_)) => Self::Hosts,
            Action::Machine(machine::Action::Sysctl(_)) => Self::Sysctl,
            Action::Machine(machine::Action::KernelModules(_)) => Self::Modules,
            Action::Firewall(firewall::Action::Guard(_)) => Self::Guard,
            Action::Firewall(firewall::Action::Ufw(_)) => Self::Ufw,
            Action::Engine(engine::Action::Config(_)) => Self::EngineConfig,
            Action::Engine(engine::Action::Package(_)) => Self::EnginePackage,
            Action::Machine(_)
            | Action::Firewall(_)
            | Action::Engine(_)
            | Action::Swarm(_)
            | Action::Tunnel(_)
            | Action::Storage(_)
            | Action::Stacks(_) => return None,
        })
    }

    /// Makes it on one node as it is on another.
    pub(super) fn copy(self, from: &NodeFacts, to: &mut NodeFacts) {
        let mut files = |is_of: fn(&str) -> bool| {
            to.files.retain(|path, _| !is_of(path));
            let of = from.files.iter().filter(|(path, _)| is_of(path));
            to.files.extend(of.map(|(path, file)| (path.clone(), file.clone())));
        };
        match self {
            Self::Hosts => files(|path| path == machine::hosts::PATH),
            Self::Sysctl => {
                files(|path| path.starts_with("/etc/sysctl.d/"));
                to.sysctl.clone_from(&from.sysctl);
            }
            Self::Modules => {
                files(|path| path.starts_with("/etc/modules-load.d/"));
                to.modules.clone_from(&from.modules);
                to.esp.clone_from(&from.esp);
            }
            Self::Guard => {
                files(|path| path == firewall::guard_table::PATH || path == firewall::guard::UNIT_PATH);
                to.filter.guard.clone_from(&from.filter.guard);
                let unit = firewall::guard::UNIT;
                to.units.insert(unit.to_owned(), from.units[unit].clone());
            }
            Self::Ufw => {
                files(|path| path.starts_with("/etc/ufw/") || path == firewall::ufw::DEFAULTS);
                to.filter.ipv4.clone_from(&from.filter.ipv4);
                to.filter.ipv6.clone_from(&from.filter.ipv6);
            }
            Self::EngineConfig => files(|path| path == engine::config::PATH),
            Self::EnginePackage => to.packages.clone_from(&from.packages),
        }
    }
}

/// A change that goes back unless it is confirmed.
#[derive(Clone, Debug)]
pub(super) struct Armed {
    pub(super) change: ChangeId,
    pub(super) before: Box<NodeFacts>,
    pub(super) fires_at: Instant,
}

/// Whoever an agent on a node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Session(pub(super) u64);

/// A server.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: NodeName,
    /// All but the swarm.
    pub(super) facts: NodeFacts,
    /// How often it has booted.
    pub(super) boots: u64,
    /// How often what acts there was killed.
    pub(super) kills: u64,
    pub(super) up_at: Instant,
    pub(super) engine_up_at: Instant,
    /// When the other managers hear of it again.
    pub(super) heard_at: Instant,
    /// When the swarm calls it ready and gives it tasks again.
    pub(super) ready_at: Instant,
    /// Since when it was last away.
    pub(super) down_since: Instant,
    pub(super) unreachable_until: Instant,
    /// Since when its firewall lets in no new connection.
    pub(super) cut_since: Option<Instant>,
    /// Whether the engine was started since its file was written.
    pub(super) has_read_config: bool,
    pub(super) armed: Option<Armed>,
    pub(super) is_making: bool,
    pub(super) lock: Option<Session>,
    pub(super) acting: Option<Session>,
    pub(super) sessions: BTreeSet<Session>,
    pub(super) open: BTreeSet<ChangeId>,
    pub(super) done: BTreeSet<ChangeId>,
    /// Whether it had a guard when this began.
    pub(super) was_guarded: bool,
}

impl Node {
    pub(super) fn new(name: &NodeName, facts: NodeFacts) -> Self {
        let now = Instant::now();
        let was_guarded = facts.filter.guard != Observed::Known(GuardState::Absent);
        Self {
            name: name.clone(),
            facts,
            boots: 0,
            kills: 0,
            up_at: now,
            engine_up_at: now,
            heard_at: now,
            ready_at: now,
            down_since: now,
            unreachable_until: now,
            cut_since: None,
            has_read_config: true,
            armed: None,
            is_making: false,
            lock: None,
            acting: None,
            sessions: BTreeSet::new(),
            open: BTreeSet::new(),
            done: BTreeSet::new(),
            was_guarded,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        Instant::now() >= self.up_at
    }

    pub(super) fn has_engine(&self) -> bool {
        self.is_up() && Instant::now() >= self.engine_up_at
    }

    pub(super) fn is_heard(&self) -> bool {
        self.has_engine() && Instant::now() >= self.heard_at
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_heard() && Instant::now() >= self.ready_at
    }

    /// Whether a connection that stands goes on.
    pub(super) fn is_reachable(&self) -> bool {
        self.is_up() && Instant::now() >= self.unreachable_until
    }

    /// Whether a new one comes through.
    pub(super) fn lets_in(&self) -> bool {
        self.is_reachable() && self.cut_since.is_none()
    }

    pub(super) fn boot_id(&self) -> String {
        format!("{}-boot-{}", self.name, self.boots)
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.facts.filter.guard != Observed::Known(GuardState::Absent)
    }

    /// The engine goes away and comes back.
    pub(super) fn engine_away(&mut self, lasts: Duration, heard_after: Duration) {
        let now = Instant::now();
        if self.is_ready() {
            self.down_since = now;
        }
        self.engine_up_at = self.engine_up_at.max(now + lasts);
        self.heard_at = self.heard_at.max(self.engine_up_at + heard_after / 2);
        self.ready_at = self.ready_at.max(self.engine_up_at + heard_after);
    }

    /// The power goes away and comes back.
    pub(super) fn power_off(&mut self, lasts: Duration, heard_after: Duration) {
        // While it is still known whether it was there.
        self.engine_away(lasts + Duration::from_secs(5), heard_after);
        self.up_at = self.up_at.max(Instant::now() + lasts);
        self.boots += 1;
        self.kill();
        self.has_read_config = true;
        if self.armed.is_some() {
            // Before the network is up.
            self.put_back(None);
        }
    }

    /// Every agent ends at once, with what it does half done.
    pub(super) fn kill(&mut self) {
        self.kills += 1;
        self.lock = None;
        self.acting = None;
        self.is_making = false;
        self.sessions.clear();
    }

    pub(super) fn arm(&mut self, change: &ChangeId) {
        let fires_at = Instant::now() + DEAD_MAN;
        self.armed = Some(Armed { change: change.clone(), before: Box::new(self.facts.clone()), fires_at });
    }

    /// Puts back what waits for a confirmation. `forgotten` is what the way back does not put back.
    pub(super) fn put_back(&mut self, forgotten: Option<Concern>) -> Option<ChangeId> {
        let armed = self.armed.take()?;
        Concern::Ufw.copy(&armed.before, &mut self.facts);
        Concern::Guard.copy(&armed.before, &mut self.facts);
        if forgotten == Some(Concern::Guard) {
            self.facts.filter.guard = Observed::Known(GuardState::Absent);
            self.facts.files.insert(firewall::guard_table::PATH.to_owned(), FileFacts::Absent);
        }
        self.cut_since = None;
        self.open.remove(&armed.change);
        Some(armed.change)
    }

    /// A session has ended, however it did. What it was doing ends first.
    pub(super) fn end(&mut self, session: Session, keeps_lock: bool) {
        self.sessions.remove(&session);
        if self.lock == Some(session) && self.acting != Some(session) && !keeps_lock {
            self.lock = None;
        }
    }
}
