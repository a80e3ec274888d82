//! The stacks and their tasks.

use crate::cli::{CommonArgs, StackPsArgs};
use crate::fleet::Locking;
use crate::render::stacks::{Stacks, Tasks};
use crate::verbs::{look_at_nodes, tell_lost};
use crate::{Ending, output};

pub(super) async fn ls(arguments: &CommonArgs) -> anyhow::Result<Ending> {
    let look = look_at_nodes(arguments, Locking::Free).await?;
    look.fleet.close().await;
    look.progress.finish();
    tell_lost(&look.lost);
    let stacks = Stacks::of(&look.config, &look.facts)?;
    if arguments.json {
        output::json(&stacks)?;
    } else {
        output::text(&stacks.text())?;
    }
    Ok(Ending::Done)
}

pub(super) async fn ps(arguments: &StackPsArgs) -> anyhow::Result<Ending> {
    let look = look_at_nodes(&arguments.common, Locking::Free).await?;
    look.fleet.close().await;
    look.progress.finish();
    tell_lost(&look.lost);
    let tasks = Tasks::of(&look.config, &look.facts, &arguments.stack)?;
    if arguments.common.json {
        output::json(&tasks)?;
    } else {
        output::text(&tasks.text())?;
    }
    Ok(Ending::Done)
}
