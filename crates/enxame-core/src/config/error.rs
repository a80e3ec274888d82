//! Errors of `cluster.yaml`: every problem with its line and column, all of them at once.
//!
//! Invariant: what is quoted of a file is fit for a terminal.

use miette::{Diagnostic, NamedSource, SourceSpan};
use serde_saphyr::Location;
use thiserror::Error;

use crate::terminal::{shown, shown_in_line};

/// What is wrong with a `cluster.yaml`. Rendered by miette, it shows each place in the file.
#[derive(Debug, Error, Diagnostic)]
#[error("{name}: {}", count(problems.len()))]
#[diagnostic(code(enxame::config))]
pub struct ConfigError {
    name: String,
    #[related]
    problems: Vec<Problem>,
}

/// One problem and its place.
#[derive(Debug, Error, Diagnostic)]
#[error("{place}: {message}")]
pub struct Problem {
    message: String,
    place: String,
    #[source_code]
    file: NamedSource<String>,
    #[label("here")]
    span: Option<SourceSpan>,
    #[help]
    hint: Option<String>,
}

impl ConfigError {
    /// What the YAML reader or a type refused.
    pub(super) fn of_yaml(name: &str, text: &str, error: &serde_saphyr::Error) -> Self {
        let hint = "`enxame schema` prints the JSON Schema of this file; editors can check against it";
        Self::refused((name, text), error, hint)
    }

    /// The same of a compose file.
    pub(crate) fn of_compose(name: &str, text: &str, error: &serde_saphyr::Error) -> Self {
        Self::refused(
            (name, text),
            error,
            "`docker stack config --compose-file FILE` says what Docker makes of it",
        )
    }

    fn refused((name, text): (&str, &str), error: &serde_saphyr::Error, hint: &str) -> Self {
        let message = error.without_snippet().to_string();
        // The reader repeats the place in its text; ours stands in front already.
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        let place = error.location().unwrap_or(Location::UNKNOWN);
        let problem = Problem::new((name, text), &message, place, Some(hint.to_owned()));
        Self { name: shown_in_line(name), problems: vec![problem] }
    }

    /// One problem found after the file was read.
    pub(crate) fn of_one(name: &str, problem: Problem) -> Self {
        Self { name: shown_in_line(name), problems: vec![problem] }
    }

    /// Problems found after the file was read; `None` when there are none.
    pub(super) fn of_problems(name: &str, problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then(|| Self { name: shown_in_line(name), problems })
    }

    /// The problems, in the file's order.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    pub(crate) fn new(
        (name, text): (&str, &str),
        message: &str,
        place: Location,
        hint: Option<String>,
    ) -> Self {
        let name = shown_in_line(name);
        let known = place != Location::UNKNOWN;
        let written =
            if known { format!("{name}:{}:{}", place.line(), place.column()) } else { name.clone() };
        Self {
            message: shown_in_line(message),
            place: written,
            file: NamedSource::new(name, shown(text)),
            span: if known { span(text, place) } else { None },
            hint: hint.map(|hint| shown_in_line(&hint)),
        }
    }
}

/// The place in the text as it is shown, which may be longer or shorter than the file's.
fn span(text: &str, place: Location) -> Option<SourceSpan> {
    let span = place.span();
    let at = usize::try_from(span.byte_offset()?).ok()?;
    let end = at.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    let start = shown(text.get(..at)?).len();
    let length = text.get(at..end).map_or(0, |marked| shown(marked).len());
    Some(SourceSpan::new(start.into(), length.clamp(1, (text.len() - at).max(1))))
}

/// The problems found so far, and where they are.
pub(super) struct Problems<'a> {
    name: &'a str,
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) fn of(name: &'a str, text: &'a str) -> Self {
        Self { name, text, found: Vec::new() }
    }

    /// What was read, unless there were problems.
    pub(super) fn into_result<T>(self, read: T) -> Result<T, ConfigError> {
        ConfigError::of_problems(self.name, self.found).map_or(Ok(read), Err)
    }

    pub(super) fn add(&mut self, place: Location, message: impl Into<String>, hint: &str) {
        let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        self.found.push(Problem::new((self.name, self.text), &message.into(), place, hint));
    }
}

fn count(problems: usize) -> String {
    match problems {
        1 => "1 problem".to_owned(),
        several => format!("{several} problems"),
    }
}
