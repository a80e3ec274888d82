//! A YAML file as a tree in which everything knows where it stands. Anchors and merges are resolved by the reader.

use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

/// A value and its place.
#[derive(Clone, Debug)]
pub(in crate::areas::stacks) struct Node {
    pub(in crate::areas::stacks) at: Location,
    pub(in crate::areas::stacks) value: Value,
}

/// A key of a mapping and its place.
#[derive(Clone, Debug)]
pub(in crate::areas::stacks) struct Key {
    pub(in crate::areas::stacks) at: Location,
    pub(in crate::areas::stacks) name: String,
}

/// What YAML has.
#[derive(Clone, Debug)]
pub(in crate::areas::stacks) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// A text that only its environment completes. Nothing is judged by it.
    Unknown,
}

impl Node {
    /// The value of a key.
    pub(in crate::areas::stacks) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name.name == key).map(|(_, value)| value)
    }

    /// The value at the end of some keys.
    pub(in crate::areas::stacks) fn at_path(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// A mapping's entries, in the file's order; none where it is none.
    pub(in crate::areas::stacks) fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// A list's items; none where it is none.
    pub(in crate::areas::stacks) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// A text, where it is one.
    pub(in crate::areas::stacks) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A scalar as it would be written.
    pub(in crate::areas::stacks) fn written(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::Unknown | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// A whole number, also of a text: what a variable stands for is one (docker/cli, `interpolateTypeCastMapping`).
    pub(in crate::areas::stacks) fn integer(&self) -> Option<i64> {
        match &self.value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A truth, in any of YAML 1.1's words.
    pub(in crate::areas::stacks) fn truth(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(truth) => Some(*truth),
            Value::Text(text) => match text.to_lowercase().as_str() {
                "y" | "yes" | "true" | "on" => Some(true),
                "n" | "no" | "false" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether something stands there that only the environment completes.
    pub(in crate::areas::stacks) fn is_unknown(&self) -> bool {
        matches!(self.value, Value::Unknown)
    }

    /// Calls for every text below, which may be replaced.
    pub(super) fn each_text(&mut self, change: &mut impl FnMut(Location, &str) -> Value) {
        let changed = match &mut self.value {
            Value::Text(text) => Some(change(self.at, text)),
            Value::List(items) => {
                for item in items {
                    item.each_text(change);
                }
                None
            }
            Value::Map(entries) => {
                for (_, value) in entries {
                    value.each_text(change);
                }
                None
            }
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Unknown => None,
        };
        if let Some(changed) = changed {
            self.value = changed;
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { at: referenced, value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Text(number.to_string()), Value::Integer))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(Spanned { value: name, referenced, .. }) = map.next_key::<Spanned<String>>()? {
            entries.push((Key { at: referenced, name }, map.next_value()?));
        }
        Ok(Value::Map(entries))
    }
}
