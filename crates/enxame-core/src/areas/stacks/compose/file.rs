//! What a service's entry says, short syntax or long.

use std::time::Duration;

use serde_saphyr::Location;

use super::duration;
use super::tree::{Key, Node, Value};

/// A service of a compose file.
#[derive(Clone, Copy, Debug)]
pub(in crate::areas::stacks) struct Service<'a> {
    pub(in crate::areas::stacks) key: &'a Key,
    pub(in crate::areas::stacks) node: &'a Node,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::areas::stacks) enum MountKind {
    /// A directory or file of the node.
    Bind(String),
    /// A named volume.
    Volume(String),
    /// A volume without a name, new for every task.
    Anonymous,
    /// Memory.
    Tmpfs,
}

/// An entry of `volumes`.
#[derive(Clone, Debug)]
pub(in crate::areas::stacks) struct Mount {
    pub(in crate::areas::stacks) at: Location,
    pub(in crate::areas::stacks) kind: MountKind,
    pub(in crate::areas::stacks) target: String,
    pub(in crate::areas::stacks) is_read_only: bool,
    /// Whether a new volume stays as empty as it is made.
    pub(in crate::areas::stacks) is_nocopy: bool,
}

/// A pair of a list or a mapping (`environment`, `labels`, `sysctls`).
#[derive(Clone, Debug)]
pub(in crate::areas::stacks) struct Pair {
    pub(in crate::areas::stacks) at: Location,
    pub(in crate::areas::stacks) name: String,
    /// `None` where it is unknown, or comes from the environment.
    pub(in crate::areas::stacks) value: Option<String>,
}

/// The name of an image, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::areas::stacks) struct Image<'a> {
    /// The last part of its path, e.g. `postgres`.
    pub(in crate::areas::stacks) base: &'a str,
    pub(in crate::areas::stacks) tag: Option<&'a str>,
    pub(in crate::areas::stacks) is_by_digest: bool,
}

impl<'a> Image<'a> {
    pub(in crate::areas::stacks) fn parse(text: &'a str) -> Self {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        let last = name.rsplit('/').next().unwrap_or(name);
        let (base, tag) = last.split_once(':').map_or((last, None), |(base, tag)| (base, Some(tag)));
        Self { base, tag, is_by_digest: digest.is_some() }
    }

    /// The number that its tag begins with, e.g. 18 of `18.1-trixie`.
    pub(in crate::areas::stacks) fn major(self) -> Option<u32> {
        let tag = self.tag?;
        tag.split(|one: char| !one.is_ascii_digit()).next()?.parse().ok()
    }
}

impl<'a> Service<'a> {
    pub(in crate::areas::stacks) fn name(self) -> &'a str {
        &self.key.name
    }

    pub(in crate::areas::stacks) fn get(self, path: &[&str]) -> Option<&'a Node> {
        self.node.at_path(path)
    }

    pub(in crate::areas::stacks) fn text(self, path: &[&str]) -> Option<&'a str> {
        self.get(path)?.text()
    }

    pub(in crate::areas::stacks) fn duration(self, path: &[&str]) -> Option<Duration> {
        duration(self.text(path)?)
    }

    pub(in crate::areas::stacks) fn image(self) -> Option<Image<'a>> {
        Some(Image::parse(self.text(&["image"])?))
    }

    /// Whether it runs a database that people keep data in.
    pub(in crate::areas::stacks) fn is_database(self) -> bool {
        const DATABASES: [&str; 14] = [
            "postgres",
            "postgresql",
            "postgis",
            "timescaledb",
            "mysql",
            "mariadb",
            "mongo",
            "mongodb",
            "redis",
            "valkey",
            "elasticsearch",
            "opensearch",
            "influxdb",
            "clickhouse-server",
        ];
        self.image().is_some_and(|image| DATABASES.contains(&image.base))
    }

    pub(in crate::areas::stacks) fn is_postgres(self) -> bool {
        self.image()
            .is_some_and(|image| matches!(image.base, "postgres" | "postgresql" | "postgis" | "timescaledb"))
    }

    /// `replicated` where nothing is said.
    pub(in crate::areas::stacks) fn is_replicated(self) -> bool {
        self.get(&["deploy", "mode"]).is_none_or(|mode| mode.text() == Some("replicated"))
    }

    /// Whether it ends by itself.
    pub(in crate::areas::stacks) fn is_job(self) -> bool {
        self.text(&["deploy", "mode"]).is_some_and(|mode| mode.ends_with("-job"))
    }

    /// How many tasks it wants; `None` where that is not a number of its own.
    pub(in crate::areas::stacks) fn replicas(self) -> Option<u64> {
        if !self.is_replicated() {
            return None;
        }
        match self.get(&["deploy", "replicas"]) {
            None => Some(1),
            Some(replicas) => u64::try_from(replicas.integer()?).ok(),
        }
    }

    pub(in crate::areas::stacks) fn max_per_node(self) -> Option<u64> {
        let most = self.get(&["deploy", "placement", "max_replicas_per_node"])?.integer()?;
        u64::try_from(most).ok().filter(|most| *most > 0)
    }

    pub(in crate::areas::stacks) fn starts_first(self) -> Option<&'a Node> {
        self.get(&["deploy", "update_config", "order"]).filter(|order| order.text() == Some("start-first"))
    }

    pub(in crate::areas::stacks) fn constraints(self) -> &'a [Node] {
        self.get(&["deploy", "placement", "constraints"]).map_or(&[], Node::items)
    }

    pub(in crate::areas::stacks) fn pairs(self, path: &[&str]) -> Vec<Pair> {
        self.get(path).map_or_else(Vec::new, pairs)
    }

    /// Its mounts, as far as they can be read.
    pub(in crate::areas::stacks) fn mounts(self) -> Vec<Mount> {
        let entries = self.get(&["volumes"]).map_or(&[][..], Node::items);
        entries.iter().filter_map(mount).collect()
    }

    /// The networks that it is attached to; `None`: the stack's default one, which it is where none are named.
    pub(in crate::areas::stacks) fn networks(self) -> Option<Vec<(Location, &'a str)>> {
        let networks = self.get(&["networks"])?;
        if networks.items().is_empty() && networks.entries().is_empty() && !networks.is_unknown() {
            return None;
        }
        let listed = networks.items().iter().filter_map(|item| Some((item.at, item.text()?)));
        let mapped = networks.entries().iter().map(|(key, _)| (key.at, key.name.as_str()));
        Some(listed.chain(mapped).collect())
    }

    pub(in crate::areas::stacks) fn ports(self) -> &'a [Node] {
        self.get(&["ports"]).map_or(&[], Node::items)
    }
}

fn mount(entry: &Node) -> Option<Mount> {
    if let Some(text) = entry.text() {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [target] => ("", target, ""),
            [source, target] => (source, target, ""),
            [source, target, options] => (source, target, options),
            _ => return None,
        };
        let kind = match source {
            "" => MountKind::Anonymous,
            path if path.starts_with(['/', '.', '~']) => MountKind::Bind(path.to_owned()),
            volume => MountKind::Volume(volume.to_owned()),
        };
        let has = |option: &str| options.split(',').any(|one| one == option);
        return Some(Mount {
            at: entry.at,
            kind,
            target: target.to_owned(),
            is_read_only: has("ro"),
            is_nocopy: has("nocopy"),
        });
    }
    let source = entry.get("source").map(|source| source.text().map(str::to_owned));
    let kind = match (entry.get("type")?.text()?, source) {
        // Where the source is unknown, nothing is judged.
        (_, Some(None)) => return None,
        ("bind", Some(Some(path))) => MountKind::Bind(path),
        ("volume", Some(Some(volume))) => MountKind::Volume(volume),
        ("volume", None) => MountKind::Anonymous,
        ("tmpfs", _) => MountKind::Tmpfs,
        _ => return None,
    };
    let is = |path: &[&str]| entry.at_path(path).and_then(Node::truth).unwrap_or(false);
    Some(Mount {
        at: entry.at,
        kind,
        target: entry.get("target")?.text()?.to_owned(),
        is_read_only: is(&["read_only"]),
        is_nocopy: is(&["volume", "nocopy"]),
    })
}

/// `NAME=VALUE` in a list, or a mapping.
pub(in crate::areas::stacks) fn pairs(node: &Node) -> Vec<Pair> {
    let listed = node.items().iter().filter_map(|item| {
        let text = item.text()?;
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        Some(Pair { at: item.at, name: name.to_owned(), value: value.map(str::to_owned) })
    });
    let mapped = node.entries().iter().map(|(key, value)| {
        let written = if matches!(value.value, Value::Null) { None } else { value.written() };
        Pair { at: key.at, name: key.name.clone(), value: written }
    });
    listed.chain(mapped).collect()
}
