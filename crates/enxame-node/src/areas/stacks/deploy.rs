//! Deploys a stack.

use enxame_core::areas::stacks::Bundle;
use enxame_core::areas::stacks::deploy::Action;

use super::command::{self, Scratch};
use crate::actuate::{ActuateError, Context};

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let Some(handed) = on.handed else {
        let message = format!("the files of the stack {} were not handed over", action.stack);
        return Err(ActuateError::wrong(message, "this is a defect of enxame"));
    };
    let bundle = Bundle::opened(handed)?;
    let scratch = Scratch::make()?;
    scratch.unpack(&bundle)?;
    (on.progress)(&format!("docker stack deploy {}", action.stack));
    command::deploy(on.host, &bundle, scratch.path(), on.host.engine_socket())?;
    Ok(())
}
