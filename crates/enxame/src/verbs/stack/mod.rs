//! `enxame stack` and `enxame explain`: stacks, judged, compared, deployed and shown.

mod deploy;
mod files;
mod lint;
mod list;

pub(crate) use lint::explain;
pub(super) use lint::of_cluster;

use crate::Ending;
use crate::cli::StackVerb;

pub(super) async fn stack(verb: &StackVerb) -> anyhow::Result<Ending> {
    match verb {
        StackVerb::Lint(arguments) => lint::lint_files(arguments),
        StackVerb::Diff(arguments) => deploy::diff(arguments).await,
        StackVerb::Deploy(arguments) => deploy::deploy(arguments).await,
        StackVerb::Ls(arguments) => list::ls(arguments).await,
        StackVerb::Ps(arguments) => list::ps(arguments).await,
        StackVerb::Rm(arguments) => deploy::rm(arguments).await,
    }
}
