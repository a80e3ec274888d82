//! `enxame stack lint` and `enxame explain`: what is said of stacks before they are deployed.

use std::path::{Path, PathBuf};

use anyhow::Context;
use enxame_core::areas::stacks::lint::{Finding, PAGES, explain as page_of, lint};
use enxame_core::areas::stacks::{Cluster, ComposeFile, Environment};
use enxame_core::config::{Config, StackConfig};
use enxame_core::facts::ClusterFacts;

use super::files::environment;
use crate::cli::{ExplainArgs, StackLintArgs};
use crate::config_file::{directory_of, load};
use crate::render::lint::{is_refused, text};
use crate::{Ending, output};

/// The cluster's file, where none is named.
const CLUSTER_FILE: &str = "cluster.yaml";

/// Judges files, against the cluster where there is a `cluster.yaml`. Asks no server.
pub(super) fn lint_files(arguments: &StackLintArgs) -> anyhow::Result<Ending> {
    let beside = Path::new(CLUSTER_FILE);
    let config = arguments.config.as_deref().or_else(|| {
        // Files by themselves need none; without either, what is missing is said by reading it.
        (arguments.files.is_empty() || beside.exists()).then_some(beside)
    });
    let findings = match config {
        Some(path) => of_files(&load(path)?, path, &arguments.files)?,
        None => lint(&read_all(&arguments.files, |_| Ok(Environment::Unknown))?, None),
    };
    if arguments.json {
        output::json(&findings)?;
    } else {
        output::text(&text(&findings, true))?;
    }
    Ok(if is_refused(&findings) { Ending::Unproven } else { Ending::Done })
}

/// Judges these files against a cluster; its own, where there are none.
fn of_files(config: &Config, path: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let known =
        |file: &Path| config.stacks.iter().find(|stack| is_same(&directory_of(path).join(&stack.file), file));
    let files = if files.is_empty() {
        read_stacks(config, path, &config.stacks)?
    } else {
        read_all(files, |file| environment(config, path, known(file)))?
    };
    Ok(lint(&files, Some(&Cluster::of(config, None))))
}

fn read_all(
    files: &[PathBuf],
    environment: impl Fn(&Path) -> anyhow::Result<Environment>,
) -> anyhow::Result<Vec<ComposeFile>> {
    files.iter().map(|file| read(file, &environment(file)?)).collect()
}

fn is_same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().ok();
    whole(one).is_some_and(|one| whole(other) == Some(one))
}

/// Judges the stacks of a cluster that was looked at: all of them, since some rules are about several.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn of_cluster(config: &Config, path: &Path, facts: &ClusterFacts) -> anyhow::Result<Vec<Finding>> {
    Ok(lint(&read_stacks(config, path, &config.stacks)?, Some(&Cluster::of(config, Some(facts)))))
}

fn read_stacks(config: &Config, path: &Path, stacks: &[StackConfig]) -> anyhow::Result<Vec<ComposeFile>> {
    let read = |stack: &StackConfig| {
        read(&directory_of(path).join(&stack.file), &environment(config, path, Some(stack))?)
    };
    stacks.iter().map(read).collect()
}

/// Reads a compose file.
pub(super) fn read(path: &Path, environment: &Environment) -> anyhow::Result<ComposeFile> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Ok(ComposeFile::parse(&name, &text, environment)?)
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
