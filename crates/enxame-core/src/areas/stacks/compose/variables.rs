//! Variables of a compose file, as Docker's own command line replaces them (docker/cli, `cli/compose/template`): `$X`, `${X}`,
//! `:-`, `-`, `:?`, `?` and `$$`. What is unset is empty there, without a word.

use std::collections::BTreeMap;

/// What is known of the environment that a stack is deployed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Nothing: a file is read by itself.
    Unknown,
    /// All of it.
    Known(BTreeMap<String, String>),
}

/// A variable that is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::areas::stacks) struct Unset {
    pub(in crate::areas::stacks) name: String,
    /// Whether Docker refuses the file for it (`?`), instead of putting nothing in its place.
    pub(in crate::areas::stacks) is_refused: bool,
}

/// What a text is with its variables replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Replaced {
    /// The text; `None` where the environment is unknown and decides.
    pub(super) text: Option<String>,
    /// The variables that it has, set or not.
    pub(super) names: Vec<String>,
    /// Variables that are not set, and have nothing else to be.
    pub(super) unset: Vec<Unset>,
    /// What is no variable, and keeps Docker from reading the file.
    pub(super) is_malformed: bool,
}

/// Replaces them.
pub(super) fn replace(text: &str, environment: &Environment) -> Replaced {
    let mut replaced = Replaced::default();
    let mut written = Some(String::new());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        push(&mut written, Some(before));
        if let Some(after) = behind.strip_prefix('$') {
            push(&mut written, Some("$"));
            rest = after;
            continue;
        }
        let (variable, after) = match behind.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some((inner, after)) => (inner, after),
                None => return Replaced { is_malformed: true, ..replaced },
            },
            None => behind.split_at(name_length(behind)),
        };
        let (name, otherwise) = variable.split_at(name_length(variable));
        if name.is_empty() || !(otherwise.is_empty() || otherwise.starts_with([':', '-', '?'])) {
            return Replaced { is_malformed: true, ..replaced };
        }
        replaced.names.push(name.to_owned());
        let value = value_of(name, otherwise, environment, &mut replaced.unset);
        push(&mut written, value.as_deref());
        rest = after;
    }
    push(&mut written, Some(rest));
    Replaced { text: written, ..replaced }
}

fn push(written: &mut Option<String>, more: Option<&str>) {
    match (written.as_mut(), more) {
        (Some(written), Some(more)) => written.push_str(more),
        _ => *written = None,
    }
}

/// Of the name that a text begins with.
fn name_length(text: &str) -> usize {
    let is_part = |(at, one): (usize, char)| {
        one == '_' || one.is_ascii_alphabetic() || (at > 0 && one.is_ascii_digit())
    };
    text.char_indices().take_while(|part| is_part(*part)).count()
}

fn value_of(
    name: &str,
    otherwise: &str,
    environment: &Environment,
    unset: &mut Vec<Unset>,
) -> Option<String> {
    let default = otherwise.strip_prefix(":-").or_else(|| otherwise.strip_prefix('-'));
    let Environment::Known(variables) = environment else { return default.map(str::to_owned) };
    let empty_counts = !otherwise.starts_with(':');
    if let Some(value) = variables.get(name).filter(|value| empty_counts || !value.is_empty()) {
        return Some(value.clone());
    }
    if default.is_none() {
        let is_refused = otherwise.trim_start_matches(':').starts_with('?');
        unset.push(Unset { name: name.to_owned(), is_refused });
    }
    Some(default.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> Replaced {
        let set = [("A", "1"), ("EMPTY", ""), ("a_b2", "3")];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        replace(text, &Environment::Known(set.into()))
    }

    #[test]
    fn variables_are_what_docker_makes_of_them() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$A-x", "1-x"),
            ("${A}${a_b2}", "13"),
            ("$$A ${A:-2} ${A-2}", "$A 1 1"),
            ("${B:-2}${B-2}", "22"),
            ("${EMPTY:-2}|${EMPTY-2}|${EMPTY}", "2||"),
            ("${B:-a:b-c?}", "a:b-c?"),
            ("${B:-}", ""),
        ] {
            let replaced = known(text);
            assert_eq!(replaced.text.as_deref(), Some(expected), "{text}");
            assert_eq!((replaced.unset.len(), replaced.is_malformed), (0, false), "{text}");
        }
        assert_eq!(known("${A}$$x${B:-2}$a_b2").names, ["A", "B", "a_b2"]);
    }

    #[test]
    fn what_is_not_set_is_named() {
        let unset = |name: &str, is_refused| vec![Unset { name: name.to_owned(), is_refused }];
        for (text, is_refused) in [("$B", false), ("${B}", false), ("${B:?}", true), ("${B?say it}", true)] {
            assert_eq!(known(text).unset, unset("B", is_refused), "{text}");
        }
        assert_eq!(known("${EMPTY:?}").unset, unset("EMPTY", true));
        assert_eq!(known("${EMPTY?}").unset, []);
    }

    #[test]
    fn of_an_unknown_environment_only_the_defaults_are_known() {
        assert_eq!(replace("$$x ${A:-2}", &Environment::Unknown).text.as_deref(), Some("$x 2"));
        let replaced = replace("x$A", &Environment::Unknown);
        assert_eq!((replaced.text, replaced.unset.len()), (None, 0));
    }

    #[test]
    fn what_docker_cannot_read_is_malformed() {
        for text in ["${A", "$", "a$-", "${}", "${1}", "${A b}", "$1"] {
            assert!(known(text).is_malformed, "{text}");
        }
    }
}
