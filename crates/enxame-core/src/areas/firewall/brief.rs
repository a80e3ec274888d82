//! Rules of others in few words: thousands of bans are counted, not recited.

use crate::change::Difference;

/// How many are named in a sentence.
const NAMED: usize = 12;
/// How many have a line of their own.
const LINES: usize = 50;

/// `a; b; c`, and how many there are beyond the first few.
pub(crate) fn named(rules: &[String]) -> String {
    let (first, beyond) = rules.split_at(rules.len().min(NAMED));
    let first = first.join("; ");
    if beyond.is_empty() { first } else { format!("{first}; and {} more", beyond.len()) }
}

/// What goes, the first few one by one and the rest by its number; what comes or becomes another, all of it.
pub(super) fn shortened(mut differences: Vec<Difference>) -> Vec<Difference> {
    let goes = |difference: &Difference| difference.new.is_none();
    let beyond = differences.iter().filter(|difference| goes(difference)).count().saturating_sub(LINES);
    // To save one line is to say less for nothing.
    if beyond < 2 {
        return differences;
    }
    let field = differences.first().map(|difference| difference.field.clone()).unwrap_or_default();
    let mut named = 0;
    differences.retain(|difference| {
        named += usize::from(goes(difference));
        !goes(difference) || named <= LINES
    });
    differences.push(Difference::removed(field, format!("{beyond} more rules")));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_named_and_many_are_counted() {
        let rules = |count: usize| (0..count).map(|rule| format!("rule {rule}")).collect::<Vec<_>>();
        assert_eq!(named(&rules(2)), "rule 0; rule 1");
        assert!(named(&rules(NAMED)).ends_with("; rule 11"));
        assert!(named(&rules(6_000)).ends_with("; rule 11; and 5988 more"));
        let removed = |count| rules(count).into_iter().map(|rule| Difference::removed("f", rule));
        let added = Difference::added("f", "ours");
        let few: Vec<_> = removed(LINES + 1).chain([added.clone()]).collect();
        assert_eq!(shortened(few.clone()), few);
        let many = shortened(removed(6_000).chain([added.clone()]).collect());
        assert_eq!(many.len(), LINES + 2);
        assert_eq!(many[LINES..], [added, Difference::removed("f", "5950 more rules")]);
    }
}
