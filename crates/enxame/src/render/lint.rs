//! What was found in stacks, as text: a line for each, as compilers write it, and the counts.

use std::fmt::Write;

use enxame_core::areas::stacks::lint::{Finding, Severity};

/// Whether an error is there that nobody waived.
pub(crate) fn is_refused(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error && finding.waived.is_none())
}

/// The findings; advice only where it is wanted.
pub(crate) fn text(findings: &[Finding], with_advice: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        if finding.severity == Severity::Advice && !with_advice {
            continue;
        }
        let Finding { file, line, column, code, message, hint, .. } = finding;
        let service = finding.service.as_ref().map(|service| format!("{service}: ")).unwrap_or_default();
        let word = finding.severity.word();
        // Writing to a string does not fail.
        let _ = match &finding.waived {
            Some(reason) => {
                writeln!(
                    text,
                    "{file}:{line}:{column}: waived[{code}]: {service}{message}\n    because: {reason}"
                )
            }
            None => {
                writeln!(text, "{file}:{line}:{column}: {word}[{code}]: {service}{message}\n    hint: {hint}")
            }
        };
    }
    text + &counts(findings)
}

fn counts(findings: &[Finding]) -> String {
    let of = |severity: Severity| {
        findings.iter().filter(|finding| finding.severity == severity && finding.waived.is_none()).count()
    };
    let waived = findings.iter().filter(|finding| finding.waived.is_some()).count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let (errors, warnings, advice) = (of(Severity::Error), of(Severity::Warning), of(Severity::Advice));
    let mut text = format!(
        "stacks: {errors} error{}, {warnings} warning{}, {advice} advice",
        plural(errors),
        plural(warnings)
    );
    if waived > 0 {
        let _ = write!(text, ", {waived} waived");
    }
    if errors + warnings + advice > 0 {
        text.push_str("; `enxame explain CODE` says more");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, waived: Option<&str>) -> Finding {
        Finding {
            file: "web.yaml".to_owned(),
            line: 3,
            column: 12,
            severity,
            code: "floating-tag",
            service: Some("web".to_owned()),
            message: "nginx is another image tomorrow".to_owned(),
            hint: "name a version".to_owned(),
            waived: waived.map(str::to_owned),
        }
    }

    #[test]
    fn every_finding_is_a_line_that_editors_jump_to() {
        let findings = [finding(Severity::Warning, None), finding(Severity::Error, Some("for trying"))];
        let expected = "web.yaml:3:12: warning[floating-tag]: web: nginx is another image tomorrow\n    \
                        hint: name a version\n\
                        web.yaml:3:12: waived[floating-tag]: web: nginx is another image tomorrow\n    \
                        because: for trying\n\
                        stacks: 0 errors, 1 warning, 0 advice, 1 waived; `enxame explain CODE` says more\n";
        assert_eq!(text(&findings, true), expected);
        assert!(!is_refused(&findings));
        assert!(is_refused(&[finding(Severity::Error, None)]));
    }

    #[test]
    fn advice_that_is_not_wanted_is_counted_all_the_same() {
        let text = text(&[finding(Severity::Advice, None)], false);
        assert_eq!(text, "stacks: 0 errors, 0 warnings, 1 advice; `enxame explain CODE` says more\n");
    }
}
