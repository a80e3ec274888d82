//! Which networks are to be proven.

use super::{Subject, SubjectError, ipv4_of};
use crate::config::Config;
use crate::facts::{ClusterFacts, InterfaceFacts, LinkFacts};

fn config(networks: &str) -> Config {
    let text =
        format!("version: 1\ncluster: lab\nnodes:\n  - name: kvm2\n    address: 203.0.113.12\n{networks}");
    Config::parse("cluster.yaml", &text).unwrap()
}

#[test]
fn an_ipv6_nodes_mesh_is_asked_on_its_ipv4_address() {
    let config = config("");
    let mut node = config.nodes[0].clone();
    let mut facts = crate::facts::blank::blank();
    assert_eq!(ipv4_of(&node, None), Some(node.address));
    node.address = "2001:db8::12".parse().unwrap();
    assert_eq!(ipv4_of(&node, Some(&facts)), None);
    let addresses = vec!["2001:db8::12".parse().unwrap(), "203.0.113.12".parse().unwrap()];
    facts.interfaces =
        vec![InterfaceFacts { name: "ens2".into(), mtu_bytes: 1500, addresses, link: LinkFacts::default() }];
    assert_eq!(ipv4_of(&node, Some(&facts)), Some("203.0.113.12".parse().unwrap()));
}

#[test]
fn without_a_manager_nobody_can_tell_what_to_prove() {
    assert_eq!(Subject::of(&config(""), &ClusterFacts::default()), Err(SubjectError::NoManager));
}
