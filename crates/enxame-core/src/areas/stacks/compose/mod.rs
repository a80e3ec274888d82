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
        let (mut unset, mut malformed) = (Vec::new(), Vec::new());
        root.each_text(&mut |at, text| {
            let replaced = variables::replace(text, environment);
            unset.extend(replaced.unset.into_iter().map(|unset| (at, unset)));
            if replaced.is_malformed {
                malformed.push(at);
                return Value::Unknown;
            }
            replaced.text.map_or(Value::Unknown, Value::Text)
        });
        Ok(Self { name: name.to_owned(), text: text.to_owned(), root, unset, malformed })
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
