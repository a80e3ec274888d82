//! From the API's answers to what runs in the swarm.

use std::collections::BTreeMap;

use bollard::models::{Node, ResourceObject, Service, Task, TaskState};
use enxame_core::areas::swarm::{Resources, ServiceFacts, TaskFacts, Workloads};

/// What runs, from the swarm's nodes, services and tasks.
pub(crate) fn workloads(nodes: &[Node], services: &[Service], tasks: Vec<Task>) -> Workloads {
    let mut by_service: BTreeMap<String, Vec<TaskFacts>> = BTreeMap::new();
    for task in tasks.into_iter().filter(|task| task.desired_state == Some(TaskState::RUNNING)) {
        let is_running = task.status.and_then(|status| status.state) == Some(TaskState::RUNNING);
        let facts = TaskFacts { node_id: task.node_id.unwrap_or_default(), is_running };
        by_service.entry(task.service_id.unwrap_or_default()).or_default().push(facts);
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
        let tasks = service.id.as_ref().and_then(|id| by_service.get(id)).cloned().unwrap_or_default();
        let facts = ServiceFacts {
            // One, where nobody says (moby, api/types/swarm: defaults).
            wanted: (!is_global).then(|| replicas.and_then(|count| u64::try_from(count).ok()).unwrap_or(1)),
            constraints: constraints.unwrap_or_default(),
            reserved: amount(reserved),
            tasks,
        };
        Some((spec.name.clone()?, facts))
    });
    Workloads { services: services.collect(), capacity: capacity.collect() }
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
        let found = workloads(&nodes, &services, tasks);
        let web = &found.services["web"];
        assert_eq!((web.wanted, web.running(), web.tasks.len()), (Some(2), 1, 2));
        assert_eq!(web.reserved.memory_bytes, 512);
        assert_eq!(web.constraints, ["node.labels.db == true"]);
        assert_eq!(found.services["agent"].wanted, None);
        assert!(!found.services.contains_key("once"), "a job is not waited for");
        assert_eq!(found.capacity["a"], Resources { nano_cpus: 2_000_000_000, memory_bytes: 1_048_576 });
    }
}
