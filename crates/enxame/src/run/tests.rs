//! The executor alone, over nodes that do as a test says.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use enxame_core::areas::machine;
use enxame_core::change::{Change, ChangeId, Kind, Risk};
use enxame_core::facts::{ClusterFacts, EngineState, Observed, digest_of};
use enxame_core::gate::Gate;
use enxame_core::names::NodeName;
use enxame_core::plan::Plan;
use enxame_core::protocol::{Failure, Reply, Request};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::simulation::scenario::bases;
use super::{Event, Materials, Outcome, Outcomes, Run, World};
use crate::transport::TransportError;

const NODES: [&str; 3] = ["kvm2-manager", "kvm4-manager", "kvm8-core"];

fn name(place: usize) -> NodeName {
    NodeName::new(NODES[place]).unwrap()
}

fn id(text: &str) -> ChangeId {
    ChangeId(text.to_owned())
}

fn change(text: &str, place: usize) -> Change {
    let action = machine::reboot::Action { boot_id: String::new() };
    Change {
        id: id(text),
        node: name(place),
        kind: Kind::of("test"),
        section: String::new(),
        summary: String::new(),
        reason: String::new(),
        differences: Vec::new(),
        risk: Risk::Disruptive(String::new()),
        after: Vec::new(),
        behind: Vec::new(),
        gates: Vec::new(),
        until: Vec::new(),
        handover: None,
        action: action.into(),
    }
}

fn others_ready(place: usize) -> Vec<Gate> {
    vec![Gate::OthersReady { but: name(place) }]
}

/// Nodes that do what they are asked within a second.
struct Scripted {
    facts: RefCell<ClusterFacts>,
    heard: RefCell<Vec<String>>,
    failing: BTreeSet<ChangeId>,
    a_look_takes: RefCell<Duration>,
    /// What happens once this change has been made.
    then: (ChangeId, fn(&Scripted)),
}

impl Scripted {
    fn new() -> Self {
        Self {
            facts: RefCell::new(bases().1.clone()),
            heard: RefCell::default(),
            failing: BTreeSet::new(),
            a_look_takes: RefCell::new(Duration::from_millis(500)),
            then: (id("nothing"), |_| ()),
        }
    }

    async fn carry_out(&self, changes: Vec<Change>, stop: watch::Receiver<bool>) -> Outcomes {
        let facts = digest_of(&self.facts.borrow());
        let plan = Plan {
            facts,
            changes,
            edge: None,
            findings: Vec::new(),
            withheld: Vec::new(),
            unfinished: Vec::new(),
        };
        let tell = |event: &Event<'_>| match event {
            Event::Began(change) => self.heard.borrow_mut().push(format!("began {}", change.id)),
            Event::Ended { change, .. } => self.heard.borrow_mut().push(format!("ended {}", change.id)),
            Event::Said { .. } | Event::Waiting { .. } | Event::Stopping => {}
        };
        Run { config: &bases().0, world: self, materials: &Materials::new(), tell: &tell }
            .carry_out(&plan, stop)
            .await
    }

    async fn carry_all_out(&self, changes: Vec<Change>) -> Outcomes {
        let stop = watch::Sender::new(false);
        self.carry_out(changes, stop.subscribe()).await
    }

    /// A manager goes away, as the others see it.
    fn goes_down(&self, place: usize) {
        let mut facts = self.facts.borrow_mut();
        let id = facts[&name(place)].engine.swarm().unwrap().node_id.clone();
        facts.insert_hole(name(place), "no route to host");
        for facts in facts.values_mut() {
            let EngineState::Running { swarm, .. } = &mut facts.engine.state else { continue };
            let node = swarm.nodes.iter_mut().find(|node| node.id == id).unwrap();
            node.state = "down".to_owned();
            node.reachability = "unreachable".to_owned();
        }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.borrow().clone()
    }
}

impl World for Scripted {
    fn request<'a>(
        &'a self,
        _: &'a NodeName,
        request: &'a Request,
        _: Duration,
        _: &'a dyn Fn(&str),
    ) -> LocalBoxFuture<'a, Result<Reply, TransportError>> {
        async move {
            let Request::Execute { change, .. } = request else { return Err(TransportError::OutOfTurn) };
            self.heard.borrow_mut().push(format!("asked {change}"));
            sleep(Duration::from_secs(1)).await;
            if self.then.0 == *change {
                (self.then.1)(self);
            }
            if self.failing.contains(change) {
                let causes = vec!["no space left on device".to_owned()];
                return Err(TransportError::Failed(Failure { causes, hint: None }));
            }
            Ok(Reply::Done)
        }
        .boxed_local()
    }

    fn confirm<'a>(
        &'a self,
        _: &'a NodeName,
        _: &'a ChangeId,
    ) -> LocalBoxFuture<'a, Result<(), TransportError>> {
        async { Ok(()) }.boxed_local()
    }

    fn look(&self) -> LocalBoxFuture<'_, ClusterFacts> {
        async {
            self.heard.borrow_mut().push("look".to_owned());
            let facts = self.facts.borrow().clone();
            let takes = *self.a_look_takes.borrow();
            sleep(takes).await;
            facts
        }
        .boxed_local()
    }
}

#[tokio::test(start_paused = true)]
async fn gates_are_looked_at_right_before_each_step() {
    let world = Scripted::new();
    let first = Change { gates: others_ready(0), ..change("a", 0) };
    let second = Change { gates: others_ready(1), behind: vec![id("a")], ..change("b", 1) };
    let outcomes = world.carry_all_out(vec![first, second]).await;
    assert!(outcomes.values().all(|outcome| *outcome == Outcome::Done));
    let expected =
        ["began a", "look", "asked a", "ended a", "began b", "look", "asked b", "ended b"].map(str::to_owned);
    assert_eq!(world.heard(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_dies_meanwhile_keeps_the_next_one_from_being_disturbed() {
    let world = Scripted { then: (id("a"), |world| world.goes_down(2)), ..Scripted::new() };
    let gates =
        |place| vec![Gate::QuorumSurvives { without: name(place) }, Gate::OthersReady { but: name(place) }];
    let first = Change { gates: gates(0), ..change("a", 0) };
    let second = Change { gates: gates(1), behind: vec![id("a")], ..change("b", 1) };
    let needs_it = Change { after: vec![id("b")], ..change("c", 1) };
    let other = Change { after: vec![id("a")], ..change("d", 0) };
    let outcomes = world.carry_all_out(vec![first, second, needs_it, other]).await;
    assert_eq!(outcomes[&id("a")], Outcome::Done);
    let Outcome::Held { why, .. } = &outcomes[&id("b")] else { panic!("{outcomes:?}") };
    assert_eq!(why, "1 of 3 managers would be left, 2 are needed (kvm8-core missing)");
    assert_eq!(outcomes[&id("c")], Outcome::Skipped(id("b")));
    assert_eq!(outcomes[&id("d")], Outcome::Done);
    assert!(!world.heard().contains(&"asked b".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_fails_skips_what_needs_it_and_not_what_has_its_turn_behind_it() {
    let world = Scripted { failing: [id("a")].into(), ..Scripted::new() };
    let needs_it = Change { after: vec![id("a")], ..change("b", 0) };
    let needs_that = Change { after: vec![id("b")], ..change("c", 0) };
    let behind = Change { behind: vec![id("a")], ..change("d", 1) };
    let outcomes = world.carry_all_out(vec![change("a", 0), needs_it, needs_that, behind]).await;
    assert!(
        matches!(&outcomes[&id("a")], Outcome::Failed { causes, .. } if causes == &["no space left on device"])
    );
    assert_eq!(outcomes[&id("b")], Outcome::Skipped(id("a")));
    assert_eq!(outcomes[&id("c")], Outcome::Skipped(id("b")));
    assert_eq!(outcomes[&id("d")], Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn a_change_behind_one_that_is_skipped_waits_for_those_before_that_one() {
    let world = Scripted { failing: [id("fails")].into(), ..Scripted::new() };
    let slow = Change { until: vec![Gate::NodeReady { node: name(0) }], ..change("slow", 0) };
    let skipped = Change { after: vec![id("fails")], behind: vec![id("slow")], ..change("skipped", 1) };
    let last = Change { behind: vec![id("skipped")], ..change("last", 2) };
    world.carry_all_out(vec![slow, change("fails", 1), skipped, last]).await;
    let heard = world.heard();
    let at = |text: &str| heard.iter().position(|one| one == text).unwrap();
    assert!(at("ended slow") < at("began last"), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_what_runs_end_and_begins_nothing_more() {
    let world = Scripted::new();
    let stop = watch::Sender::new(false);
    let next = Change { behind: vec![id("a")], ..change("b", 1) };
    let stopping = async {
        sleep(Duration::from_millis(500)).await;
        stop.send_replace(true);
    };
    let (outcomes, ()) =
        tokio::join!(world.carry_out(vec![change("a", 0), next], stop.subscribe()), stopping);
    assert_eq!(outcomes, [(id("a"), Outcome::Done), (id("b"), Outcome::Stopped)].into());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_true_after_a_step_is_no_step_that_was_made() {
    let world = Scripted { then: (id("a"), |world| world.goes_down(0)), ..Scripted::new() };
    let step = Change { until: vec![Gate::NodeReady { node: name(0) }], ..change("a", 0) };
    let begun = Instant::now();
    let outcomes = world.carry_all_out(vec![step]).await;
    let Outcome::Unmet { why, .. } = &outcomes[&id("a")] else { panic!("{outcomes:?}") };
    assert_eq!(why, "kvm2-manager does not answer");
    assert!(begun.elapsed() >= Duration::from_secs(300), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_long_to_boot_has_its_whole_time_to_become_ready() {
    let world = Scripted { then: (id("a"), |world| world.goes_down(0)), ..Scripted::new() };
    let boot_id = "before".to_owned();
    let until = vec![Gate::NodeRebooted { node: name(0), boot_id }, Gate::NodeReady { node: name(0) }];
    let coming_back = async {
        sleep(Duration::from_secs(800)).await;
        let mut facts = bases().1.clone();
        facts.get_mut(&name(0)).unwrap().volatile.boot_id = "after".to_owned();
        let ready = facts.clone();
        facts.get_mut(&name(0)).unwrap().engine.state = EngineState::NotAnswering("starting".to_owned());
        world.facts.replace(facts);
        sleep(Duration::from_secs(60)).await;
        world.facts.replace(ready);
    };
    let step = Change { until, ..change("a", 0) };
    let (outcomes, ()) = tokio::join!(world.carry_all_out(vec![step]), coming_back);
    assert_eq!(outcomes[&id("a")], Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_has_held_meanwhile_has_its_whole_time_again() {
    let world = Scripted::new();
    let up = bases().1.clone();
    let gates = vec![Gate::OthersReady { but: name(0) }, Gate::EncryptsTraffic { node: name(0) }];
    // Down from the first look on.
    world.goes_down(2);
    let comes_and_goes = async {
        sleep(Duration::from_secs(60)).await;
        let mut loading = up.clone();
        loading.get_mut(&name(0)).unwrap().esp = Observed::Unknown("esp4 is not loaded".to_owned());
        world.facts.replace(loading);
        sleep(Duration::from_secs(60)).await;
        world.goes_down(2);
        sleep(Duration::from_secs(60)).await;
        world.facts.replace(up.clone());
    };
    let (outcomes, ()) =
        tokio::join!(world.carry_all_out(vec![Change { gates, ..change("a", 0) }]), comes_and_goes);
    assert_eq!(outcomes[&id("a")], Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_took_long_lets_nobody_be_disturbed() {
    let world = Scripted::new();
    world.a_look_takes.replace(Duration::from_secs(50));
    let quick_again = async {
        sleep(Duration::from_secs(30)).await;
        world.goes_down(2);
        world.a_look_takes.replace(Duration::from_secs(1));
    };
    let step = Change { gates: others_ready(0), ..change("a", 0) };
    let (outcomes, ()) = tokio::join!(world.carry_all_out(vec![step]), quick_again);
    assert!(matches!(outcomes[&id("a")], Outcome::Held { .. }), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_disturbed_while_a_member_does_not_answer_that_the_swarm_calls_ready() {
    let world = Scripted::new();
    world.facts.borrow_mut().insert_hole(name(2), "no route to host");
    let step = Change { gates: others_ready(0), ..change("a", 0) };
    let outcomes = world.carry_all_out(vec![step]).await;
    let Outcome::Held { why, .. } = &outcomes[&id("a")] else { panic!("{outcomes:?}") };
    assert_eq!(why, "kvm8-core does not answer");
}

/// What is left of a reboot that was cut off: the node gets tasks again.
fn activation() -> Change {
    let gates = vec![Gate::NodeReady { node: name(2) }, Gate::EncryptsTraffic { node: name(2) }];
    Change { risk: Risk::Safe, gates, ..change("activate", 0) }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_encrypt_after_a_reboot_gets_no_tasks() {
    let world = Scripted::new();
    world.facts.borrow_mut().get_mut(&name(2)).unwrap().esp = Observed::Known(false);
    let outcomes = world.carry_all_out(vec![activation()]).await;
    let Outcome::Held { gate, why } = &outcomes[&id("activate")] else { panic!("{outcomes:?}") };
    assert_eq!(
        [gate.as_str(), why.as_str()],
        ["kvm8-core encrypts", "the kernel of kvm8-core refuses an ESP association"]
    );
    assert!(!world.heard().contains(&"asked activate".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_still_loading_its_modules_after_a_reboot_is_waited_for() {
    let world = Scripted::new();
    world.facts.borrow_mut().get_mut(&name(2)).unwrap().esp =
        Observed::Unknown("esp4 is not loaded".to_owned());
    let begun = Instant::now();
    let loading = async {
        sleep(Duration::from_secs(100)).await;
        world.facts.borrow_mut().get_mut(&name(2)).unwrap().esp = Observed::Known(true);
    };
    let (outcomes, ()) = tokio::join!(world.carry_all_out(vec![activation()]), loading);
    assert_eq!(outcomes[&id("activate")], Outcome::Done);
    assert!(begun.elapsed() >= Duration::from_secs(100), "{:?}", begun.elapsed());
}
