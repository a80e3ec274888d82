//! The probe on the engine: image, service, containers, and their removal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::time::Duration;

use bollard::models::{
    EndpointPortConfig, EndpointPortConfigPublishModeEnum, EndpointSpec, NetworkAttachmentConfig,
    ServiceSpec, ServiceSpecMode, Task, TaskSpec, TaskSpecContainerSpec, TaskSpecRestartPolicy,
    TaskSpecRestartPolicyConditionEnum, TaskState,
};
use bollard::query_parameters::{
    ImportImageOptionsBuilder, InspectContainerOptions, InspectServiceOptions, ListContainersOptionsBuilder,
    ListImagesOptionsBuilder, ListServicesOptionsBuilder, ListTasksOptionsBuilder, RemoveImageOptionsBuilder,
};
use enxame_core::areas::firewall::PROBE_PORT;
use enxame_core::probe::{Deployed, Deployment, ENV_MARKER, ENV_NODE, LABEL, ProbeTask, RESPONDER_PORT};
use futures::{TryStreamExt, stream};

use super::ProbeError;
use super::exchange::Deadline;
use super::image::Archive;
use crate::cancel::{Cancel, TICK};
use crate::engine::Engine;
use crate::swarm::LOOK;

/// How long it may take to load the image.
const LOAD: Duration = Duration::from_secs(120);

/// How long containers may take to go once their service is removed.
const GONE: Duration = Duration::from_secs(60);

/// How often to look again.
const PAUSE: Duration = Duration::from_millis(250);

type Filters = HashMap<String, Vec<String>>;

fn labelled(value: Option<&str>) -> Filters {
    let label = value.map_or_else(|| LABEL.to_owned(), |value| format!("{LABEL}={value}"));
    HashMap::from([("label".to_owned(), vec![label])])
}

/// The service's name.
pub(super) fn service_name(run: &str) -> String {
    format!("enxame-probe-{run}")
}

/// Loads this very binary as an image and gives its id. Images of other builds are removed.
pub(super) fn load_image(engine: &Engine, cancel: &Cancel) -> Result<String, ProbeError> {
    let binary = File::open("/proc/self/exe").map_err(ProbeError::system("open /proc/self/exe"))?;
    let archive = Archive::of(binary).map_err(ProbeError::system("read /proc/self/exe"))?;
    let reference = archive.reference.clone();
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let load = engine.api().import_image_stream(options, stream::iter(archive.pieces()), None);
    let load = async {
        tokio::select! {
            loaded = load.try_for_each(|_| async { Ok(()) }) => loaded.map(Some),
            () = said(cancel) => Ok(None),
        }
    };
    engine.call("load the probe's image", LOAD, load)?.ok_or(ProbeError::Cancelled)?;
    let image = engine.call("inspect the probe's image", LOOK, engine.api().inspect_image(&reference))?;
    let id = image.id.ok_or(ProbeError::Incomplete("image id"))?;
    // An image still in use by another run stays.
    let _ = remove_images(engine, Some(&id));
    Ok(id)
}

async fn said(cancel: &Cancel) {
    while !cancel.is_set() {
        tokio::time::sleep(TICK).await;
    }
}

/// Removes the probe's images, except one.
pub(super) fn remove_images(engine: &Engine, except: Option<&str>) -> Result<(), ProbeError> {
    let options = ListImagesOptionsBuilder::default().all(true).filters(&labelled(None)).build();
    let images = engine.call("list images", LOOK, engine.api().list_images(Some(options)))?;
    for image in images.into_iter().filter(|image| Some(image.id.as_str()) != except) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        let removal = engine.api().remove_image(&image.id, Some(options), None);
        tolerate_absence(engine.call("remove the probe's image", LOOK, removal))?;
    }
    Ok(())
}

/// Creates the service and waits until it runs everywhere, or the time is over.
pub(super) fn deploy(
    engine: &Engine,
    deployment: &Deployment,
    cancel: &Cancel,
    progress: &mut dyn FnMut(&str),
) -> Result<Deployed, ProbeError> {
    let service = service_name(&deployment.run);
    engine.call(
        "create the probe's service",
        LOOK,
        engine.api().create_service(specification(deployment), None),
    )?;
    let deadline = Deadline::after(Duration::from_secs(deployment.wait_seconds));
    let mut told = None;
    loop {
        if cancel.is_set() {
            return Err(ProbeError::Cancelled);
        }
        let tasks = tasks(engine, &service)?;
        let running: BTreeSet<String> = tasks
            .iter()
            .filter(|task| state(task) == Some(TaskState::RUNNING))
            .filter_map(|task| task.node_id.clone())
            .collect();
        let published_port = published_port(engine, &service)?;
        let missing: BTreeSet<&String> = deployment.nodes.difference(&running).collect();
        if (missing.is_empty() && published_port.is_some() == deployment.publishes_a_port)
            || deadline.left().is_err()
        {
            let missing = missing.into_iter().map(|node| (node.clone(), why_missing(&tasks, node))).collect();
            return Ok(Deployed { service, published_port, running, missing });
        }
        if told != Some(running.len()) {
            progress(&format!("the probe runs on {} of {} nodes", running.len(), deployment.nodes.len()));
            told = Some(running.len());
        }
        cancel.sleep(PAUSE);
    }
}

#[expect(
    clippy::zero_sized_map_values,
    reason = "the API's empty object `Global: {}` is such a map in bollard"
)]
fn specification(deployment: &Deployment) -> ServiceSpec {
    let labels = HashMap::from([(LABEL.to_owned(), deployment.run.clone())]);
    let container = TaskSpecContainerSpec {
        // By id: the engine asks no registry for it (moby, daemon/cluster/executor/container/adapter.go).
        image: Some(deployment.image.clone()),
        labels: Some(labels.clone()),
        env: Some(vec![
            format!("{ENV_MARKER}={}", deployment.marker),
            format!("{ENV_NODE}={{{{.Node.ID}}}}"),
        ]),
        read_only: Some(true),
        capability_drop: Some(vec!["ALL".to_owned()]),
        // Process 1 ignores SIGTERM unless it asks for it, and there is nothing to save.
        stop_signal: Some("SIGKILL".to_owned()),
        stop_grace_period: Some(0),
        ..TaskSpecContainerSpec::default()
    };
    let networks = deployment.networks.iter().map(|network| NetworkAttachmentConfig {
        target: Some(network.id.clone()),
        ..NetworkAttachmentConfig::default()
    });
    let port = EndpointPortConfig {
        target_port: Some(RESPONDER_PORT.into()),
        // The one that the nodes let in from each other.
        published_port: Some(PROBE_PORT.into()),
        publish_mode: Some(EndpointPortConfigPublishModeEnum::INGRESS),
        ..EndpointPortConfig::default()
    };
    ServiceSpec {
        name: Some(service_name(&deployment.run)),
        labels: Some(labels),
        task_template: Some(TaskSpec {
            container_spec: Some(container),
            networks: Some(networks.collect()),
            restart_policy: Some(TaskSpecRestartPolicy {
                condition: Some(TaskSpecRestartPolicyConditionEnum::ON_FAILURE),
                delay: Some(1_000_000_000),
                max_attempts: Some(5),
                ..TaskSpecRestartPolicy::default()
            }),
            ..TaskSpec::default()
        }),
        mode: Some(ServiceSpecMode { global: Some(HashMap::new()), ..ServiceSpecMode::default() }),
        endpoint_spec: Some(EndpointSpec {
            ports: deployment.publishes_a_port.then(|| vec![port]),
            ..EndpointSpec::default()
        }),
        ..ServiceSpec::default()
    }
}

fn tasks(engine: &Engine, service: &str) -> Result<Vec<Task>, ProbeError> {
    let filters: Filters = HashMap::from([("service".to_owned(), vec![service.to_owned()])]);
    let options = ListTasksOptionsBuilder::default().filters(&filters).build();
    Ok(engine.call("list the probe's tasks", LOOK, engine.api().list_tasks(Some(options)))?)
}

fn state(task: &Task) -> Option<TaskState> {
    task.status.as_ref()?.state
}

fn published_port(engine: &Engine, service: &str) -> Result<Option<u16>, ProbeError> {
    let inspect = engine.api().inspect_service(service, None::<InspectServiceOptions>);
    let service = engine.call("inspect the probe's service", LOOK, inspect)?;
    let ports = service.endpoint.and_then(|endpoint| endpoint.ports).unwrap_or_default();
    Ok(ports
        .iter()
        .find_map(|port| port.published_port)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0))
}

/// What the newest task of a node, and the newest that failed, say about themselves.
fn why_missing(tasks: &[Task], node: &str) -> String {
    let of_node = || tasks.iter().filter(|task| task.node_id.as_deref() == Some(node));
    let error =
        |task: &Task| task.status.as_ref().and_then(|status| status.err.clone()).filter(|e| !e.is_empty());
    let newest = |tasks: &mut dyn Iterator<Item = &Task>| -> Option<Task> {
        tasks.max_by_key(|task| task.version.as_ref().and_then(|version| version.index)).cloned()
    };
    if let Some(text) = newest(&mut of_node().filter(|task| error(task).is_some())).as_ref().and_then(error) {
        return text;
    }
    match newest(&mut of_node()) {
        Some(task) => match (state(&task), task.status.and_then(|status| status.message)) {
            (Some(state), message) => format!("the task is {state}: {}", message.unwrap_or_default()),
            (None, _) => "the task has no state".to_owned(),
        },
        None => "the swarm placed no task there: the node is down, paused or drained".to_owned(),
    }
}

/// This node's container of a run.
pub(super) fn locate(engine: &Engine, run: &str) -> Result<ProbeTask, ProbeError> {
    let options = ListContainersOptionsBuilder::default().filters(&labelled(Some(run))).build();
    let containers = engine.call("list containers", LOOK, engine.api().list_containers(Some(options)))?;
    let container = containers.into_iter().next().and_then(|container| container.id);
    let container = container.ok_or(ProbeError::Incomplete("running container of the probe"))?;
    let inspect = engine.api().inspect_container(&container, None::<InspectContainerOptions>);
    let settings = engine.call("inspect the probe's container", LOOK, inspect)?.network_settings;
    let networks = settings.and_then(|settings| settings.networks).unwrap_or_default();
    let addresses = networks.into_values().filter_map(|network| {
        let address = network.ip_address?.parse().ok()?;
        Some((network.network_id?, address))
    });
    Ok(ProbeTask { container, addresses: addresses.collect::<BTreeMap<_, _>>() })
}

/// The first process of a container, as the host numbers it.
pub(super) fn process_of(engine: &Engine, container: &str) -> Result<i64, ProbeError> {
    let inspect = engine.api().inspect_container(container, None::<InspectContainerOptions>);
    let state = engine.call("inspect the probe's container", LOOK, inspect)?.state;
    let process = state.and_then(|state| state.pid).filter(|process| *process > 0);
    process.ok_or(ProbeError::Incomplete("process of the probe's container: it does not run"))
}

/// Removes a run's service.
pub(super) fn remove_service(engine: &Engine, run: &str) -> Result<(), ProbeError> {
    let name = service_name(run);
    let removal = engine.api().delete_service(&name);
    tolerate_absence(engine.call("remove the probe's service", LOOK, removal))
}

/// Removes the services that runs before left behind. For a manager.
pub(super) fn remove_leftovers(engine: &Engine, progress: &mut dyn FnMut(&str)) -> Result<(), ProbeError> {
    let options = ListServicesOptionsBuilder::default().filters(&labelled(None)).build();
    let services = engine.call("list services", LOOK, engine.api().list_services(Some(options)))?;
    for name in services.into_iter().filter_map(|service| service.spec?.name) {
        progress(&format!("removing {name}, which an earlier run left behind"));
        let removal = engine.api().delete_service(&name);
        tolerate_absence(engine.call("remove an earlier probe's service", LOOK, removal))?;
    }
    Ok(())
}

/// Waits until no container of a probe is left on this node.
pub(super) fn await_no_containers(engine: &Engine) -> Result<(), ProbeError> {
    let deadline = Deadline::after(GONE);
    loop {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&labelled(None)).build();
        let left = engine.call("list containers", LOOK, engine.api().list_containers(Some(options)))?;
        if left.is_empty() {
            return Ok(());
        }
        if deadline.left().is_err() {
            let what = "the end of the probe's containers".to_owned();
            return Err(ProbeError::TimedOut { what, seconds: GONE.as_secs() });
        }
        std::thread::sleep(PAUSE);
    }
}

fn tolerate_absence<T>(outcome: Result<T, crate::engine::EngineError>) -> Result<(), ProbeError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if error.status() == Some(404) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
