//! From a text to a [`Config`]: the one way, whatever the verb.

use serde_saphyr::Spanned;

use super::error::{ConfigError, Problems};
use super::model::Config;
use super::stacks::Stack;
use super::{v1, validate};

/// A `cluster.yaml` that was read and checked by itself, with the places that later checks point to.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    name: String,
    text: String,
    config: Config,
    /// As they stand in the file; empty where the default counts.
    public_ports: Vec<Spanned<u16>>,
}

impl LoadedConfig {
    /// Reads and checks a `cluster.yaml`; `name` is the file's name for messages.
    ///
    /// # Errors
    /// Every problem found, each with its line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let file = v1::parse(name, text)?;
        let ports = file.firewall.public_ports.iter();
        let public_ports = ports.filter(|port| v1::is_written(port)).cloned().collect();
        let config = validate::check(name, text, file)?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), config, public_ports })
    }

    /// What it says, for finding the stacks.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Checks it against the stacks that it names: a port that it opens to everybody by name is published by one of them.
    /// Without stacks there is nothing to hold against it, and a stack whose ports are variables may publish any.
    ///
    /// # Errors
    /// Every port of `firewall.public_ports` that no stack publishes, with its line and column.
    pub fn with_stacks(self, stacks: &[Stack]) -> Result<Config, ConfigError> {
        let mut found = Problems::of(&self.name, &self.text);
        if !stacks.is_empty() && !stacks.iter().any(Stack::has_variable_ports) {
            let is_published = |port: u16| stacks.iter().any(|stack| stack.publishes(port));
            for port in self.public_ports.iter().filter(|port| !is_published(port.value)) {
                let message = format!("port {} is open to everybody, and no stack publishes it", port.value);
                let hint = "take it away, or publish it in a file of `stacks`; `firewall.openings` is for what no stack \
                            serves";
                found.add(port.referenced, message, hint);
            }
        }
        found.into_result(self.config)
    }
}

impl Config {
    /// Reads and checks a `cluster.yaml` by itself, without the stacks that it names; `name` is the file's name for
    /// messages.
    ///
    /// # Errors
    /// Every problem found, each with its line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        LoadedConfig::parse(name, text).map(|loaded| loaded.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(entries: &str) -> Stack {
        Stack::parse("web.yaml", &format!("services:\n  web:\n    ports: {entries}\n")).unwrap()
    }

    const CLUSTER: &str =
        "version: 1\ncluster: lab\nstacks: [web.yaml]\nnodes:\n  - {name: a, address: 203.0.113.12}\n";

    fn unpublished(firewall: &str, stacks: &[Stack]) -> Vec<String> {
        let text = CLUSTER.to_owned() + firewall;
        match LoadedConfig::parse("cluster.yaml", &text).unwrap().with_stacks(stacks) {
            Ok(_) => Vec::new(),
            Err(error) => error.problems().iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_public_port_that_no_stack_publishes_is_refused_with_its_place() {
        let web = ports("['443:443']");
        let metrics = ports("['9100:9100']");
        assert_eq!(
            unpublished("firewall: {public_ports: [443]}\n", std::slice::from_ref(&web)),
            Vec::<String>::new()
        );
        assert_eq!(
            unpublished("firewall: {public_ports: [443, 8443, 9100]}\n", &[web, metrics]),
            ["cluster.yaml:6:32: port 8443 is open to everybody, and no stack publishes it"]
        );
    }

    #[test]
    fn without_stacks_or_with_ports_that_are_variables_nothing_is_held_against_it() {
        assert_eq!(unpublished("firewall: {public_ports: [8443]}\n", &[]), Vec::<String>::new());
        let variable = ports("['${PORT}:80']");
        assert_eq!(unpublished("firewall: {public_ports: [8443]}\n", &[variable]), Vec::<String>::new());
    }

    #[test]
    fn the_default_ports_are_held_against_no_stack() {
        for firewall in ["", "firewall: {mesh: full}\n"] {
            assert_eq!(unpublished(firewall, &[ports("['9100:9100']")]), Vec::<String>::new());
        }
        assert_eq!(
            unpublished("firewall: {public_ports: [80]}\n", &[ports("['9100:9100']")]),
            ["cluster.yaml:6:27: port 80 is open to everybody, and no stack publishes it"]
        );
    }
}
