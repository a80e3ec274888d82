//! Placement constraints, as swarmkit reads them (manager/constraint/constraint.go).

use std::collections::BTreeMap;

/// `KEY==VALUE` or `KEY!=VALUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Constraint<'a> {
    pub(crate) key: &'a str,
    pub(crate) is_wanted: bool,
    pub(crate) value: &'a str,
}

/// What constraints ask of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a> {
    /// `None` before it is in the swarm.
    pub(crate) id: Option<&'a str>,
    pub(crate) hostname: &'a str,
    pub(crate) is_manager: bool,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

impl<'a> Constraint<'a> {
    /// `None` where it is none.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let unwanted = text.split_once("!=");
        let is_wanted = unwanted.is_none();
        let (key, value) = unwanted.or_else(|| text.split_once("=="))?;
        let (key, value) = (key.trim(), value.trim());
        (!key.is_empty() && !value.is_empty()).then_some(Self { key, is_wanted, value })
    }

    /// Whether a node satisfies it; `None` where that cannot be told. Case does not count.
    pub(crate) fn is_met_by(self, node: Attributes<'_>) -> Option<bool> {
        let is = |text: &str| text.eq_ignore_ascii_case(self.value);
        let found = match self.key {
            "node.id" => is(node.id?),
            "node.hostname" => is(node.hostname),
            "node.role" => is(if node.is_manager { "manager" } else { "worker" }),
            key => is(node.labels.get(key.strip_prefix("node.labels.")?).map_or("", String::as_str)),
        };
        Some(found == self.is_wanted)
    }
}
