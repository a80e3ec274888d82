//! What is said of a stack before it is deployed: what loses data, opens a door, never converges, or is not what its author
//! thinks. Pure.
//!
//! A rule is a function in `rules`, a line in its `RULES` and a section in `rules.md`, which is its page and its test: the first
//! example there must be found, the second must not.

mod explain;
mod rules;
#[cfg(test)]
mod tests;
mod waiver;

pub use explain::{PAGES, explain};

use serde::Serialize;
use serde_saphyr::Location;

use super::cluster::Cluster;
use super::compose::{ComposeFile, Service};
use crate::terminal::shown_in_line;
pub(super) use rules::sounds_secret;
use waiver::Waivers;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Could be better.
    Advice,
    /// Is likely not what is meant.
    Warning,
    /// Fails, loses data or opens a door.
    Error,
}

impl Severity {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Advice => "advice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// How bad it is.
    pub severity: Severity,
    /// The rule, for `enxame explain` and for a waiver.
    pub code: &'static str,
    /// The service, where it is about one.
    pub service: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Why it is put up with, where a comment says so.
    pub waived: Option<String>,
}

/// A rule.
struct Rule {
    code: &'static str,
    /// How bad it is, where nothing makes it milder or worse.
    severity: Severity,
    check: fn(&Scope<'_>, &mut Found<'_>),
}

/// What a rule looks at.
struct Scope<'a> {
    file: &'a ComposeFile,
    /// All the files of the cluster, this one too.
    all: &'a [ComposeFile],
    /// What they are to run on, where that is known.
    cluster: Option<&'a Cluster>,
}

impl<'a> Scope<'a> {
    fn services(&self) -> impl Iterator<Item = Service<'a>> {
        self.file.services()
    }
}

/// What a rule finds.
struct Found<'a> {
    file: &'a str,
    code: &'static str,
    severity: Severity,
    findings: &'a mut Vec<Finding>,
}

impl Found<'_> {
    /// For what is milder or worse than the rule's others.
    fn graded(&mut self, severity: Severity) -> Found<'_> {
        Found { file: self.file, code: self.code, severity, findings: self.findings }
    }

    /// Of a service.
    fn of(&mut self, service: Service<'_>, at: Location, message: impl AsRef<str>, hint: impl AsRef<str>) {
        self.push(Some(service.name()), at, message.as_ref(), hint.as_ref());
    }

    /// Of the file.
    fn at(&mut self, at: Location, message: impl AsRef<str>, hint: impl AsRef<str>) {
        self.push(None, at, message.as_ref(), hint.as_ref());
    }

    fn push(&mut self, service: Option<&str>, at: Location, message: &str, hint: &str) {
        self.findings.push(Finding {
            file: shown_in_line(self.file),
            line: at.line(),
            column: at.column(),
            severity: self.severity,
            code: self.code,
            service: service.map(shown_in_line),
            // Both quote the file.
            message: shown_in_line(message),
            hint: shown_in_line(hint),
            waived: None,
        });
    }
}

/// Judges the stacks of one cluster, or files by themselves. What was found, by file and place.
#[must_use]
pub fn lint(files: &[ComposeFile], cluster: Option<&Cluster>) -> Vec<Finding> {
    let mut all = Vec::new();
    for file in files {
        let mut findings = Vec::new();
        for rule in &rules::RULES {
            let mut found =
                Found { file: &file.name, code: rule.code, severity: rule.severity, findings: &mut findings };
            (rule.check)(&Scope { file, all: files, cluster }, &mut found);
        }
        findings.sort();
        findings.dedup();
        Waivers::of(file).apply(&mut findings);
        all.extend(findings);
    }
    all
}
