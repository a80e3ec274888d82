//! A scenario's facts: those of a base, and what is different.
//!
//! `facts.json` has `base` (a file in `bases/`), `replace` (text that is another everywhere, e.g. an address's first
//! part) and `changes`, each with `at`, a path of keys and indices in which `*` stands for all there are, and `to`,
//! the value there; without `to` the value goes.

use std::collections::BTreeMap;
use std::path::Path;

use enxame_core::facts::ClusterFacts;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    base: String,
    #[serde(default)]
    replace: BTreeMap<String, String>,
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    at: Vec<String>,
    #[serde(default, deserialize_with = "present")]
    to: Option<Value>,
}

/// `null` is a value too.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// The facts of a scenario.
pub(crate) fn read(directory: &Path, path: &Path) -> ClusterFacts {
    let scenario: Scenario = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let base = directory.join("bases").join(scenario.base).with_extension("json");
    let mut text = std::fs::read_to_string(base).unwrap();
    for (old, new) in &scenario.replace {
        assert!(text.contains(old), "`{old}` is nowhere in the base");
        text = text.replace(old, new);
    }
    let mut facts: Value = serde_json::from_str(&text).unwrap();
    for change in &scenario.changes {
        set(&mut facts, &change.at, change.to.as_ref(), &change.at);
    }
    let typed: ClusterFacts = serde_json::from_value(facts.clone()).unwrap();
    // A key that no type knows would be passed over in silence.
    assert_eq!(serde_json::to_value(&typed).unwrap(), facts);
    typed
}

fn set(value: &mut Value, path: &[String], to: Option<&Value>, whole: &[String]) {
    let (key, rest) = path.split_first().expect("a path has a key");
    let is_all = key == "*";
    match value {
        Value::Object(map) if rest.is_empty() && !is_all => {
            let old = match to {
                Some(new) => map.insert(key.clone(), new.clone()),
                None => Some(map.remove(key).unwrap_or_else(|| panic!("{whole:?} is not there"))),
            };
            assert_ne!(old.as_ref(), to, "{whole:?} changes nothing");
        }
        Value::Array(list) if rest.is_empty() && to.is_none() => {
            list.remove(key.parse().unwrap());
        }
        Value::Object(map) => {
            for (_, inner) in map.iter_mut().filter(|(name, _)| is_all || *name == key) {
                set_inner(inner, rest, to, whole);
            }
            assert!(is_all || map.contains_key(key), "{whole:?} is not there: no `{key}`");
        }
        Value::Array(list) => {
            let count = list.len();
            for (_, inner) in
                list.iter_mut().enumerate().filter(|(index, _)| is_all || index.to_string() == *key)
            {
                set_inner(inner, rest, to, whole);
            }
            assert!(is_all || key.parse::<usize>().unwrap() < count, "{whole:?} is not there");
        }
        _ => panic!("{whole:?} is not there: nothing is below `{key}`"),
    }
}

fn set_inner(inner: &mut Value, rest: &[String], to: Option<&Value>, whole: &[String]) {
    match (rest.is_empty(), to) {
        (true, Some(new)) => *inner = new.clone(),
        (true, None) => panic!("{whole:?} takes away all there is"),
        (false, _) => set(inner, rest, to, whole),
    }
}
