//! From the API's answers to what runs in the swarm.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{Node, ResourceObject, Service, Task, TaskSpec, TaskState};
use enxame_core::areas::swarm::{Resources, ServiceFacts, TaskFacts, UpdateFacts, Workloads};

/// The label by which Docker knows what belongs to a stack.
const NAMESPACE: &str = "com.docker.stack.namespace";

/// What runs, from the swarm's nodes, services and tasks, and those of the tasks that are as their services' entries say.
pub(crate) fn workloads(
    nodes: &[Node],
    services: &[Service],
    tasks: Vec<Task>,
    up_to_date: &[Task],
) -> Workloads {
    let current: BTreeSet<&str> = up_to_date.iter().filter_map(|task| task.id.as_deref()).collect();
    let (mut wanted, mut failed) = (BTreeMap::new(), BTreeMap::new());
    for task in tasks {
        let service = task.service_id.clone().unwrap_or_default();
        let is_wanted = task.desired_state == Some(TaskState::RUNNING);
        let state = task.status.as_ref().and_then(|status| status.state);
        let has_failed = match state {
            Some(TaskState::FAILED | TaskState::REJECTED) => true,
            // It ended by itself: a service's tasks are not to.
            Some(TaskState::COMPLETE) => task.desired_state == Some(TaskState::SHUTDOWN),
            _ => false,
        };
        let facts = of_task(task, &current);
        let list: &mut BTreeMap<String, Vec<TaskFacts>> = if has_failed {
            &mut failed
        } else if is_wanted {
            &mut wanted
        } else {
            continue;
        };
        list.entry(service).or_default().push(facts);
    }
    let capacity = nodes.iter().filter_map(|node| {
        let resources = node.description.as_ref()?.resources.as_ref()?;
        Some((node.id.clone()?, amount(Some(resources))))
    });
    let services = services.iter().filter_map(|service| {
        let spec = service.spec.as_ref()?;
        let mode = spec.mode.as_ref();
        // A job ends by itself: nobody waits for its tasks to run.
        if mode.is_some_and(|mode| mode.replicated_job.is_some() || mode.global_job.is_some()) {
            return None;
        }
        let is_global = mode.is_some_and(|mode| mode.global.is_some());
        let replicas = mode.and_then(|mode| mode.replicated.as_ref()?.replicas);
        let template = spec.task_template.as_ref();
        let constraints = template.and_then(|task| task.placement.as_ref()?.constraints.clone());
        let reserved = template.and_then(|task| task.resources.as_ref()?.reservations.as_ref());
        let id = service.id.as_deref().unwrap_or_default();
        let update = service.update_status.as_ref().and_then(|update| {
            let state = update.state.map(|state| state.to_string()).filter(|state| !state.is_empty())?;
            Some(UpdateFacts { state, message: update.message.clone().unwrap_or_default() })
        });
        let monitor = spec.update_config.as_ref().and_then(|update| update.monitor);
        let facts = ServiceFacts {
            // One, where nobody says (moby, api/types/swarm: defaults).
            wanted: (!is_global).then(|| replicas.and_then(|count| u64::try_from(count).ok()).unwrap_or(1)),
            constraints: constraints.unwrap_or_default(),
            reserved: amount(reserved),
            tasks: wanted.get(id).cloned().unwrap_or_default(),
            failed: failed.get(id).cloned().unwrap_or_default(),
            stack: spec.labels.as_ref().and_then(|labels| labels.get(NAMESPACE)).cloned(),
            image: image_of(template),
            update,
            monitor_ns: monitor
                .and_then(|monitor| u64::try_from(monitor).ok())
                .filter(|monitor| *monitor > 0)
                .unwrap_or(DEFAULT_MONITOR_NS),
        };
        Some((spec.name.clone()?, facts))
    });
    Workloads { services: services.collect(), capacity: capacity.collect() }
}

/// Of a service that says nothing (swarmkit, api/defaults).
const DEFAULT_MONITOR_NS: u64 = 5_000_000_000;

/// The image, less its digest.
fn image_of(template: Option<&TaskSpec>) -> String {
    let image = template.and_then(|template| template.container_spec.as_ref()?.image.clone());
    let image = image.unwrap_or_default();
    image.split_once('@').map_or(image.as_str(), |(name, _)| name).to_owned()
}

fn of_task(task: Task, up_to_date: &BTreeSet<&str>) -> TaskFacts {
    let id = task.id.unwrap_or_default();
    let status = task.status.unwrap_or_default();
    let node_id = task.node_id.unwrap_or_default();
    let container = status.container_status.unwrap_or_default();
    let unix_ms = |time: Option<bollard::models::BollardDate>| {
        time.and_then(|time| u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()).unwrap_or_default()
    };
    TaskFacts {
        is_running: status.state == Some(TaskState::RUNNING),
        is_up_to_date: up_to_date.contains(id.as_str()),
        id,
        container_id: container.container_id.unwrap_or_default(),
        slot: task.slot.filter(|slot| *slot > 0).map_or_else(|| node_id.clone(), |slot| slot.to_string()),
        node_id,
        state: status.state.map(|state| state.to_string()).unwrap_or_default(),
        error: status.err.unwrap_or_default(),
        exit_code: container.exit_code,
        image: image_of(task.spec.as_ref()),
        since_unix_ms: unix_ms(status.timestamp),
        created_unix_ms: unix_ms(task.created_at),
    }
}

fn amount(resources: Option<&ResourceObject>) -> Resources {
    let positive =
        |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default();
    let Some(resources) = resources else { return Resources::default() };
    Resources { nano_cpus: positive(resources.nano_cpus), memory_bytes: positive(resources.memory_bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_a_service_wants_and_where_its_tasks_are_is_read() {
        let nodes: Vec<Node> = read(
            r#"[{"ID": "a", "Description": {"Resources": {"NanoCPUs": 2000000000, "MemoryBytes": 1048576}}}]"#,
        );
        let services: Vec<Service> = read(
            r#"[{"ID": "s", "Spec": {"Name": "web", "Mode": {"Replicated": {"Replicas": 2}}, "TaskTemplate":
                {"Placement": {"Constraints": ["node.labels.db == true"]},
                 "Resources": {"Reservations": {"MemoryBytes": 512}}}}},
               {"ID": "g", "Spec": {"Name": "agent", "Mode": {"Global": {}}}},
               {"ID": "j", "Spec": {"Name": "once", "Mode": {"ReplicatedJob": {}}}}]"#,
        );
        let tasks: Vec<Task> = read(
            r#"[{"ServiceID": "s", "NodeID": "a", "DesiredState": "running", "Status": {"State": "running"}},
               {"ServiceID": "s", "DesiredState": "running", "Status": {"State": "pending"}},
               {"ServiceID": "s", "NodeID": "a", "DesiredState": "shutdown", "Status": {"State": "running"}}]"#,
        );
        let found = workloads(&nodes, &services, tasks, &[]);
        let web = &found.services["web"];
        assert_eq!((web.wanted, web.running(), web.tasks.len()), (Some(2), 1, 2));
        assert_eq!(web.reserved.memory_bytes, 512);
        assert_eq!(web.constraints, ["node.labels.db == true"]);
        assert_eq!(found.services["agent"].wanted, None);
        assert!(!found.services.contains_key("once"), "a job is not waited for");
        assert_eq!(found.capacity["a"], Resources { nano_cpus: 2_000_000_000, memory_bytes: 1_048_576 });
    }
}
