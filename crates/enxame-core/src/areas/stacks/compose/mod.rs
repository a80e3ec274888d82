//! Compose files as `docker stack deploy` reads them, every part with its place.
//!
//! The specification has newer shapes, which that command does not know; what it makes of a file is what counts here.

mod duration;
mod file;
mod tree;
mod variables;

pub(super) use duration::{bytes, duration};
pub(super) use file::{Image, Mount, MountKind, Pair, Service};
pub(super) use tree::{Key, Node};
pub use variables::Environment;

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Location;

use crate::config::{ConfigError, Problem};
use tree::Value;
use variables::Unset;

/// A compose file.
#[derive(Clone, Debug)]
pub struct ComposeFile {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) root: Node,
    /// The variables that it has, set or not.
    variables: BTreeSet<String>,
    /// Variables that nothing sets, and where.
    pub(super) unset: Vec<(Location, Unset)>,
    /// Where a `$` is that begins no variable.
    pub(super) malformed: Vec<Location>,
}

impl ComposeFile {
    /// Reads one; `name` is the file's for messages.
    ///
    /// # Errors
    /// What is not YAML, or no mapping, with its place.
    pub fn parse(name: &str, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        let mut root: Node =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::of_compose(name, text, &error))?;
        if !matches!(root.value, Value::Map(_)) {
            let problem =
                Problem::new((name, text), "a compose file is a mapping, with `services:`", root.at, None);
            return Err(ConfigError::of_one(name, problem));
        }
        let (mut variables, mut unset, mut malformed) = (BTreeSet::new(), Vec::new(), Vec::new());
        root.each_text(&mut |at, text| {
            let replaced = variables::replace(text, environment);
            variables.extend(replaced.names);
            unset.extend(replaced.unset.into_iter().map(|unset| (at, unset)));
            if replaced.is_malformed {
                malformed.push(at);
                return Value::Unknown;
            }
            replaced.text.map_or(Value::Unknown, Value::Text)
        });
        Ok(Self { name: name.to_owned(), text: text.to_owned(), root, variables, unset, malformed })
    }

    /// The variables that it takes from the environment, set or not: those that it replaces, and those of services that have
    /// a name and no value.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<String> {
        let of_services = self.services().flat_map(|service| service.pairs(&["environment"]));
        let without_value = of_services.filter(|pair| pair.value.is_none()).map(|pair| pair.name);
        self.variables.iter().cloned().chain(without_value).collect()
    }

    /// The version of its shape, where it says one.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.root.get("version")?.written()
    }

    /// The files that Docker's command line reads for it, as they are written: variables of services, secrets and configs.
    #[must_use]
    pub fn files(&self) -> BTreeSet<String> {
        let of_services = self.services().flat_map(|service| {
            let named = service.get(&["env_file"]);
            let listed = named.map_or(&[][..], Node::items);
            named.into_iter().chain(listed).filter_map(Node::text)
        });
        let of_sections = ["secrets", "configs"].into_iter().flat_map(|section| self.section(section));
        let of_sections = of_sections.filter_map(|(_, entry)| entry.get("file")?.text());
        of_services.chain(of_sections).map(str::to_owned).collect()
    }

    /// The names of the secrets that it takes from outside, by what it calls them.
    #[must_use]
    pub fn external_secrets(&self) -> BTreeMap<String, String> {
        let entries = self.section("secrets").iter().filter_map(|(key, entry)| {
            let external = entry.get("external")?;
            let is_external = external.truth() == Some(true) || !external.entries().is_empty();
            let older = external.get("name").and_then(Node::text);
            let name = entry.get("name").and_then(Node::text).or(older).unwrap_or(&key.name);
            is_external.then(|| (key.name.clone(), name.to_owned()))
        });
        entries.collect()
    }

    /// Its services, in the file's order.
    pub(super) fn services(&self) -> impl Iterator<Item = Service<'_>> {
        let services = self.root.get("services").map_or(&[][..], Node::entries);
        services.iter().map(|(key, node)| Service { key, node })
    }

    /// An entry of a section below the root.
    pub(super) fn entry(&self, section: &str, name: &str) -> Option<&Node> {
        self.root.at_path(&[section, name])
    }

    /// A section's entries.
    pub(super) fn section(&self, section: &str) -> &[(Key, Node)] {
        self.root.get(section).map_or(&[], Node::entries)
    }
}
