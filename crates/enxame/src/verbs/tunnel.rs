//! `enxame tunnel config`: an operator's own file, with the keys that the nodes have now.

use anyhow::anyhow;
use enxame_core::areas::tunnel::operator::{self, NoFile};
use enxame_core::facts::ClusterFacts;

use crate::cli::{TunnelConfigArgs, TunnelVerb};
use crate::config_file::{directory_of, load};
use crate::fleet::{Fleet, Locking};
use crate::render::progress::Progress;
use crate::{Ending, output};

pub(super) async fn tunnel(verb: &TunnelVerb) -> anyhow::Result<Ending> {
    match verb {
        TunnelVerb::Config(arguments) => config(arguments).await,
    }
}

async fn config(arguments: &TunnelConfigArgs) -> anyhow::Result<Ending> {
    let config = load(&arguments.config)?;
    let told = |error: NoFile| anyhow!("{error}\nhint: {}", error.hint());
    // Whom nobody knows no node is asked about.
    operator::file(&config, &ClusterFacts::default(), &arguments.name).map_err(told)?;
    let progress = Progress::new(&config, arguments.quiet);
    let directory = directory_of(&arguments.config);
    let (fleet, facts, lost) = Fleet::reach(&config, directory, Locking::Free, &progress).await?;
    fleet.close().await;
    progress.finish();
    let file = operator::file(&config, &facts, &arguments.name).map_err(told)?;
    output::text(&file.text)?;
    super::tell_lost(&lost);
    for (node, why) in file.missing.iter().filter(|(node, _)| facts.get(node).is_some()) {
        output::note(&format!("error: {node}: {why}"));
    }
    for node in &file.waiting {
        output::note(&format!(
            "warning: {node} does not let {} in by that key and address yet: `enxame apply`",
            arguments.name
        ));
    }
    Ok(if file.missing.is_empty() { Ending::Done } else { Ending::Unproven })
}
