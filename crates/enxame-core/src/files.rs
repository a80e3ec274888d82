//! Files that enxame owns, whole or as a marked block, and how they differ from what is there.

use std::borrow::Cow;

use crate::change::Difference;
use crate::facts::{FileFacts, NodeFacts};
use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};

/// The first line of files that enxame owns whole.
pub const HEADER: &str = "# Written by enxame. Changes made here are undone by the next `enxame apply`.\n";

/// What every build's header begins with.
const OWNED: &str = "# Written by enxame.";

/// Whether a file's text says that enxame owns it whole.
#[must_use]
pub fn is_owned(text: &str) -> bool {
    text.starts_with(OWNED)
}

const BLOCK_BEGIN: &str = "# BEGIN enxame (changes in this block are undone by the next `enxame apply`)";
const BLOCK_END: &str = "# END enxame";
/// The last line of a block.
pub(crate) const BLOCK_END_LINE: &str = "# END enxame\n";

/// A file that enxame owns whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedFile {
    /// Where it is.
    pub path: String,
    /// All of its text.
    pub content: String,
    /// Its permission bits.
    pub mode: u32,
}

impl OwnedFile {
    /// A file that everybody may read.
    pub fn new(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self { path: path.into(), content: content.into(), mode: 0o644 }
    }

    /// How what is there differs; empty when it does not.
    #[must_use]
    pub fn differences(&self, facts: &NodeFacts) -> Vec<Difference> {
        match facts.files.get(&self.path) {
            Some(FileFacts::Text { content, mode, .. }) => {
                let mut found = line_differences(self.path.clone(), content, &self.content);
                if *mode != self.mode {
                    found.push(Difference::changed(
                        format!("{} (mode)", self.path),
                        format!("{mode:04o}"),
                        format!("{:04o}", self.mode),
                    ));
                }
                found
            }
            Some(FileFacts::Unreadable(why)) => {
                vec![Difference::changed(
                    self.path.clone(),
                    format!("({why})"),
                    format!("{} lines", self.content.lines().count()),
                )]
            }
            Some(FileFacts::Absent) | None => line_differences(self.path.clone(), "", &self.content),
        }
    }
}

/// The lines that go and come between two texts.
#[must_use]
pub fn line_differences(path: impl Into<Cow<'static, str>>, old: &str, new: &str) -> Vec<Difference> {
    if old == new {
        return Vec::new();
    }
    let path = path.into();
    // What both begin and end with is most of a long file; where only one has lines between, there is nothing to match.
    let (old, new) = without_common_ends(old, new);
    if old.is_empty() || new.is_empty() {
        let mut found = Vec::with_capacity(old.lines().count() + new.lines().count());
        found.extend(old.lines().map(|line| Difference::removed(path.clone(), line)));
        found.extend(new.lines().map(|line| Difference::added(path.clone(), line)));
        return found;
    }
    let diff = TextDiff::from_lines(old, new);
    diff.iter_all_changes()
        .filter_map(|change| {
            let line = change.value().trim_end_matches('\n').to_owned();
            match change.tag() {
                ChangeTag::Delete => Some(Difference::removed(path.clone(), line)),
                ChangeTag::Insert => Some(Difference::added(path.clone(), line)),
                ChangeTag::Equal => None,
            }
        })
        .collect()
}

/// What is left of two texts without the whole lines that both begin and both end with.
fn without_common_ends<'a>(old: &'a str, new: &'a str) -> (&'a str, &'a str) {
    let same = |(old, new): &(&str, &str)| old == new;
    let length = |pairs: &mut dyn Iterator<Item = (&str, &str)>| -> usize {
        pairs.take_while(same).map(|(line, _)| line.len()).sum()
    };
    let start = length(&mut old.split_inclusive('\n').zip(new.split_inclusive('\n')));
    let (old, new) = (old.get(start..).unwrap_or_default(), new.get(start..).unwrap_or_default());
    let end = length(&mut old.split_inclusive('\n').rev().zip(new.split_inclusive('\n').rev()));
    let head = |text: &'a str| text.get(..text.len() - end).unwrap_or_default();
    (head(old), head(new))
}

/// Where the bytes 0x80 to 0xFF that are no UTF-8 stand in a text: private characters that nobody has a glyph for.
const STRAY: std::ops::RangeInclusive<u32> = 0x10_FE80..=0x10_FEFF;

/// The text of a file, whatever its encoding: bytes that are no UTF-8 become private characters, one for one, so that
/// [`bytes_of`] gives every file back as it was. Where a file has such a character itself, its bytes do.
#[must_use]
pub fn text_of(bytes: &[u8]) -> String {
    let stray = |byte: u8| {
        char::from_u32(STRAY.start() - 0x80 + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if STRAY.contains(&u32::from(character)) {
                text.extend(character.encode_utf8(&mut [0; 4]).bytes().map(stray));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stray));
    }
    text
}

/// The bytes of a text that [`text_of`] made.
#[must_use]
pub fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character).checked_sub(STRAY.start() - 0x80).map(u8::try_from) {
            Some(Ok(byte)) if byte >= 0x80 => bytes.push(byte),
            _ => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// A marked block that is not well-formed, so that nobody can say what is ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the enxame block is not well-formed: {0}")]
pub struct BrokenBlock(pub &'static str);

/// The text with its marked block replaced or, where there is none, added at the end. Everything else stays.
///
/// # Errors
/// [`BrokenBlock`] when a mark is missing, doubled or out of order.
pub fn with_block(text: &str, lines: &str) -> Result<String, BrokenBlock> {
    let (mut before, after) = around_block(text)?.unwrap_or_else(|| (text.to_owned(), String::new()));
    if !before.is_empty() && !before.ends_with('\n') {
        before.push('\n');
    }
    Ok(format!("{before}{BLOCK_BEGIN}\n{lines}{BLOCK_END}\n{after}"))
}

/// The numbers, from 1, of the lines of the marked block; none where there is none.
pub(crate) fn block_lines(text: &str) -> std::ops::Range<usize> {
    let place = |is_it: fn(&str) -> bool| text.lines().position(is_it).map(|place| place + 1);
    let begin = place(|line| line.starts_with("# BEGIN enxame"));
    let end = place(|line| line.trim_end() == BLOCK_END);
    begin.zip(end).map_or(0..0, |(begin, end)| begin..end + 1)
}

/// The text without its marked block; `None` where it has none.
///
/// # Errors
/// As [`with_block`].
pub fn without_block(text: &str) -> Result<Option<String>, BrokenBlock> {
    Ok(around_block(text)?.map(|(before, after)| before + &after))
}

/// What stands before the marked block and what stands behind it; `None` where there is no block.
fn around_block(text: &str) -> Result<Option<(String, String)>, BrokenBlock> {
    let (mut before, mut after, mut seen) = (String::new(), String::new(), Seen::Nothing);
    for line in text.split_inclusive('\n') {
        let is_begin = line.starts_with("# BEGIN enxame");
        let is_end = line.trim_end() == BLOCK_END;
        seen = match (seen, is_begin, is_end) {
            (Seen::Nothing, true, _) => Seen::Begin,
            (Seen::Begin, _, true) => Seen::Both,
            (Seen::Nothing, _, true) => return Err(BrokenBlock("its end stands before its beginning")),
            (Seen::Begin | Seen::Both, true, _) => return Err(BrokenBlock("it begins twice")),
            (Seen::Both, _, true) => return Err(BrokenBlock("it ends twice")),
            (Seen::Nothing, ..) => {
                before.push_str(line);
                Seen::Nothing
            }
            (Seen::Begin, ..) => Seen::Begin,
            (Seen::Both, ..) => {
                after.push_str(line);
                Seen::Both
            }
        };
    }
    if seen == Seen::Begin {
        return Err(BrokenBlock("it does not end"));
    }
    Ok((seen == Seen::Both).then_some((before, after)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Begin,
    Both,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_added_then_replaced_and_the_rest_stays() {
        let first = with_block("127.0.0.1 localhost\n::1 localhost", "192.0.2.1 a\n").unwrap();
        assert_eq!(
            first,
            format!("127.0.0.1 localhost\n::1 localhost\n{BLOCK_BEGIN}\n192.0.2.1 a\n{BLOCK_END}\n")
        );
        let second = with_block(&format!("{first}192.0.2.9 mine\n"), "192.0.2.2 b\n").unwrap();
        assert_eq!(
            second,
            format!(
                "127.0.0.1 localhost\n::1 localhost\n{BLOCK_BEGIN}\n192.0.2.2 b\n{BLOCK_END}\n192.0.2.9 mine\n"
            )
        );
        assert_eq!(with_block(&second, "192.0.2.2 b\n").unwrap(), second);
    }

    #[test]
    fn a_block_that_is_taken_out_leaves_the_rest_as_it_was() {
        for text in ["", "127.0.0.1 localhost\n", "a\n\nb\n"] {
            let with = with_block(text, "192.0.2.1 a\n").unwrap();
            assert_eq!(without_block(&with).unwrap().as_deref(), Some(text));
            assert_eq!(without_block(&(with + "mine\n")).unwrap(), Some(format!("{text}mine\n")));
            assert_eq!(without_block(text).unwrap(), None);
        }
        assert_eq!(without_block("# END enxame\n"), Err(BrokenBlock("its end stands before its beginning")));
    }

    #[test]
    fn every_byte_of_a_file_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [
            &b"127.0.0.1 localhost # caf\xe9\r\n"[..],
            &all,
            "\u{10FE80}\u{10FEFF} \u{10FF00} \u{e9}".as_bytes(),
            b"",
        ] {
            assert_eq!(bytes_of(&text_of(bytes)), bytes);
        }
        assert_eq!(text_of("a \u{e9}\n".as_bytes()), "a \u{e9}\n");
    }

    #[test]
    fn a_block_comes_and_goes_between_bytes_of_any_encoding() {
        let before = b"127.0.0.1 caf\xe9\r\n# \xff\xfe\n";
        let with = bytes_of(&with_block(&text_of(before), "192.0.2.1 a\n").unwrap());
        assert!(with.starts_with(before) && with.ends_with(b"192.0.2.1 a\n# END enxame\n"));
        assert_eq!(
            without_block(&text_of(&with)).unwrap().map(|text| bytes_of(&text)).as_deref(),
            Some(&before[..])
        );
    }

    #[test]
    fn a_broken_block_is_refused_and_not_guessed_at() {
        for (text, why) in [
            ("# BEGIN enxame\nx\n", "it does not end"),
            ("# END enxame\n", "its end stands before its beginning"),
            ("# BEGIN enxame\n# BEGIN enxame\n# END enxame\n", "it begins twice"),
            ("# BEGIN enxame\n# END enxame\n# END enxame\n", "it ends twice"),
        ] {
            assert_eq!(with_block(text, "a\n"), Err(BrokenBlock(why)));
        }
    }

    #[test]
    fn differences_are_the_lines_that_go_and_come() {
        let found = line_differences("/f", "a\nb\nc\n", "a\nB\nc\n");
        assert_eq!(found, [Difference::removed("/f", "b"), Difference::added("/f", "B")]);
        assert_eq!(line_differences("/f", "same\n", "same\n"), []);
        for (old, new) in [("a\n", "a\na\n"), ("", "a\n"), ("x\na\ny\n", "x\na\na\ny\n"), ("a", "a\n")] {
            let (there, back) = (line_differences("/f", old, new), line_differences("/f", new, old));
            assert_eq!(there.iter().filter(|one| one.new.is_some()).count(), 1, "{old:?} {new:?}");
            assert_eq!(back.iter().filter(|one| one.old.is_some()).count(), 1, "{old:?} {new:?}");
        }
        let both = line_differences("/f", "a\nb\nc\nd\n", "a\nx\nc\ny\nd\n");
        let added = |line: &str| Difference::added("/f", line);
        assert_eq!(both, [Difference::removed("/f", "b"), added("x"), added("y")]);
    }
}
