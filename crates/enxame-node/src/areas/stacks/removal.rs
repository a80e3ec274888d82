//! Takes a stack away, and waits until nothing of it runs.

use std::time::Duration;

use bollard::query_parameters::ListTasksOptions;
use enxame_core::areas::stacks::removal::Action;

use super::command;
use crate::actuate::{ActuateError, Context, wait_for};
use crate::areas::stacks::convert::NAMESPACE;
use crate::swarm::LOOK;

/// A container that does not end is killed after its grace period.
const GONE: Duration = Duration::from_secs(5 * 60);

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    command::remove(on.host, action.stack.as_str())?;
    let engine = on.engine()?;
    (on.progress)(&format!("waiting until nothing of {} runs", action.stack));
    wait_for(GONE, ActuateError::is_final, || {
        let filters = [("label".to_owned(), vec![format!("{NAMESPACE}={}", action.stack)])];
        let options = ListTasksOptions { filters: Some(filters.into()) };
        let left = engine.call("list the stack's tasks", LOOK, engine.api().list_tasks(Some(options)))?;
        let running = left.iter().filter(|task| {
            let state = task.status.as_ref().and_then(|status| status.state);
            state.is_some_and(|state| {
                ["running", "starting", "preparing"].contains(&state.to_string().as_str())
            })
        });
        match running.count() {
            0 => Ok(()),
            count => Err(ActuateError::wrong(
                format!("{count} tasks of {} run still", action.stack),
                "asking again goes on",
            )),
        }
    })
}
