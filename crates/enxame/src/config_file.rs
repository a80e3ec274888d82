//! `cluster.yaml` and the stacks beside it, read from the disk: the same for every verb.

use std::path::Path;

use anyhow::Context;
use enxame_core::config::{Config, LoadedConfig, Stack};

use crate::output;

/// Reads and checks `cluster.yaml` and every file that its `stacks` names.
///
/// # Errors
/// A file that cannot be read; and every problem of the first file that has any, with its line and column.
pub(crate) fn load(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read {} (`enxame init` proposes one; --config names another)", path.display())
    })?;
    let loaded = LoadedConfig::parse(&path.display().to_string(), &text)?;
    let files = loaded.config().stacks.iter();
    let stacks = files
        .map(|stack_of| stack(&directory_of(path).join(&stack_of.file)))
        .collect::<anyhow::Result<Vec<Stack>>>()?;
    if stacks.iter().any(Stack::has_variable_ports) {
        output::note(
            "note: a stack's ports are variables: whether all of `firewall.public_ports` are published cannot be told",
        );
    }
    Ok(loaded.with_stacks(&stacks)?)
}

fn stack(path: &Path) -> anyhow::Result<Stack> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}, which `stacks` names", path.display()))?;
    Ok(Stack::parse(&path.display().to_string(), &text)?)
}

/// What relative paths in `cluster.yaml` are relative to.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new("."))
}
