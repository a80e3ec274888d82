//! Whether a service runs as its entry says, and what keeps it from it.
//!
//! Judged from one look, so that asking again needs no memory: tasks carry their times, and the manager its clock. Docker's own
//! `--detach=false` says nothing is wrong with a service that was rolled back, and waits for one that cannot be placed for
//! ever (docker/cli, cli/command/service/progress; swarmkit, manager/orchestrator/update).

use std::collections::BTreeMap;

use crate::areas::swarm::{Attributes, Constraint, Resources, ServiceFacts, TaskFacts, Workloads};
use crate::facts::{SwarmFacts, SwarmNodeFacts};

/// What a look says of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All its tasks run, and have for as long as its monitor time.
    Converged,
    /// Not yet.
    Waits(String),
    /// It will not come true by itself.
    Failed(String),
}

/// How long the scheduler may find no node before that counts.
const UNPLACED_MS: u64 = 30_000;
/// How often a task may fail before that is a loop.
const FAILURES: usize = 3;
/// Of which it counts what has ended since.
const FAILURES_WITHIN_MS: u64 = 5 * 60_000;

/// What the swarm has, as far as a service is judged by it.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The swarm, as a manager with quorum sees it.
    pub swarm: &'a SwarmFacts,
    /// What runs.
    pub workloads: &'a Workloads,
    /// That manager's clock, in milliseconds since 1970.
    pub now_unix_ms: u64,
}

/// Judges a service.
#[must_use]
pub fn judge(name: &str, service: &ServiceFacts, look: Look<'_>) -> Verdict {
    let update = service.update.as_ref();
    let state = update.map_or("", |update| update.state.as_str());
    let message = update.map_or("", |update| update.message.as_str());
    let why = last_failure(service).map(|task| format!(": {}", reason(task))).unwrap_or_default();
    match state {
        "paused" => return Verdict::Failed(format!("{name}: its update is paused: {message}{why}")),
        "rollback_paused" => {
            return Verdict::Failed(format!(
                "{name}: going back to what ran before is paused: {message}{why}"
            ));
        }
        "rollback_completed" => {
            return Verdict::Failed(format!("{name}: rolled back to what ran before: {message}{why}"));
        }
        "rollback_started" => return Verdict::Waits(format!("{name}: is rolled back: {message}{why}")),
        _ => {}
    }
    if let Some(cause) = loops(name, service, look) {
        return Verdict::Failed(cause);
    }
    if let Some(cause) = unplaced(name, service, look) {
        return Verdict::Failed(cause);
    }
    waits(name, service, look).map_or(Verdict::Converged, Verdict::Waits)
}

fn node<'a>(look: Look<'a>, id: &str) -> Option<&'a SwarmNodeFacts> {
    look.swarm.nodes.iter().find(|node| node.id == id)
}

fn is_down(look: Look<'_>, task: &TaskFacts) -> bool {
    node(look, &task.node_id).is_some_and(|node| node.state == "down")
}

/// What is not there yet.
fn waits(name: &str, service: &ServiceFacts, look: Look<'_>) -> Option<String> {
    let tasks = || service.tasks.iter().filter(|task| !is_down(look, task));
    let is_settled = |task: &&TaskFacts| {
        let since = look.now_unix_ms.saturating_sub(task.since_unix_ms);
        task.is_up_to_date && task.is_running && since.saturating_mul(1_000_000) >= service.monitor_ns
    };
    let wanted = match service.wanted {
        Some(wanted) => usize::try_from(wanted).unwrap_or(usize::MAX),
        // One on every node that fits: those that there are say which.
        None => tasks().count(),
    };
    let down: Vec<&str> = service
        .tasks
        .iter()
        .filter_map(|task| node(look, &task.node_id).filter(|node| node.state == "down"))
        .map(|node| node.hostname.as_str())
        .collect();
    let of_the_down =
        if down.is_empty() { String::new() } else { format!("; {} is down", down.join(" and ")) };
    let running = tasks().filter(|task| task.is_up_to_date && task.is_running).count();
    if running < wanted {
        let doing = tasks().filter(|task| !task.is_running).map(doing).next().unwrap_or_default();
        return Some(format!("{name}: {running} of {wanted} tasks run{doing}{of_the_down}"));
    }
    if tasks().any(|task| !task.is_up_to_date) {
        return Some(format!("{name}: tasks of before are still there"));
    }
    let settled = tasks().filter(is_settled).count();
    if settled < wanted {
        return Some(format!(
            "{name}: {settled} of {wanted} tasks have run for its monitor time{of_the_down}"
        ));
    }
    let is_updating = service.update.as_ref().is_some_and(|update| update.state == "updating");
    is_updating.then(|| format!("{name}: its update is not ended yet"))
}

/// What a task that does not run yet is at.
fn doing(task: &TaskFacts) -> String {
    let error = if task.error.is_empty() { String::new() } else { format!(": {}", task.error) };
    match task.state.as_str() {
        "" => String::new(),
        state => format!(", one is {state}{error}"),
    }
}

fn last_failure(service: &ServiceFacts) -> Option<&TaskFacts> {
    service.failed.iter().filter(|task| task.is_up_to_date).max_by_key(|task| task.since_unix_ms)
}

/// Why a task failed, by what the engine says of it.
fn reason(task: &TaskFacts) -> String {
    let error = task.error.as_str();
    if error.contains("No such image") {
        return format!("image not found: {}", task.image);
    }
    if error.contains("unhealthy container") {
        return "its health check fails".to_owned();
    }
    match task.exit_code {
        Some(code) if error.contains("non-zero exit") => format!("it ends with exit code {code}"),
        Some(0) if error.is_empty() => "it ends by itself, with exit code 0".to_owned(),
        _ if error.is_empty() => format!("it is {}", task.state),
        _ => error.to_owned(),
    }
}

/// A task that fails again and again in one place, as the service is now. An update pauses by itself; nothing stops the
/// first deployment from going on for ever.
fn loops(name: &str, service: &ServiceFacts, look: Look<'_>) -> Option<String> {
    let mut by_slot: BTreeMap<&str, Vec<&TaskFacts>> = BTreeMap::new();
    for task in service.failed.iter().filter(|task| task.is_up_to_date) {
        if look.now_unix_ms.saturating_sub(task.since_unix_ms) <= FAILURES_WITHIN_MS {
            by_slot.entry(task.slot.as_str()).or_default().push(task);
        }
    }
    let (_, tasks) = by_slot.into_iter().max_by_key(|(_, tasks)| tasks.len())?;
    let last = tasks.iter().max_by_key(|task| task.since_unix_ms)?;
    let place = node(look, &last.node_id).map(|node| format!(" on {}", node.hostname)).unwrap_or_default();
    (tasks.len() >= FAILURES).then(|| format!("{name}: fails again and again{place}: {}", reason(last)))
}

/// A task that the scheduler finds no node for.
fn unplaced(name: &str, service: &ServiceFacts, look: Look<'_>) -> Option<String> {
    let task = service.tasks.iter().find(|task| {
        task.state == "pending"
            && task.error.contains("no suitable node")
            // The scheduler dates it anew each time it tries.
            && look.now_unix_ms.saturating_sub(task.created_unix_ms) >= UNPLACED_MS
    })?;
    let lacks: Vec<String> = look
        .swarm
        .nodes
        .iter()
        .filter_map(|node| Some(format!("{}: {}", node.hostname, lacks(node, service, look)?)))
        .collect();
    let lacks = if lacks.is_empty() { String::new() } else { format!("; {}", lacks.join("; ")) };
    Some(format!("{name}: the scheduler finds no place for it: {}{lacks}", task.error))
}

/// What a node lacks for a service.
fn lacks(node: &SwarmNodeFacts, service: &ServiceFacts, look: Look<'_>) -> Option<String> {
    if node.state != "ready" {
        return Some(format!("is {}", node.state));
    }
    if node.availability != "active" {
        return Some(format!("gets no tasks ({})", node.availability));
    }
    let attributes = Attributes {
        id: Some(&node.id),
        hostname: &node.hostname,
        is_manager: node.is_manager,
        labels: &node.labels,
    };
    let unmet = service.constraints.iter().find(|text| {
        Constraint::parse(text).and_then(|constraint| constraint.is_met_by(attributes)) == Some(false)
    });
    if let Some(unmet) = unmet {
        return Some(format!("not {unmet}"));
    }
    let reserved =
        look.workloads.services.values().flat_map(|other| {
            other.tasks.iter().filter(|task| task.node_id == node.id).map(|_| other.reserved)
        });
    let reserved = reserved.fold(Resources::default(), Resources::plus);
    let left = look.workloads.capacity.get(&node.id)?.less(reserved);
    let mebibytes = |bytes: u64| bytes >> 20;
    if left.memory_bytes < service.reserved.memory_bytes {
        return Some(format!(
            "{} MiB of memory are free of reservations, {} are wanted",
            mebibytes(left.memory_bytes),
            mebibytes(service.reserved.memory_bytes)
        ));
    }
    let processors = |nano: u64| format!("{}.{:02}", nano / 1_000_000_000, nano / 10_000_000 % 100);
    (left.nano_cpus < service.reserved.nano_cpus).then(|| {
        format!(
            "{} processors are free of reservations, {} are wanted",
            processors(left.nano_cpus),
            processors(service.reserved.nano_cpus)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::areas::swarm::UpdateFacts;

    const NOW: u64 = 1_000_000;

    fn member(id: &str, state: &str, label: Option<&str>) -> SwarmNodeFacts {
        SwarmNodeFacts {
            id: id.to_owned(),
            hostname: format!("host-{id}"),
            address: String::new(),
            management_port: None,
            state: state.to_owned(),
            availability: "active".to_owned(),
            is_manager: true,
            is_leader: false,
            reachability: "reachable".to_owned(),
            engine_version: String::new(),
            labels: label.map(|label| (label.to_owned(), "true".to_owned())).into_iter().collect(),
        }
    }

    fn task(slot: &str, node: &str, state: &str, since_s_ago: u64) -> TaskFacts {
        TaskFacts {
            node_id: node.to_owned(),
            is_running: state == "running",
            slot: slot.to_owned(),
            state: state.to_owned(),
            is_up_to_date: true,
            since_unix_ms: NOW - since_s_ago * 1000,
            created_unix_ms: NOW - since_s_ago * 1000,
            image: "nginx:1.29".to_owned(),
            ..TaskFacts::default()
        }
    }

    fn two(tasks: Vec<TaskFacts>) -> ServiceFacts {
        ServiceFacts { wanted: Some(2), monitor_ns: 5_000_000_000, tasks, ..ServiceFacts::default() }
    }

    fn judged(service: &ServiceFacts) -> Verdict {
        let nodes =
            vec![member("a", "ready", Some("db")), member("b", "ready", None), member("c", "down", None)];
        let swarm = SwarmFacts { nodes, ..SwarmFacts::inactive() };
        let capacity = Resources { nano_cpus: 1_000_000_000, memory_bytes: 1 << 30 };
        let capacity = ["a", "b"].map(|id| (id.to_owned(), capacity)).into();
        let services = [("web".to_owned(), service.clone())].into();
        let workloads = Workloads { services, capacity };
        judge("web", service, Look { swarm: &swarm, workloads: &workloads, now_unix_ms: NOW })
    }

    fn failed(service: &ServiceFacts) -> String {
        match judged(service) {
            Verdict::Failed(why) => why,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(service: &ServiceFacts) -> String {
        match judged(service) {
            Verdict::Waits(why) => why,
            other => panic!("{other:?}"),
        }
    }

    fn healthy() -> ServiceFacts {
        two(vec![task("1", "a", "running", 6), task("2", "b", "running", 60)])
    }

    #[test]
    fn it_runs_when_all_have_for_as_long_as_the_monitor_time() {
        assert_eq!(judged(&healthy()), Verdict::Converged);
        let young = two(vec![task("1", "a", "running", 6), task("2", "b", "running", 4)]);
        assert_eq!(waiting(&young), "web: 1 of 2 tasks have run for its monitor time");
        let starting = two(vec![task("1", "a", "running", 6), task("2", "b", "preparing", 4)]);
        assert_eq!(waiting(&starting), "web: 1 of 2 tasks run, one is preparing");
        assert_eq!(waiting(&two(Vec::new())), "web: 0 of 2 tasks run");
        let mut old = healthy();
        old.tasks[1].is_up_to_date = false;
        assert_eq!(waiting(&old), "web: 1 of 2 tasks run");
        let mut updating = healthy();
        updating.update = Some(UpdateFacts { state: "updating".to_owned(), message: String::new() });
        assert_eq!(waiting(&updating), "web: its update is not ended yet");
        let none = ServiceFacts { wanted: Some(0), ..ServiceFacts::default() };
        assert_eq!(judged(&none), Verdict::Converged);
    }

    #[test]
    fn tasks_of_a_node_that_is_down_are_no_tasks_and_it_is_named() {
        let global = |tasks| ServiceFacts { wanted: None, ..two(tasks) };
        let all = global(vec![task("a", "a", "running", 9), task("c", "c", "running", 9)]);
        assert_eq!(judged(&all), Verdict::Converged);
        let one = two(vec![task("1", "a", "running", 9), task("2", "c", "running", 9)]);
        assert_eq!(waiting(&one), "web: 1 of 2 tasks run; host-c is down");
    }

    #[test]
    fn what_the_engine_gave_up_is_told_with_its_reason() {
        let mut service = healthy();
        let mut last = task("1", "a", "failed", 1);
        last.error = "task: non-zero exit (3)".to_owned();
        last.exit_code = Some(3);
        service.failed = vec![last];
        for (state, expected) in [
            ("paused", "web: its update is paused: m: it ends with exit code 3"),
            ("rollback_completed", "web: rolled back to what ran before: m: it ends with exit code 3"),
            ("rollback_paused", "web: going back to what ran before is paused: m: it ends with exit code 3"),
        ] {
            service.update = Some(UpdateFacts { state: state.to_owned(), message: "m".to_owned() });
            assert_eq!(failed(&service), expected);
        }
        service.update = Some(UpdateFacts { state: "completed".to_owned(), message: "m".to_owned() });
        assert_eq!(judged(&service), Verdict::Converged);
    }

    #[test]
    fn three_failures_in_one_place_are_a_loop_and_two_are_not() {
        let mut service = two(vec![task("1", "a", "starting", 1), task("2", "b", "running", 60)]);
        let failure = |error: &str, code: i64, ago| {
            let mut task = task("1", "a", "failed", ago);
            task.error = error.to_owned();
            task.exit_code = Some(code);
            task
        };
        for (error, code, expected) in [
            ("task: non-zero exit (3)", 3, "it ends with exit code 3"),
            ("task: non-zero exit (137): dockerexec: unhealthy container", 137, "its health check fails"),
            ("No such image: nginx:1.29", 0, "image not found: nginx:1.29"),
            ("invalid mount config", 0, "invalid mount config"),
            ("", 0, "it ends by itself, with exit code 0"),
        ] {
            service.failed = vec![failure(error, code, 20), failure(error, code, 10)];
            assert!(matches!(judged(&service), Verdict::Waits(_)), "{error}");
            service.failed.push(failure(error, code, 2));
            assert_eq!(failed(&service), format!("web: fails again and again on host-a: {expected}"));
        }
        // Of before, or long ago: that is over.
        for task in &mut service.failed {
            task.is_up_to_date = false;
        }
        assert!(matches!(judged(&service), Verdict::Waits(_)));
        service.failed = vec![failure("x", 1, 900), failure("x", 1, 800), failure("x", 1, 700)];
        assert!(matches!(judged(&service), Verdict::Waits(_)));
    }

    #[test]
    fn a_task_without_a_place_is_told_with_what_each_node_lacks() {
        let mut pending = task("1", "", "pending", 40);
        pending.error = "no suitable node (scheduling constraints not satisfied on 2 nodes)".to_owned();
        let mut service = two(vec![pending, task("2", "a", "running", 60)]);
        service.constraints = vec!["node.labels.db == true".to_owned()];
        service.reserved = Resources { nano_cpus: 0, memory_bytes: 700 << 20 };
        assert_eq!(
            failed(&service),
            "web: the scheduler finds no place for it: no suitable node (scheduling constraints not satisfied on 2 \
             nodes); host-a: 324 MiB of memory are free of reservations, 700 are wanted; host-b: not node.labels.db == \
             true; host-c: is down"
        );
        // It may be a node that is just coming back.
        service.tasks[0].created_unix_ms = NOW - 20_000;
        assert!(matches!(judged(&service), Verdict::Waits(_)));
    }
}
