//! The rules' pages.

/// All of them: what `enxame explain` prints, and the documentation's page.
pub const PAGES: &str = include_str!("rules.md");

/// A rule's page, by its code.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    sections().find(|(name, _)| *name == code).map(|(_, page)| page)
}

/// The codes, and their pages with the heading.
pub(super) fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let starts = PAGES.match_indices("\n## ").map(|(at, _)| at + 1);
    let ends = PAGES.match_indices("\n## ").skip(1).map(|(at, _)| at + 1).chain([PAGES.len()]);
    starts.zip(ends).map(|(start, end)| {
        let page = PAGES[start..end].trim_end();
        (page.lines().next().unwrap_or_default().trim_start_matches("## "), page)
    })
}
