//! What a terminal takes for an order instead of showing it.
//!
//! Pure. Invariant: of a foreign text only its end of lines and tabulators are left to move the cursor.

/// Stands for a character that must not reach a terminal.
pub const REPLACED: char = '\u{fffd}';

/// Whether a character does something else than being shown: control characters, and what turns the direction of writing
/// (Unicode Standard Annex 9, 2).
#[must_use]
pub fn drives_a_terminal(one: char) -> bool {
    one.is_control() || matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A foreign text of several lines as it may be shown; the ends of lines that Windows writes become ours.
pub(crate) fn shown(text: &str) -> String {
    let one = |one: char| if one != '\n' && one != '\t' && drives_a_terminal(one) { REPLACED } else { one };
    text.replace("\r\n", "\n").chars().map(one).collect()
}

/// A foreign text as it may be shown within one line.
pub(crate) fn shown_in_line(text: &str) -> String {
    text.chars().map(|one| if drives_a_terminal(one) { REPLACED } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_keeps_its_lines_and_drives_nothing() {
        assert_eq!(
            shown("a: \u{1b}[2Jb\u{9b}1A\r\n\tc\rd\u{202e}"),
            "a: \u{fffd}[2Jb\u{fffd}1A\n\tc\u{fffd}d\u{fffd}"
        );
        assert_eq!(shown_in_line("a\nb\tc\u{7f}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
    }
}
