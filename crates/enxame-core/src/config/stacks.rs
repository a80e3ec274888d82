//! `stacks`: the compose files beside `cluster.yaml`: what they are called and, since the firewall depends on it, which ports
//! they publish.
//!
//! Shapes: the Compose Specification, `services.*.ports`, short and long syntax. What else is in such a file is Docker's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::error::{ConfigError, Problems};
use super::model::StackConfig;
use super::v1::StackFile;
use crate::names::ObjectName;

/// The stacks, each with a name of its own.
pub(super) fn check(stacks: &[Spanned<StackFile>], found: &mut Problems<'_>) -> Vec<StackConfig> {
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    let mut checked = Vec::new();
    for stack in stacks {
        let StackFile(file) = &stack.value;
        let at = file.name.as_ref().map_or(stack.referenced, |name| name.referenced);
        let name = file.name.as_ref().map_or_else(|| name_of(&file.file), |name| name.value.clone());
        if let Some(line) = lines.insert(name.clone(), at.line()) {
            let message = format!("there is a stack `{name}` on line {line} already");
            found.add(at, message, "say what Docker is to call it: `{file: FILE, name: NAME}`");
        }
        // Docker puts it in front of every object's name.
        let known = ObjectName::new(name.clone()).ok().filter(|name| name.as_str().len() <= LONGEST_NAME);
        let Some(name) = known else {
            let hint = "begin with a letter or digit, go on with letters, digits, `_`, `.` or `-`, 40 in all: \
                        `{file: FILE, name: NAME}`";
            found.add(at, format!("`{name}` is no name of a stack"), hint);
            continue;
        };
        checked.push(StackConfig { name, file: file.file.clone(), env_file: file.env_file.clone() });
    }
    checked
}

/// A service's name, the stack's in front, is a host name: 63 letters.
const LONGEST_NAME: usize = 40;

/// What a stack is called after its file: `db-stack.yml` is `db`, `blog/compose.yaml` is `blog`.
fn name_of(file: &Path) -> String {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let stem = text(file.file_stem());
    let name = ["-stack", "_stack", ".stack"].iter().find_map(|end| stem.strip_suffix(end));
    let is_nameless = ["compose", "docker-compose", "stack", "docker-stack"].contains(&stem.as_str());
    let directory = file.parent().map(|parent| text(parent.file_name())).filter(|name| !name.is_empty());
    match directory.filter(|_| is_nameless) {
        Some(directory) => directory,
        None => name.unwrap_or(&stem).to_owned(),
    }
}

/// A compose file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The TCP ports that its services publish.
    published: BTreeSet<u16>,
    /// Whether it may publish TCP ports that only its deployment names (`${PORT}`).
    has_variable_ports: bool,
}

#[derive(Deserialize)]
struct ComposeFile {
    #[serde(default)]
    services: BTreeMap<String, ServiceFile>,
}

#[derive(Deserialize)]
struct ServiceFile {
    #[serde(default)]
    ports: Vec<Spanned<PortFile>>,
}

/// A port of a service, in one of the two syntaxes.
#[derive(Deserialize)]
#[serde(untagged)]
enum PortFile {
    Short(Word),
    Long { published: Option<Word>, target: Option<Word>, protocol: Option<String> },
}

/// Compose files write ports as numbers and as texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(u16),
    Text(String),
}

impl Word {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// What one entry of `ports` publishes.
enum Published {
    Tcp(RangeInclusive<u16>),
    /// UDP, or a port that Docker chooses.
    NoTcp,
    /// Whatever the environment says when the stack is deployed.
    Variable,
}

/// Stands for a variable that was taken out.
const VARIABLE: char = '\0';

/// `[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]`, or the long syntax; `None`: neither. As Docker reads it
/// (docker/go-connections, `nat.ParsePortSpec`).
fn published(port: &PortFile) -> Option<Published> {
    let (published, target, protocol) = match port {
        PortFile::Short(word) => {
            let text = without_variables(&word.text());
            let (ports, protocol) = text.split_once('/').unwrap_or((&text, ""));
            let (outer, target) = ports.rsplit_once(':').unwrap_or(("", ports));
            let (address, published) = outer.rsplit_once(':').unwrap_or(("", outer));
            let address = address.trim_matches(['[', ']']);
            if !address.is_empty() && !address.contains(VARIABLE) && address.parse::<IpAddr>().is_err() {
                return None;
            }
            (published.to_owned(), target.to_owned(), protocol.to_owned())
        }
        PortFile::Long { published, target, protocol } => {
            let text = |word: &Option<Word>| word.as_ref().map(|word| without_variables(&word.text()));
            let protocol = without_variables(protocol.as_deref().unwrap_or_default());
            (text(published).unwrap_or_default(), text(target)?, protocol)
        }
    };
    match protocol.to_lowercase().as_str() {
        "udp" | "sctp" => return Some(Published::NoTcp),
        "" | "tcp" => {}
        variable if variable.contains(VARIABLE) => {}
        _ => return None,
    }
    if published.contains(VARIABLE) {
        return Some(Published::Variable);
    }
    let targets = if target.contains(VARIABLE) { None } else { Some(range(&target)?) };
    // Docker chooses.
    if published.is_empty() || published == "0" {
        return Some(Published::NoTcp);
    }
    let published = range(&published)?;
    let is_as_long = |targets: RangeInclusive<u16>| targets.len() == 1 || targets.len() == published.len();
    targets.is_none_or(is_as_long).then_some(Published::Tcp(published))
}

/// The TCP ports that an entry of `ports` publishes in the short syntax, as far as they are known.
pub(crate) fn published_ports(entry: &str) -> Vec<u16> {
    match published(&PortFile::Short(Word::Text(entry.to_owned()))) {
        Some(Published::Tcp(ports)) => ports.collect(),
        _ => Vec::new(),
    }
}

/// The text with [`VARIABLE`] in the place of each `$NAME` and `${NAME...}` (Compose Specification, 12, "Interpolation").
fn without_variables(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, variable)) = rest.split_once('$') {
        plain.push_str(before);
        plain.push(VARIABLE);
        rest = match variable.strip_prefix('{') {
            Some(braced) => braced.split_once('}').map_or("", |(_, behind)| behind),
            None => variable.trim_start_matches(|one: char| one.is_ascii_alphanumeric() || one == '_'),
        };
    }
    plain + rest
}

/// `8080`, or `8000-8010`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (1..=last).contains(&first).then_some(first..=last)
}

impl Stack {
    /// Whether it may publish TCP ports that only its deployment names (`${PORT}`): nothing is held against it then.
    #[must_use]
    pub fn has_variable_ports(&self) -> bool {
        self.has_variable_ports
    }

    /// Whether it publishes that TCP port.
    pub(super) fn publishes(&self, port: u16) -> bool {
        self.published.contains(&port)
    }

    /// Reads a compose file; `name` is the file's name for messages.
    ///
    /// # Errors
    /// What is not YAML, and every port that cannot be read, each with its line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let file: ComposeFile =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::of_compose(name, text, &error))?;
        let mut stack = Self { published: BTreeSet::new(), has_variable_ports: false };
        let mut found = Problems::of(name, text);
        for port in file.services.values().flat_map(|service| &service.ports) {
            match published(&port.value) {
                Some(Published::Tcp(ports)) => stack.published.extend(ports),
                Some(Published::NoTcp) => {}
                Some(Published::Variable) => stack.has_variable_ports = true,
                None => {
                    let hint = "`PUBLISHED:TARGET`, e.g. \"443:443\"; or `published:` and `target:`";
                    found.add(port.referenced, "this is not a port that Docker publishes", hint);
                }
            }
        }
        found.into_result(stack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(entries: &str) -> Result<Stack, Vec<String>> {
        let text = format!(
            "services:\n  web:\n    image: nginx:alpine\n    ports: {entries}\n  db:\n    image: postgres\n"
        );
        let problems = |error: ConfigError| error.problems().iter().map(ToString::to_string).collect();
        Stack::parse("web.yaml", &text).map_err(problems)
    }

    fn publishing(published: &[u16]) -> Stack {
        Stack { published: published.iter().copied().collect(), has_variable_ports: false }
    }

    #[test]
    fn a_stack_is_called_after_its_file_unless_it_is_said() {
        for (file, name) in [
            ("web.yaml", "web"),
            ("stacks/db-stack.yml", "db"),
            ("blog/compose.yaml", "blog"),
            ("docker-compose.yml", "docker-compose"),
            ("my.app.yaml", "my.app"),
        ] {
            assert_eq!(name_of(Path::new(file)), name, "{file}");
        }
    }

    fn stacks(text: &str) -> Result<Vec<(String, Option<String>)>, Vec<String>> {
        let text = format!(
            "version: 1\ncluster: lab\nstacks: {text}\nnodes:\n  - {{name: a, address: 203.0.113.12}}\n"
        );
        let config = crate::config::Config::parse("cluster.yaml", &text);
        let problems = |error: ConfigError| error.problems().iter().map(ToString::to_string).collect();
        let told = |stack: &StackConfig| {
            (stack.name.to_string(), stack.env_file.as_ref().map(|file| file.display().to_string()))
        };
        config.map(|config| config.stacks.iter().map(told).collect()).map_err(problems)
    }

    #[test]
    fn a_stack_is_a_path_or_a_mapping_with_a_name_of_its_own() {
        let both = "[web.yaml, {file: x/compose.yaml, name: shop, env_file: shop.env}]";
        let named = |name: &str, env: Option<&str>| (name.to_owned(), env.map(str::to_owned));
        assert_eq!(stacks(both), Ok(vec![named("web", None), named("shop", Some("shop.env"))]));
        for (text, problem) in [
            ("[a/web.yaml, b/web.yaml]", "cluster.yaml:3:22: there is a stack `web` on line 3 already"),
            ("[{file: a.yaml, name: my shop}]", "cluster.yaml:3:31: `my shop` is no name of a stack"),
            ("[{file: a.yaml, nane: shop}]", "cluster.yaml:3:25: unknown field `nane`"),
            ("[{name: shop}]", "cluster.yaml:3:11: missing field `file`"),
            ("[[a]]", "cluster.yaml:3:10: "),
        ] {
            let found = stacks(text).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with(problem), "{found:?}");
        }
    }

    #[test]
    fn both_syntaxes_say_which_tcp_ports_are_published() {
        assert_eq!(
            ports("['80:8080', '443:443/tcp', '127.0.0.1:8443:443']"),
            Ok(publishing(&[80, 443, 8443]))
        );
        assert_eq!(ports("['[::1]:9443:443', '8000-8002:80-82']"), Ok(publishing(&[8000, 8001, 8002, 9443])));
        assert_eq!(ports("['53:53/udp', 8080, '3000']"), Ok(publishing(&[])));
        assert_eq!(
            ports("['53:53/UDP', '127.0.0.1::80', ':80', '0:80', '81:80/', '82:80/TCP']"),
            Ok(publishing(&[81, 82]))
        );
        assert_eq!(
            ports("[{target: 80, published: 80}, {target: 443, published: '443', mode: host}]"),
            Ok(publishing(&[80, 443]))
        );
        assert_eq!(ports("[{target: 53, published: 53, protocol: udp}, {target: 80}]"), Ok(publishing(&[])));
        assert_eq!(
            Stack::parse("x.yaml", "x-web: &web\n  ports: ['80:80']\nservices:\n  a:\n    <<: *web\n").ok(),
            Some(publishing(&[80]))
        );
    }

    #[test]
    fn a_port_that_only_the_deployment_names_is_not_guessed() {
        for entries in
            ["['${PORT:-80}:80']", "[{target: 80, published: '${PORT}'}]", "['$PORT:80/${PROTOCOL}']"]
        {
            assert!(ports(entries).unwrap().has_variable_ports, "{entries}");
        }
        // What is variable of these is not which port it is.
        assert_eq!(
            ports("['80:${TARGET}', '${ADDRESS}:443:443', '${DNS}:53/udp']"),
            Ok(publishing(&[80, 443]))
        );
    }

    #[test]
    fn what_docker_does_not_publish_is_refused_with_its_place() {
        let place = "web.yaml:4:13: this is not a port that Docker publishes";
        for entries in [
            "['http:80']",
            "['http:80:80']",
            "['8000-8002:80-81']",
            "['80:80/icmp']",
            "['90-80:80']",
            "['70000:80']",
            "[{target: 80, published: x}]",
        ] {
            assert_eq!(ports(entries), Err(vec![place.to_owned()]), "{entries}");
        }
        let problems = Stack::parse("web.yaml", "services: [web]\n").unwrap_err();
        assert!(problems.problems()[0].to_string().starts_with("web.yaml:1:11: "), "{problems:?}");
    }
}
