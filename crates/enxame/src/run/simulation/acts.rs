//! What a node does when it is asked to act. It goes on whether anybody still listens, and ends where its power does.

use std::net::IpAddr;
use std::time::Duration;

use enxame_core::areas::swarm::availability::Availability;
use enxame_core::areas::{Action, engine, machine, swarm};
use enxame_core::change::ChangeId;
use enxame_core::names::NodeName;
use enxame_core::protocol::{Failure, Reply};
use tokio::time::{Instant, sleep, sleep_until};

use super::defects::Defect;
use super::model::{Model, Shared};
use super::node::{Concern, Session};
use super::swarm::{Member, Swarm};

/// How long a node waits until its engine is back in the swarm.
const BACK_DEADLINE: Duration = Duration::from_secs(180);

pub(super) fn failure(text: &str) -> Failure {
    Failure { causes: vec![text.to_owned()], hint: None }
}

/// A request to act.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) node: NodeName,
    pub(super) session: Session,
    pub(super) change: ChangeId,
    pub(super) action: Action,
    /// Whether the firewall lets in no new connection afterwards.
    pub(super) cuts_ssh: bool,
}

/// Where a node is, while it acts.
struct Acting {
    model: Shared,
    order: Order,
    kills: u64,
}

/// The agent was killed, or the node has lost its power.
struct Dead;

impl Acting {
    async fn passes(&self, from_ms: u64, to_ms: u64) -> Result<(), Dead> {
        let lasts = self.model.borrow_mut().dice.between(from_ms, to_ms);
        sleep(lasts).await;
        self.is_alive()
    }

    fn is_alive(&self) -> Result<(), Dead> {
        let is_same = self.model.borrow().nodes[&self.order.node].kills == self.kills;
        if is_same { Ok(()) } else { Err(Dead) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        change(&mut self.model.borrow_mut())
    }
}

/// Carries an order out; `None` where it was cut short.
pub(super) async fn execute(model: Shared, order: Order) -> Option<Result<Reply, Failure>> {
    let (node, session) = (order.node.clone(), order.session);
    // One thing after the other.
    while model.borrow().nodes[&node].acting.is_some() {
        sleep(Duration::from_millis(100)).await;
    }
    let kills = {
        let mut model = model.borrow_mut();
        let node = model.node(&order.node);
        if node.lock != Some(session) {
            return Some(Err(failure("the node was not locked for this operator")));
        }
        node.acting = Some(session);
        node.open.insert(order.change.clone());
        node.done.remove(&order.change);
        let text = format!("{} begins", order.change);
        let kills = node.kills;
        model.note(text);
        kills
    };
    let acting = Acting { model: model.clone(), order, kills };
    let outcome = acting.carry_out().await;
    let mut model = model.borrow_mut();
    let keeps_lock = model.has(Defect::LockNotFreed);
    let Acting { order, .. } = acting;
    let Ok(outcome) = outcome else {
        model.note(format!("{} is cut short", order.change));
        return None;
    };
    let here = model.node(&node);
    here.acting = None;
    here.is_making = false;
    if !here.sessions.contains(&session) {
        here.end(session, keeps_lock);
    }
    match &outcome {
        Ok(Reply::Done) => {
            here.open.remove(&order.change);
            here.done.insert(order.change.clone());
        }
        Err(_) => {
            here.open.remove(&order.change);
        }
        Ok(_) => {}
    }
    model.note(format!("{} ends: {outcome:?}", order.change));
    Some(outcome)
}

impl Acting {
    async fn carry_out(&self) -> Result<Result<Reply, Failure>, Dead> {
        self.passes(50, 300).await?;
        match &self.order.action {
            Action::Firewall(_) => self.guarded().await,
            Action::Engine(engine::Action::Config(action)) => self.engine_config(action).await,
            Action::Machine(machine::Action::Reboot(action)) => Ok(Ok(self.reboot(action))),
            Action::Swarm(action) => {
                self.passes(200, 2_000).await?;
                if let swarm::Action::Join(_) = action {
                    self.passes(1_000, 5_000).await?;
                }
                Ok(self.with(|model| model.change_swarm(&self.order.node, action)).map(|()| Reply::Done))
            }
            Action::Machine(_)
            | Action::Engine(_)
            | Action::Tunnel(_)
            | Action::Storage(_)
            | Action::Stacks(_) => {
                self.passes(200, 3_000).await?;
                self.apply();
                Ok(Ok(Reply::Done))
            }
        }
    }

    fn apply(&self) {
        let Some(concern) = Concern::of(&self.order.action) else { return };
        self.with(|model| {
            let wanted = model.wanted[&self.order.node].clone();
            concern.copy(&wanted, &mut model.node(&self.order.node).facts);
        });
    }

    /// Under the dead-man switch.
    async fn guarded(&self) -> Result<Result<Reply, Failure>, Dead> {
        let is_armed = self.with(|model| {
            let is_armed = !model.has(Defect::DeadManNotArmed);
            let node = model.node(&self.order.node);
            node.is_making = true;
            if is_armed {
                node.arm(&self.order.change);
            }
            is_armed
        });
        if is_armed {
            tokio::task::spawn_local(watch(self.model.clone(), self.order.node.clone()));
        }
        self.passes(200, 2_000).await?;
        self.apply();
        if self.order.cuts_ssh {
            self.with(|model| {
                model.note(format!("{} lets in no new connection", self.order.node));
                model.node(&self.order.node).cut_since = Some(Instant::now());
            });
        }
        self.passes(100, 1_000).await?;
        Ok(Ok(Reply::Unconfirmed))
    }

    async fn engine_config(&self, action: &engine::config::Action) -> Result<Result<Reply, Failure>, Dead> {
        self.apply();
        self.with(|model| model.node(&self.order.node).has_read_config = !action.restart);
        if !action.restart {
            return Ok(Ok(Reply::Done));
        }
        self.passes(100, 2_500).await?;
        self.with(|model| {
            model.watch_disturbance(&self.order.node);
            let (lasts, heard) = (model.dice.between(3_000, 30_000), model.dice.between(500, 15_000));
            let node = model.node(&self.order.node);
            node.engine_away(lasts, heard);
            node.has_read_config = true;
        });
        let end = Instant::now() + BACK_DEADLINE;
        loop {
            self.passes(500, 1_000).await?;
            let is_back = self.with(|model| {
                let has_engine = model.nodes[&self.order.node].has_engine();
                has_engine && (!action.in_swarm || model.leads(&self.order.node))
            });
            if is_back {
                return Ok(Ok(Reply::Done));
            }
            if Instant::now() >= end {
                return Ok(Err(failure("the node is not a manager with quorum")));
            }
        }
    }

    fn reboot(&self, action: &machine::reboot::Action) -> Reply {
        if self.with(|model| model.nodes[&self.order.node].boot_id()) != action.boot_id {
            return Reply::Done;
        }
        let (model, name) = (self.model.clone(), self.order.node.clone());
        let boots = model.borrow().nodes[&name].boots;
        tokio::task::spawn_local(async move {
            sleep(Duration::from_secs(2)).await;
            let mut model = model.borrow_mut();
            if model.nodes[&name].boots == boots {
                model.watch_disturbance(&name);
                let longest = if model.boots_slowly { 850_000 } else { 120_000 };
                let (lasts, heard) = (model.dice.between(20_000, longest), model.dice.between(500, 15_000));
                model.node(&name).power_off(lasts, heard);
            }
        });
        Reply::Done
    }
}

/// The dead-man switch's timer.
async fn watch(model: Shared, name: NodeName) {
    let Some(armed) = model.borrow().nodes[&name].armed.clone() else { return };
    sleep_until(armed.fires_at).await;
    loop {
        {
            let mut model = model.borrow_mut();
            let forgotten = model.has(Defect::WayBackForgetsTheRules).then_some(Concern::Guard);
            let node = model.node(&name);
            if node.armed.as_ref().map(|armed| armed.fires_at) != Some(armed.fires_at) {
                return;
            }
            if !node.is_making {
                node.put_back(forgotten);
                model.note(format!("{name}: the dead-man switch puts back {}", armed.change));
                return;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

impl Model {
    fn change_swarm(&mut self, by: &NodeName, action: &swarm::Action) -> Result<(), Failure> {
        let now = Instant::now();
        let whole = self.wanted[by].engine.swarm().unwrap().clone();
        let member = |id: &str| {
            let facts = whole.nodes.iter().find(|node| node.id == id).unwrap().clone();
            let labels = [].into();
            Member { facts: enxame_core::facts::SwarmNodeFacts { labels, ..facts }, since: now }
        };
        if !self.nodes[by].has_engine() {
            return Err(failure("the engine does not answer"));
        }
        match action {
            swarm::Action::Init(_) => {
                if self.swarm.is_some() {
                    return Err(failure("a second swarm would be founded"));
                }
                let mut ingress = whole.networks.iter().find(|network| network.is_ingress).unwrap().clone();
                ingress.is_encrypted = false;
                let founder = member(&whole.node_id);
                let node = self.node(by);
                (node.heard_at, node.ready_at) = (now, now);
                let members = [(by.clone(), founder)].into();
                self.swarm = Some(Swarm { members, networks: vec![ingress], tasks: Vec::new() });
                return Ok(());
            }
            swarm::Action::Join(swarm::join::Action::Join { .. }) => {
                let some = self.nodes.keys().any(|name| self.leads(name));
                let joining = member(&whole.node_id);
                let Some(swarm) = self.swarm.as_mut().filter(|_| some) else {
                    return Err(failure("no manager answers"));
                };
                swarm.members.entry(by.clone()).or_insert(joining);
                let ready_after = self.dice.between(500, 5_000);
                let node = self.node(by);
                node.heard_at = now;
                node.ready_at = now + ready_after;
                return Ok(());
            }
            _ => {}
        }
        if !self.leads(by) {
            return Err(failure("the swarm has no quorum"));
        }
        let at = |address: &IpAddr| {
            let node = self.config.nodes.iter().find(|node| node.address == *address).unwrap();
            node.name.clone()
        };
        match action {
            swarm::Action::Labels(action) => {
                let name = at(&action.address);
                let Some(member) = self.swarm.as_mut().unwrap().members.get_mut(&name) else {
                    return Err(failure("the swarm has no node there"));
                };
                member.facts.labels.extend(action.set.clone());
                member.facts.labels.retain(|key, _| !action.remove.contains(key));
            }
            swarm::Action::Availability(action) => {
                let name = at(&action.address);
                let member = self.swarm.as_mut().unwrap().members.get_mut(&name).unwrap();
                match &action.availability {
                    Availability::Active => member.activate(),
                    Availability::Drain { record } => member.drain(Some(record)),
                }
            }
            swarm::Action::Ingress(swarm::ingress::Action(wanted))
            | swarm::Action::Network(swarm::networks::Action(wanted)) => {
                let made = whole.networks.iter().find(|network| network.name == wanted.name).unwrap();
                let networks = &mut self.swarm.as_mut().unwrap().networks;
                networks.retain(|network| network.name != wanted.name);
                networks.push(made.clone());
            }
            swarm::Action::Init(_)
            | swarm::Action::Join(_)
            | swarm::Action::Settings(_)
            | swarm::Action::Removal(_) => {
                return Err(failure("the model knows nothing of it"));
            }
        }
        Ok(())
    }
}
