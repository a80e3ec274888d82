//! Which networks are to be proven.

use super::super::subject::{Subject, SubjectError};
use crate::config::Config;
use crate::facts::ClusterFacts;

fn config(networks: &str) -> Config {
    let text =
        format!("version: 1\ncluster: lab\nnodes:\n  - name: kvm2\n    address: 203.0.113.12\n{networks}");
    Config::parse("cluster.yaml", &text).unwrap()
}

#[test]
fn without_a_manager_nobody_can_tell_what_to_prove() {
    assert_eq!(Subject::of(&config(""), &ClusterFacts::new()), Err(SubjectError::NoManager));
}
