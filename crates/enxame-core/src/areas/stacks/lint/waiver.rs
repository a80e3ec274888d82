//! Waivers: `# enxame: allow CODE: REASON`, on the line itself or alone on the line above. An error that is waived is said, and stands in
//! nobody's way.

use super::super::compose::ComposeFile;
use super::{Finding, Severity, rules};

const MARK: &str = "# enxame: allow ";
/// What is said of waivers themselves.
const CODE: &str = "waiver";

struct Waiver {
    /// Where it stands, from 1.
    line: u64,
    /// Which line it is for.
    of: u64,
    code: String,
    reason: String,
}

/// The waivers of a file.
pub(super) struct Waivers {
    file: String,
    all: Vec<Waiver>,
}

impl Waivers {
    pub(super) fn of(file: &ComposeFile) -> Self {
        let lines = file.text.lines().zip(1..);
        let all = lines.filter_map(|(text, line)| {
            let (before, waiver) = text.split_once(MARK)?;
            let (code, reason) = waiver.split_once(':').unwrap_or((waiver, ""));
            let of = if before.trim().is_empty() { line + 1 } else { line };
            Some(Waiver { line, of, code: code.trim().to_owned(), reason: reason.trim().to_owned() })
        });
        Self { file: file.name.clone(), all: all.collect() }
    }

    /// Marks what is waived, and says which waivers waive nothing.
    pub(super) fn apply(self, findings: &mut Vec<Finding>) {
        for waiver in &self.all {
            let mut is_used = false;
            for finding in findings.iter_mut() {
                if finding.code == waiver.code && finding.line == waiver.of {
                    is_used = true;
                    finding.waived = Some(waiver.reason.clone()).filter(|reason| !reason.is_empty());
                }
            }
            let message = if rules::RULES.iter().all(|rule| rule.code != waiver.code) {
                format!("there is no rule {}", waiver.code)
            } else if waiver.reason.is_empty() {
                "this waiver gives no reason, and waives nothing".to_owned()
            } else if !is_used {
                format!("{} finds nothing here: the waiver can go", waiver.code)
            } else {
                continue;
            };
            findings.push(Finding {
                file: self.file.clone(),
                line: waiver.line,
                column: 1,
                severity: Severity::Warning,
                code: CODE,
                service: None,
                message,
                hint: format!("{MARK}CODE: REASON, at the end of the line or alone above it"),
                waived: None,
            });
        }
        findings.sort();
    }
}
