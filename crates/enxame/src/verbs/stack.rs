//! `enxame stack` and `enxame explain`: what is said of stacks before they are deployed.

use std::path::{Path, PathBuf};

use anyhow::Context;
use enxame_core::areas::stacks::lint::{Finding, PAGES, explain as page_of, lint};
use enxame_core::areas::stacks::{Cluster, ComposeFile, Environment};
use enxame_core::config::Config;
use enxame_core::facts::ClusterFacts;

use crate::cli::{ExplainArgs, StackLintArgs, StackVerb};
use crate::config_file::{directory_of, load};
use crate::render::lint::{is_refused, text};
use crate::{Ending, output};

pub(crate) fn stack(verb: &StackVerb) -> anyhow::Result<Ending> {
    match verb {
        StackVerb::Lint(arguments) => lint_files(arguments),
    }
}

/// The cluster's file, where none is named.
const CLUSTER_FILE: &str = "cluster.yaml";

/// Judges files, against the cluster where there is a `cluster.yaml`. Asks no server.
fn lint_files(arguments: &StackLintArgs) -> anyhow::Result<Ending> {
    let beside = Path::new(CLUSTER_FILE);
    let config = arguments.config.as_deref().or_else(|| {
        // Files by themselves need none; without either, what is missing is said by reading it.
        (arguments.files.is_empty() || beside.exists()).then_some(beside)
    });
    let findings = match config {
        Some(path) => {
            let config = load(path)?;
            let named = files_of(&config, path);
            let files = if arguments.files.is_empty() { &named } else { &arguments.files };
            judge(files, Some(&Cluster::of(&config, None)))?
        }
        None => judge(&arguments.files, None)?,
    };
    if arguments.json {
        output::json(&findings)?;
    } else {
        output::text(&text(&findings, true))?;
    }
    Ok(if is_refused(&findings) { Ending::Unproven } else { Ending::Done })
}

/// Judges the stacks of a cluster that was looked at.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn of_cluster(config: &Config, path: &Path, facts: &ClusterFacts) -> anyhow::Result<Vec<Finding>> {
    judge(&files_of(config, path), Some(&Cluster::of(config, Some(facts))))
}

fn files_of(config: &Config, path: &Path) -> Vec<PathBuf> {
    config.stacks.iter().map(|file| directory_of(path).join(file)).collect()
}

fn judge(files: &[PathBuf], cluster: Option<&Cluster>) -> anyhow::Result<Vec<Finding>> {
    let environment = match cluster {
        // Docker reads the environment that it is started in; what is not a text is none of a stack's.
        Some(_) => Environment::Known(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        ),
        None => Environment::Unknown,
    };
    let read = |path: &PathBuf| {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        Ok(ComposeFile::parse(&name, &text, &environment)?)
    };
    let files = files.iter().map(read).collect::<anyhow::Result<Vec<ComposeFile>>>()?;
    Ok(lint(&files, cluster))
}

pub(crate) fn explain(arguments: &ExplainArgs) -> anyhow::Result<Ending> {
    let Some(code) = &arguments.code else {
        output::text(PAGES)?;
        return Ok(Ending::Done);
    };
    match page_of(code) {
        Some(page) => output::text(&format!("{page}\n"))?,
        None => anyhow::bail!("there is no rule {code}\nhint: `enxame explain` prints the pages of all"),
    }
    Ok(Ending::Done)
}
