//! The two streams: data on the standard output, everything else on the standard error.

use std::io::{self, Write};

use enxame_core::config::ConfigError;
use enxame_core::terminal::{REPLACED, drives_a_terminal};
use serde::Serialize;

/// Writes text to the standard output, in colour where that is a terminal.
///
/// # Errors
/// When the standard output is gone.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(printable(text).as_bytes())?;
    stdout.flush()
}

/// The text without what makes a terminal do something else than show it: servers and providers have a part in it, and one
/// that was taken must not reach the operator's terminal. Our own styles and the ends of lines stay.
pub(crate) fn printable(text: &str) -> String {
    /// Select Graphic Rendition (ECMA-48, 8.3.117): what `anstyle` writes for the styles that we use.
    const STYLES: [&str; 6] = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"];
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let style = STYLES.iter().find(|style| rest.starts_with(**style));
        let length = style.map_or(first.len_utf8(), |style| style.len());
        let (head, tail) = rest.split_at(length);
        if style.is_some() || matches!(first, '\n' | '\t') || !drives_a_terminal(first) {
            shown.push_str(head);
        } else {
            shown.push(REPLACED);
        }
        rest = tail;
    }
    shown
}

/// Writes a value as pretty-printed JSON.
///
/// # Errors
/// When the standard output is gone.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let json = escaped(&serde_json::to_string_pretty(value)?);
    let mut stdout = io::stdout().lock();
    stdout.write_all((json + "\n").as_bytes())?;
    Ok(stdout.flush()?)
}

/// The same JSON with what a terminal could take for an order escaped: the value stays.
fn escaped(json: &str) -> String {
    let escape = |one: char| match one {
        '\n' => "\n".to_owned(),
        one if drives_a_terminal(one) => format!("\\u{:04x}", u32::from(one)),
        one => one.to_string(),
    };
    json.chars().map(escape).collect()
}

/// Writes text to the standard error.
pub(crate) fn note(text: &str) {
    // Where even the standard error is gone there is nobody to tell.
    drop(writeln!(anstream::stderr().lock(), "{}", printable(text)));
}

/// Tells an error with its whole chain of causes, once.
pub(crate) fn error(error: &anyhow::Error) {
    if let Some(config) = error.downcast_ref::<ConfigError>() {
        let mut told = String::new();
        let handler = miette::GraphicalReportHandler::new();
        if handler.render_report(&mut told, config).is_ok() {
            // What it quotes of files is clean already; the rest are miette's own styles.
            drop(writeln!(anstream::stderr().lock(), "{}", told.trim_end()));
            return;
        }
    }
    note(&format!("error: {error:#}"));
}

#[cfg(test)]
mod tests {
    use super::{escaped, printable};

    #[test]
    fn json_keeps_its_value_and_drives_no_terminal() {
        let value = serde_json::json!({"a": "\u{9b}31m \u{202e} \u{7f} \u{1b}[2K \u{e9}"});
        let json = escaped(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
        assert_eq!(printable(&json), json);
    }

    #[test]
    fn a_servers_words_cannot_drive_the_terminal_and_our_styles_stay() {
        let ours = "\x1b[1mkvm2\x1b[0m (203.0.113.12)\n\t\x1b[31m-\x1b[0m \u{e9}\n";
        assert_eq!(printable(ours), ours);
        for (evil, shown) in [
            ("\x1b]52;c;cm0gLXJm\x07", "\u{fffd}]52;c;cm0gLXJm\u{fffd}"),
            ("a\x1b[2Kb\x1b[1Ac\rd", "a\u{fffd}[2Kb\u{fffd}[1Ac\u{fffd}d"),
            ("\x1b[8mhidden", "\u{fffd}[8mhidden"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("a\u{202e}b", "a\u{fffd}b"),
        ] {
            assert_eq!(printable(evil), shown);
        }
    }
}
