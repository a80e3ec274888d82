//! Whether the nodes that do not answer are those that the operator goes on without.

use crate::config::Config;
use crate::facts::ClusterFacts;
use crate::names::NodeName;

/// Why nothing is done, although something could be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// Nodes do not answer, and nobody said that it goes on without them.
    #[error("{} not answer", told(.0))]
    Unexpected(Vec<NodeName>),
    /// A node answers that was said to be away: what differs there would be left as it is.
    #[error("{0} answers: take `--without {0}` away")]
    Present(NodeName),
    /// Nobody knows a node of that name.
    #[error("cluster.yaml has no node {0}")]
    Unknown(NodeName),
}

fn told(nodes: &[NodeName]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    let verb = if nodes.len() == 1 { "does" } else { "do" };
    format!("{} {verb}", names.join(", "))
}

/// Looks at who is away, and whom the operator goes on without.
///
/// # Errors
/// [`Absence`].
pub fn check_absence(config: &Config, facts: &ClusterFacts, without: &[NodeName]) -> Result<(), Absence> {
    for node in without {
        if config.node(node).is_none() {
            return Err(Absence::Unknown(node.clone()));
        }
        if facts.get(node).is_some() {
            return Err(Absence::Present(node.clone()));
        }
    }
    let missing: Vec<NodeName> =
        facts.holes().map(|(node, _)| node).filter(|node| !without.contains(node)).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(Absence::Unexpected(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::blank::blank;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    #[test]
    fn who_is_away_must_be_named_and_nobody_else() {
        let text = "version: 1\ncluster: c\nnodes:\n  - {name: a, address: 203.0.113.1}\n  - {name: b, address: 203.0.113.2}\n";
        let config = Config::parse("c", text).unwrap();
        let mut facts = ClusterFacts::default();
        facts.insert(name("a"), blank());
        facts.insert_hole(name("b"), "no route to host");
        let check = |without: &[&str]| {
            check_absence(&config, &facts, &without.iter().map(|text| name(text)).collect::<Vec<_>>())
        };
        assert_eq!(check(&["b"]), Ok(()));
        assert_eq!(check(&[]), Err(Absence::Unexpected(vec![name("b")])));
        assert_eq!(check(&["b", "a"]), Err(Absence::Present(name("a"))));
        assert_eq!(check(&["c"]), Err(Absence::Unknown(name("c"))));
        assert_eq!(check(&[]).unwrap_err().to_string(), "b does not answer");
    }
}
