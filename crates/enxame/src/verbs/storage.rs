//! `enxame storage`: the files that the servers share.

use enxame_core::plan;

use crate::cli::{CommonArgs, StorageVerb};
use crate::config_file::{directory_of, load};
use crate::fleet::{Fleet, Locking};
use crate::render::progress::Progress;
use crate::render::storage::StorageStatus;
use crate::{Ending, output};

pub(super) async fn storage(verb: &StorageVerb) -> anyhow::Result<Ending> {
    match verb {
        StorageVerb::Status(arguments) => status(arguments).await,
    }
}

async fn status(arguments: &CommonArgs) -> anyhow::Result<Ending> {
    let config = load(&arguments.config)?;
    let Some(server) = config.storage_node().map(|node| node.name.clone()) else {
        anyhow::bail!(
            "{} shares no files\nhint: write `storage:` there, with what is to be shared: docs/cluster-yaml.md",
            arguments.config.display()
        );
    };
    let progress = Progress::new(&config, arguments.quiet);
    let directory = directory_of(&arguments.config);
    let (fleet, facts, lost) = Fleet::reach(&config, directory, Locking::Free, &progress).await?;
    fleet.close().await;
    progress.finish();
    let plan = plan::make(&config, &facts, None, enxame_core::areas::resources())?;
    let status = StorageStatus::of(&config, &server, &facts, &plan);
    if arguments.json {
        output::json(&status)?;
    } else {
        output::text(&status.text())?;
    }
    super::tell_lost(&lost);
    Ok(if lost.is_empty() { Ending::Done } else { Ending::Unproven })
}
