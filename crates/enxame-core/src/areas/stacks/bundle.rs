//! What `docker stack deploy` reads of a stack, as it travels to the manager that runs it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::names::ObjectName;
use crate::secret::Secret;

/// A stack's files and variables. Any of them may be secret: they are in no plan and no journal, and are not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// What Docker calls the stack.
    pub stack: ObjectName,
    /// Which of the files are compose files; where two say something of one thing, the later counts.
    pub compose: Vec<String>,
    /// The files, by their path below the directory that the command runs in.
    pub files: BTreeMap<String, Content>,
    /// The variables.
    pub environment: BTreeMap<String, String>,
}

/// A file's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl Bundle {
    /// For the way to the node.
    #[must_use]
    pub fn sealed(&self) -> Option<Secret> {
        serde_json::to_string(self).ok().map(Secret::new)
    }

    /// What was handed over.
    ///
    /// # Errors
    /// When it is no bundle.
    pub fn opened(sealed: &Secret) -> Result<Self, serde_json::Error> {
        serde_json::from_str(sealed.reveal())
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stack, compose, files, environment } = self;
        f.debug_struct("Bundle")
            .field("stack", stack)
            .field("compose", compose)
            .field("files", &files.keys())
            .field("environment", &environment.keys())
            .finish()
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        hex::decode(String::deserialize(from)?).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_arrives_whole_and_does_not_show_what_is_in_it() {
        let bundle = Bundle {
            stack: ObjectName::new("web").unwrap(),
            compose: vec!["web.yaml".to_owned()],
            files: [("web.yaml".to_owned(), Content(b"\xffgeheim".to_vec()))].into(),
            environment: [("TOKEN".to_owned(), "geheim".to_owned())].into(),
        };
        let sealed = bundle.sealed().unwrap();
        assert_eq!(Bundle::opened(&sealed).unwrap(), bundle);
        let shown = format!("{bundle:?} {sealed:?}");
        assert!(shown.contains("web.yaml") && shown.contains("TOKEN"), "{shown}");
        assert!(!shown.contains("geheim") && !shown.contains(&hex::encode("geheim")), "{shown}");
    }
}
