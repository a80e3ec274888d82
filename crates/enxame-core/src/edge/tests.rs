use super::*;
use crate::areas::firewall::Service;
use crate::config::Config;
use crate::declare::{Finding, Severity};
use crate::facts::blank::blank;
use crate::facts::{ClusterFacts, SshSession};
use crate::plan;

const OURS: u64 = 7;

fn config(more: &str) -> Config {
    let edge = if more.starts_with("firewall:") { "" } else { "firewall: {edge: {provider: hostinger}}" };
    let text = format!(
        "version: 1\ncluster: lab\n{more}\n{edge}\nnodes:\n\
         \x20 - name: kvm2\n    address: 203.0.113.12\n  - name: kvm8\n    address: 203.0.113.18\n"
    );
    Config::parse("cluster.yaml", &text).unwrap()
}

fn facts() -> ClusterFacts {
    let session = Some(SshSession::parse("198.51.100.9 50022 203.0.113.12 22").unwrap());
    let node = |name: &str| {
        let mut facts = blank();
        facts.ssh_session = session;
        (NodeName::new(name).unwrap(), facts)
    };
    [node("kvm2"), node("kvm8")].into_iter().collect()
}

fn machine(id: u64, firewall: Option<u64>) -> MachineFacts {
    MachineFacts { id, firewall, is_locked: false }
}

fn nothing_there() -> EdgeFacts {
    let names = ["kvm2", "kvm8"].map(|name| NodeName::new(name).unwrap());
    EdgeFacts {
        provider: "hostinger".into(),
        firewall: None,
        names: [(3, "HTTP and SSH only".into())].into(),
        machines: names.into_iter().zip([machine(12, None), machine(18, None)]).collect(),
        strangers: BTreeMap::new(),
    }
}

fn rule(id: u64, protocol: &str, port: &str, from: &str) -> RuleFacts {
    let source = if from == "any" { "any" } else { "custom" };
    RuleFacts {
        id,
        action: "accept".into(),
        protocol: protocol.into(),
        port: port.into(),
        source: source.into(),
        source_detail: from.into(),
    }
}

fn change(config: &Config, edge: &EdgeFacts) -> Option<EdgeChange> {
    difference(config, &facts(), edge).0
}

/// What the provider has once the change is carried out.
fn after(change: &EdgeChange, mut edge: EdgeFacts) -> EdgeFacts {
    let mut firewall =
        edge.firewall.take().unwrap_or(FirewallFacts { id: OURS, is_synced: true, rules: vec![] });
    firewall.rules.retain(|rule| !change.delete.contains(rule));
    firewall.rules.extend((100..).zip(&change.add).map(|(id, one)| {
        let port = one.service.port().map_or("any".to_owned(), |port| port.to_string());
        rule(id, one.service.protocol(), &port, &one.source_text().unwrap_or("any".into()))
    }));
    firewall.is_synced = true;
    for machine in edge.machines.values_mut() {
        machine.firewall = Some(firewall.id);
    }
    edge.firewall = Some(firewall);
    edge
}

fn in_order() -> EdgeFacts {
    after(&change(&config(""), &nothing_there()).unwrap(), nothing_there())
}

#[test]
fn where_nothing_is_there_the_firewall_is_made_with_the_whole_matrix_and_activated_everywhere() {
    let change = change(&config(""), &nothing_there()).unwrap();
    assert_eq!((change.firewall, change.name.as_str()), (None, "enxame-lab"));
    assert_eq!((change.sync.len(), change.delete.len()), (0, 0));
    assert_eq!(change.activate.iter().map(|one| one.id).collect::<Vec<_>>(), [12, 18]);
    let rules: Vec<String> = change.add.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "TCP 22 from 198.51.100.9",
            "TCP 80 from any",
            "TCP 443 from any",
            "TCP 2377 from 203.0.113.12",
            "TCP 2377 from 203.0.113.18",
            "TCP 7946 from 203.0.113.12",
            "TCP 7946 from 203.0.113.18",
            "TCP 29877 from 203.0.113.12",
            "TCP 29877 from 203.0.113.18",
            "UDP 7946 from 203.0.113.12",
            "UDP 7946 from 203.0.113.18",
            "ESP from 203.0.113.12",
            "ESP from 203.0.113.18",
            "ICMP from any",
            "ICMPv6 from any",
        ]
    );
}

#[test]
fn there_is_nothing_to_do_once_it_is_carried_out() {
    assert_eq!(change(&config(""), &in_order()), None);
}

#[test]
fn rules_are_compared_by_what_they_mean_not_by_how_they_are_written() {
    let mut edge = in_order();
    for rule in &mut edge.firewall.as_mut().unwrap().rules {
        match (rule.protocol.as_str(), rule.port.as_str()) {
            ("TCP", "22") => (rule.protocol, rule.source_detail) = ("SSH".into(), "198.51.100.9/32".into()),
            ("TCP", "80") => (rule.protocol, rule.port) = ("HTTP".into(), "0".into()),
            ("TCP", "443") => rule.protocol = "HTTPS".into(),
            ("TCP", "2377") => rule.port = "2377:2377".into(),
            ("ESP", _) => {
                rule.source_detail = format!("{0}-{0}", rule.source_detail);
                rule.port = "1:65535".into();
            }
            ("ICMP", _) => rule.port = "0".into(),
            _ => {}
        }
    }
    assert_eq!(change(&config(""), &edge), None);
}

#[test]
fn rules_that_say_something_else_go_and_drop_rules_too() {
    let mut edge = in_order();
    let stale = [
        rule(1, "TCP", "22", "any"),
        rule(2, "TCP", "22:23", "198.51.100.9"),
        rule(3, "SSH", "2222", "198.51.100.9"),
        rule(4, "GRE", "any", "any"),
        rule(5, "any", "any", "any"),
        rule(6, "TCP", "80", "0.0.0.0/0"),
        rule(7, "TCP", "443", "any"),
        RuleFacts { action: "drop".into(), ..rule(8, "TCP", "22", "198.51.100.9") },
        rule(9, "TCP", "22", "198.51.100.9-198.51.100.12"),
    ];
    edge.firewall.as_mut().unwrap().rules.extend(stale.clone());
    let change = change(&config(""), &edge).unwrap();
    // The seventh says what another says already.
    assert_eq!(change.delete, stale);
    assert_eq!((change.add.len(), change.activate.len(), change.sync.len()), (0, 0, 2));
}

#[test]
fn rules_that_the_servers_were_not_told_of_are_put_in_force() {
    let mut edge = in_order();
    edge.firewall.as_mut().unwrap().is_synced = false;
    let change = change(&config(""), &edge).unwrap();
    assert!(change.is_out_of_sync && change.add.is_empty() && change.delete.is_empty());
    assert_eq!(change.sync.iter().map(|machine| machine.id).collect::<Vec<_>>(), [12, 18]);
}

#[test]
fn a_firewall_that_is_replaced_is_named() {
    let mut edge = in_order();
    edge.machines.get_mut(&NodeName::new("kvm8").unwrap()).unwrap().firewall = Some(3);
    let change = change(&config(""), &edge).unwrap();
    let node = NodeName::new("kvm8").unwrap();
    assert_eq!(change.activate, [Activation { id: 18, node, replaces: Some(3) }]);
    let expected = Difference::changed("firewall of kvm8", "HTTP and SSH only", "enxame-lab");
    assert_eq!(change.differences, [expected]);
}

fn errors(config: &Config, facts: &ClusterFacts, edge: &EdgeFacts) -> Vec<Finding> {
    let plan = plan::make(config, facts, Some(edge), &[]).unwrap();
    assert_eq!(plan.is_refused(), plan.findings.iter().any(|one| one.severity == Severity::Error));
    plan.findings.into_iter().filter(|one| one.severity == Severity::Error).collect()
}

#[test]
fn a_plan_that_would_cut_off_the_operators_ssh_is_refused_and_names_the_address() {
    let config = config("ssh: {allow_operator: false, allow_from: [192.0.2.1]}");
    let found = errors(&config, &facts(), &nothing_there());
    // The nodes' own firewall would do the same, and says so itself.
    let found: Vec<_> = found.into_iter().filter(|one| one.section == "3.1").collect();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].section.as_str(), found[0].node.as_ref().unwrap().as_str()), ("3.1", "kvm2"));
    assert!(found[0].message.contains("198.51.100.9 may not reach port 22"), "{found:?}");
    let covered = self::config("ssh: {allow_operator: false, allow_from: [198.51.100.0/24]}");
    assert_eq!(errors(&covered, &facts(), &nothing_there()), []);
}

#[test]
fn a_plan_that_lets_nobody_in_is_refused_where_the_session_is_not_known() {
    let mut facts = facts();
    for node in facts.values_mut() {
        node.ssh_session = None;
    }
    let found = errors(&config(""), &facts, &nothing_there());
    assert!(found.iter().any(|one| one.message.contains("would let in nobody by SSH")), "{found:?}");
    assert_eq!(errors(&config("ssh: {allow_from: [192.0.2.1]}"), &facts, &nothing_there()), []);
}

#[test]
fn a_node_that_the_account_does_not_have_and_a_machine_that_is_busy_are_errors() {
    let kvm8 = NodeName::new("kvm8").unwrap();
    let mut edge = nothing_there();
    edge.machines.remove(&kvm8);
    let found = errors(&config(""), &facts(), &edge);
    assert!(found.len() == 1 && found[0].message.contains("has 203.0.113.18"), "{found:?}");
    let mut edge = nothing_there();
    edge.machines.get_mut(&kvm8).unwrap().is_locked = true;
    let found = errors(&config(""), &facts(), &edge);
    assert!(found.len() == 1 && found[0].message.contains("takes no orders"), "{found:?}");
    // Where nothing is to be done nobody needs to wait.
    let mut edge = in_order();
    edge.machines.get_mut(&kvm8).unwrap().is_locked = true;
    assert_eq!(errors(&config(""), &facts(), &edge), []);
}

#[test]
fn a_machine_that_is_no_node_and_has_the_firewall_is_warned_of_and_stands_in_the_way_of_a_change() {
    let mut edge = in_order();
    edge.strangers.insert(99, "old.example".into());
    let plan = plan::make(&config(""), &facts(), Some(&edge), &[]).unwrap();
    assert!(plan.is_empty() && !plan.is_refused());
    assert!(plan.findings.iter().any(|one| one.message.contains("old.example (99) is no node")));
    edge.firewall.as_mut().unwrap().rules.pop();
    let found = errors(&config(""), &facts(), &edge);
    assert!(found.len() == 1 && found[0].message.contains("old.example (99) is no node"), "{found:?}");
    assert!(change(&config(""), &edge).unwrap().sync.iter().all(|machine| machine.id != 99));
}

#[test]
fn the_edge_makes_a_plan_that_is_not_empty_and_survives_its_own_json() {
    let plan = plan::make(&config(""), &facts(), Some(&nothing_there()), &[]).unwrap();
    assert!(!plan.is_empty());
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<plan::Plan>(&json).unwrap(), plan);
    assert!(plan::make(&config(""), &facts(), None, &[]).unwrap().edge.is_none());
}

#[test]
fn a_rule_without_ports_means_the_same_whatever_its_port_says_and_any_with_a_port_means_nothing_of_ours() {
    let service = |protocol, port| rule(1, protocol, port, "any").meaning().map(|rule| rule.service);
    for port in ["any", "0", "", "1:65535", "500"] {
        assert_eq!(service("ESP", port), Some(Service::Esp));
    }
    assert_eq!(service("any", "any"), Some(Service::Any));
    assert_eq!((service("any", "80"), service("TCP", "any"), service("UDP", "1:65535")), (None, None, None));
}

#[test]
fn with_a_full_mesh_the_edge_lets_in_everything_between_nodes_and_nothing_else_of_theirs() {
    let config = config("firewall: {mesh: full, edge: {provider: hostinger}}");
    let change = change(&config, &nothing_there()).unwrap();
    let of_nodes: Vec<String> =
        change.add.iter().map(ToString::to_string).filter(|rule| rule.contains("203.0.113.")).collect();
    let expected =
        ["ESP from 203.0.113.12", "ESP from 203.0.113.18", "any from 203.0.113.12", "any from 203.0.113.18"];
    assert_eq!(of_nodes, expected);
    assert_eq!(self::change(&config, &after(&change, nothing_there())), None);
}

#[test]
fn from_the_least_mesh_to_the_full_one_what_it_covers_goes() {
    let config = config("firewall: {mesh: full, edge: {provider: hostinger}}");
    let change = change(&config, &in_order()).unwrap();
    let add: Vec<String> = change.add.iter().map(ToString::to_string).collect();
    assert_eq!(add, ["any from 203.0.113.12", "any from 203.0.113.18"]);
    let gone: Vec<String> = change.delete.iter().map(ToString::to_string).collect();
    assert!(gone.len() == 8 && gone.iter().all(|rule| rule.contains(" from 203.0.113.")), "{gone:?}");
}
