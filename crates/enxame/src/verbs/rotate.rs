//! `enxame rotate`: other keys for what nodes know each other by.

use anyhow::anyhow;
use enxame_core::procedures;

use super::{look_at_nodes, node, tell_lost};
use crate::Ending;
use crate::cli::RotateVerb;
use crate::fleet::Locking;

pub(super) async fn rotate(verb: &RotateVerb) -> anyhow::Result<Ending> {
    let RotateVerb::TunnelKeys(arguments) = verb;
    let look = look_at_nodes(&arguments.common, Locking::Locked).await?;
    look.progress.finish();
    let ending = match procedures::rotate_tunnel_keys(&look.config, &look.facts) {
        Ok(plan) => node::carried_out((&arguments.common, arguments.yes), &look, &plan).await,
        Err(error) => Err(anyhow!("{error}\nhint: {}", error.hint())),
    };
    look.fleet.close().await;
    tell_lost(&look.lost);
    ending
}
