//! Removes services that a stack's file has no more.

use enxame_core::areas::stacks::prune::Action;

use crate::actuate::{ActuateError, Context};
use crate::areas::stacks::convert::NAMESPACE;
use crate::swarm::{LOOK, WRITE};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let engine = on.engine()?;
    for name in &action.services {
        let seen = engine.call("show a service", LOOK, engine.api().inspect_service(name, None));
        let service = match seen {
            // Somebody was faster.
            Err(error) if error.status() == Some(404) => continue,
            seen => seen?,
        };
        let labels = service.spec.and_then(|spec| spec.labels).unwrap_or_default();
        if labels.get(NAMESPACE).map(String::as_str) != Some(action.stack.as_str()) {
            let message = format!("the service {name} is not the stack {}'s any more", action.stack);
            return Err(ActuateError::wrong(message, "look at it anew: `enxame stack diff`"));
        }
        (on.progress)(&format!("removing {name}"));
        engine.call("remove a service", WRITE, engine.api().delete_service(name))?;
    }
    Ok(())
}
