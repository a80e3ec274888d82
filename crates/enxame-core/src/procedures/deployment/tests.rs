//! What is planned of stacks.

use serde_json::json;

use super::*;
use crate::areas::stacks::Write;
use crate::areas::swarm::{ServiceFacts, TaskFacts, UpdateFacts};
use crate::procedures::tests::{converged, running};

const WISH: Wish = Wish { prunes: false, within: Duration::from_secs(60) };

fn web() -> ObjectName {
    ObjectName::new("web").unwrap()
}

/// What docker would write, where the service runs with this image, if it does.
fn conversion(running: Option<&str>, wanted: &str) -> Conversion {
    let spec = |image: &str| json!({"Name": "web_app", "TaskTemplate": {"ContainerSpec": {"Image": image}}});
    let path = if running.is_some() { "/services/1/update" } else { "/services/create" };
    Conversion {
        stack: web(),
        writes: vec![Write { path: path.to_owned(), body: spec(wanted) }],
        said: Vec::new(),
        services: running.map(|image| json!({"ID": "1", "Spec": spec(image)})).into_iter().collect(),
        configs: Vec::new(),
        networks: [].into(),
    }
}

const OLD: &str = "nginx:1.29@sha256:aa";
const NEW: &str = "nginx:1.30@sha256:bb";

fn service(state: &str) -> ServiceFacts {
    let task = TaskFacts {
        is_running: true,
        is_up_to_date: true,
        slot: "1".to_owned(),
        state: "running".to_owned(),
        ..TaskFacts::default()
    };
    let update = UpdateFacts { state: state.to_owned(), message: "m".to_owned() };
    ServiceFacts {
        wanted: Some(1),
        tasks: vec![task],
        stack: Some("web".to_owned()),
        update: Some(update).filter(|_| !state.is_empty()),
        ..ServiceFacts::default()
    }
}

fn planned(conversion: Conversion, state: Option<&str>, wish: Wish) -> Plan {
    let (config, mut facts) = converged();
    let service = service(state.unwrap_or_default());
    let services: &[(&str, &ServiceFacts)] = if state.is_some() { &[("web_app", &service)] } else { &[] };
    running(&mut facts, services);
    deploy(&config, &facts, &[conversion], wish).unwrap()
}

#[test]
fn what_runs_as_its_file_says_is_left_alone() {
    let plan = planned(conversion(Some(OLD), OLD), Some("completed"), WISH);
    assert!(plan.is_empty() && plan.findings.is_empty(), "{plan:?}");
}

#[test]
fn what_is_as_its_file_says_and_does_not_run_is_never_nothing_to_change() {
    let plan = planned(conversion(Some(OLD), OLD), Some("paused"), WISH);
    let [change] = &plan.changes[..] else { panic!("{plan:?}") };
    assert_eq!(change.reason, "it is as its file says, and does not run: web_app: its update is paused: m");
    // Nor is one that somebody removed.
    let plan = planned(conversion(Some(OLD), OLD), None, WISH);
    assert!(plan.changes[0].reason.ends_with("does not run: web_app was removed"), "{plan:?}");
}

#[test]
fn a_change_says_what_becomes_of_the_tasks_and_waits_until_they_run() {
    let plan = planned(conversion(Some(OLD), NEW), Some(""), WISH);
    let [change] = &plan.changes[..] else { panic!("{plan:?}") };
    assert_eq!(change.risk, Risk::Restarts("the tasks of web_app".to_owned()));
    assert_eq!(change.handover, Some(Handover::Material));
    assert_eq!(change.until, [Gate::Converged { services: vec!["web_app".to_owned()], within_s: 60 }]);
    assert_eq!(change.id, deployment_of(&change.node, &web()));
    let told: Vec<String> = change.differences.iter().map(|one| one.field.to_string()).collect();
    assert_eq!(told, ["web_app", "web_app.image"]);
    // The first time nothing is replaced.
    let plan = planned(conversion(None, NEW), None, WISH);
    assert_eq!((&plan.changes[0].risk, plan.changes[0].reason.as_str()), (&Risk::Safe, "1 service is new"));
}

#[test]
fn what_the_file_has_no_more_is_told_and_removed_only_when_asked() {
    let with_old = || {
        let mut all = conversion(Some(OLD), NEW);
        all.services.push(json!({"ID": "2", "Spec": {"Name": "web_old"}}));
        all
    };
    let plan = planned(with_old(), Some(""), WISH);
    assert_eq!(plan.changes.len(), 1);
    assert!(plan.findings[0].message.contains("web_old runs, and is no longer in the file"), "{plan:?}");
    let plan = planned(with_old(), Some(""), Wish { prunes: true, ..WISH });
    let [deployed, pruned] = &plan.changes[..] else { panic!("{plan:?}") };
    assert_eq!(pruned.after, std::slice::from_ref(&deployed.id), "only once the others run");
    assert!(plan.findings.is_empty(), "{plan:?}");
}

#[test]
fn what_docker_would_refuse_or_not_pin_is_told_before() {
    let mut all = conversion(Some(OLD), "nginx:1.30");
    all.writes
        .push(Write { path: "/configs/c/update".to_owned(), body: json!({"Name": "page", "Data": "bmV3"}) });
    all.configs = vec![json!({"ID": "c", "Spec": {"Name": "page", "Data": "b2xk"}})];
    let plan = planned(all, Some(""), WISH);
    assert!(plan.is_refused() && plan.findings[0].message.contains("the config page has another content"));
    assert!(plan.findings[1].message.contains("no registry tells the digest of nginx:1.30"), "{plan:?}");
}

#[test]
fn a_job_is_not_waited_for() {
    let mut all = conversion(None, NEW);
    all.writes[0].body["Mode"] = json!({"ReplicatedJob": {"MaxConcurrent": 1}});
    let plan = planned(all, None, WISH);
    assert_eq!(plan.changes[0].until, [Gate::Converged { services: Vec::new(), within_s: 60 }]);
}

#[test]
fn a_stack_is_taken_away_only_where_something_of_it_runs() {
    let (config, mut facts) = converged();
    running(&mut facts, &[("web_app", &service(""))]);
    let plan = remove_stack(&config, &facts, &web()).unwrap();
    assert_eq!(plan.changes[0].differences, [Difference::removed("service web_app", "runs")]);
    assert!(plan.findings[0].message.contains("volumes of web stay"), "{plan:?}");
    let other = ObjectName::new("db").unwrap();
    assert_eq!(remove_stack(&config, &facts, &other).unwrap_err(), ProcedureError::NoStack(other));
}
