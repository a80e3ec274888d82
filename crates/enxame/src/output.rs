//! The two streams: data on the standard output, everything else on the standard error.

use std::io::{self, Write};

use enxame_core::config::ConfigError;
use serde::Serialize;

/// Writes text to the standard output, in colour where that is a terminal.
///
/// # Errors
/// When the standard output is gone.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes a value as pretty-printed JSON.
///
/// # Errors
/// When the standard output is gone.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    Ok(text(&(json + "\n"))?)
}

/// Writes text to the standard error.
pub(crate) fn note(text: &str) {
    // Where even the standard error is gone there is nobody to tell.
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

/// Tells an error with its whole chain of causes, once.
pub(crate) fn error(error: &anyhow::Error) {
    if let Some(config) = error.downcast_ref::<ConfigError>() {
        let mut told = String::new();
        let handler = miette::GraphicalReportHandler::new();
        if handler.render_report(&mut told, config).is_ok() {
            note(told.trim_end());
            return;
        }
    }
    note(&format!("error: {error:#}"));
}
