use std::collections::{BTreeMap, BTreeSet};

use super::super::cluster::{Candidate, Cluster};
use super::super::compose::{ComposeFile, Environment};
use super::explain::sections;
use super::{Finding, Severity, explain, lint, rules};
use crate::areas::swarm::Resources;

fn cluster() -> Cluster {
    let node = |name: &str, labels: &[(&str, &str)]| Candidate {
        hostname: name.to_owned(),
        id: None,
        is_manager: true,
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        capacity: Some(Resources { nano_cpus: 2_000_000_000, memory_bytes: 4 << 30 }),
    };
    Cluster {
        nodes: vec![
            node("kvm2-manager", &[("role", "worker")]),
            node("kvm4-manager", &[("role", "worker")]),
            node("kvm8-core", &[("role", "db"), ("db", "true"), ("storage", "true"), ("proxy", "true")]),
        ],
        is_seen: true,
        public_ports: BTreeSet::from([80, 443]),
        networks: BTreeMap::from([("swarm-secure-net".to_owned(), true), ("plain_net".to_owned(), false)]),
    }
}

fn file(text: &str) -> ComposeFile {
    ComposeFile::parse("stack.yaml", text, &Environment::Known(BTreeMap::new())).unwrap()
}

fn found(text: &str) -> Vec<Finding> {
    lint(&[file(text)], Some(&cluster()))
}

fn codes(text: &str) -> BTreeSet<&'static str> {
    found(text).into_iter().filter(|finding| finding.waived.is_none()).map(|finding| finding.code).collect()
}

fn examples(page: &str) -> Vec<&str> {
    page.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next()).collect()
}

#[test]
fn every_rule_has_a_page_whose_first_example_is_found_and_whose_second_is_not() {
    let named: Vec<&str> = sections().map(|(code, _)| code).collect();
    let rules: Vec<&str> = rules::RULES.iter().map(|rule| rule.code).collect();
    assert_eq!(named, rules);
    for rule in &rules::RULES {
        let page = explain(rule.code).unwrap();
        assert!(page.contains(&format!("**{}** · ", rule.severity.word())), "{page}");
        let [bad, good] = examples(page)[..] else { panic!("two examples: {page}") };
        let of_rule: Vec<Finding> =
            found(bad).into_iter().filter(|finding| finding.code == rule.code).collect();
        assert!(!of_rule.is_empty(), "{} is not found in\n{bad}{:#?}", rule.code, found(bad));
        let found_in_good: Vec<Finding> =
            found(good).into_iter().filter(|finding| finding.code == rule.code).collect();
        assert_eq!(found_in_good, [], "{good}");
        for broken in ["unknown-key", "wrong-type", "undefined-reference"] {
            assert!(!codes(good).contains(broken), "{} in the good example of {}", broken, rule.code);
        }
        for finding in of_rule {
            assert!(finding.line > 0 && finding.column > 0, "{finding:?}");
            assert!(!finding.message.is_empty() && !finding.hint.is_empty(), "{finding:?}");
        }
    }
}

#[test]
fn a_finding_stands_where_it_is_written() {
    let text = "services:\n  web:\n    image: nginx\n    deploy:\n      replicas: 4\n      placement: {max_replicas_per_node: 1}\n";
    let places: Vec<(&str, u64, u64)> =
        found(text).iter().map(|finding| (finding.code, finding.line, finding.column)).collect();
    assert!(places.contains(&("floating-tag", 3, 12)), "{places:?}");
    assert!(places.contains(&("too-many-replicas", 5, 17)), "{places:?}");
}

#[test]
fn a_waiver_with_a_reason_waives_its_line_and_no_other() {
    let text =
        |waiver: &str| format!("services:\n  a:\n    {waiver}\n    image: nginx\n  b:\n    image: nginx\n");
    let of_tags = |text: &str| -> Vec<(u64, Option<String>)> {
        let findings = found(text).into_iter().filter(|finding| finding.code == "floating-tag");
        findings.map(|finding| (finding.line, finding.waived)).collect()
    };
    let reason = Some("it is for trying".to_owned());
    assert_eq!(
        of_tags(&text("# enxame: allow floating-tag: it is for trying")),
        [(4, reason.clone()), (6, None)]
    );
    let at_the_end = "services:\n  a:\n    image: nginx # enxame: allow floating-tag: it is for trying\n";
    assert_eq!(of_tags(at_the_end), [(3, reason)]);
    for (waiver, message) in [
        ("# enxame: allow floating-tag", "this waiver gives no reason, and waives nothing"),
        ("# enxame: allow floating-tags: x", "there is no rule floating-tags"),
        ("# enxame: allow host-path: x", "host-path finds nothing here: the waiver can go"),
    ] {
        let text = text(waiver);
        assert!(of_tags(&text).iter().all(|(_, waived)| waived.is_none()));
        let findings = found(&text);
        let said = findings.iter().find(|finding| finding.code == "waiver").unwrap();
        assert_eq!((said.message.as_str(), said.line), (message, 3));
    }
}

#[test]
fn what_only_the_environment_completes_is_not_judged() {
    let text = "services:\n  web:\n    image: ${IMAGE}\n    ports: ['${PORT}:80']\n    deploy: {replicas: '${N}', \
                placement: {constraints: ['${WHERE}'], max_replicas_per_node: 1}}\n";
    let file = ComposeFile::parse("x.yaml", text, &Environment::Unknown).unwrap();
    let codes: BTreeSet<&str> = lint(&[file], Some(&cluster())).iter().map(|finding| finding.code).collect();
    let expected = BTreeSet::from(["clear-network", "no-healthcheck", "no-memory-limit"]);
    assert_eq!(codes, expected);
}

#[test]
fn a_file_by_itself_is_not_held_against_a_cluster() {
    let text = "services:\n  web:\n    image: nginx:1.29\n    ports: ['8080:80']\n    networks: [proxy]\n    deploy:\n      \
                replicas: 9\n      placement: {constraints: [node.labels.x == y], max_replicas_per_node: 1}\n\
                networks: {proxy: {external: true}}\n";
    let codes: BTreeSet<&str> = lint(&[file(text)], None).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, BTreeSet::from(["no-healthcheck", "no-memory-limit"]));
}

#[test]
fn a_label_that_cluster_yaml_does_not_tell_of_is_only_warned_of_until_the_swarm_was_asked() {
    let text = "services:\n  web:\n    image: nginx:1.29\n    deploy: {placement: {constraints: [node.labels.ssd == true]}}\n";
    let severity = |is_seen: bool| {
        let findings = lint(&[file(text)], Some(&Cluster { is_seen, ..cluster() }));
        findings.iter().find(|finding| finding.code == "no-fitting-node").map(|finding| finding.severity)
    };
    assert_eq!(severity(false), Some(Severity::Warning));
    assert_eq!(severity(true), Some(Severity::Error));
}

#[test]
fn a_service_that_names_no_network_is_on_the_default_one() {
    for networks in ["", "    networks: []\n", "    networks:\n", "    networks: [default]\n"] {
        let text = format!("services:\n  web:\n    image: nginx:1.29\n{networks}");
        assert!(codes(&text).contains("clear-network"), "{text}");
        let encrypted = "networks: {default: {driver: overlay, driver_opts: {encrypted: ''}}}\n";
        assert!(!codes(&(text + encrypted)).contains("clear-network"), "{networks}");
    }
}

#[test]
fn two_files_are_judged_together() {
    let router = "services:\n  NAME:\n    image: nginx:1.29\n    deploy: {labels: ['traefik.http.routers.NAME.rule=Host(`a`)', \
                  'traefik.http.services.NAME.loadbalancer.server.port=80']}\n";
    let parse = |name: &str| {
        ComposeFile::parse(&format!("{name}.yaml"), &router.replace("NAME", name), &Environment::Unknown)
            .unwrap()
    };
    let findings = lint(&[parse("one"), parse("two")], None);
    let twice = findings.iter().filter(|finding| finding.code == "traefik-router").count();
    assert_eq!(twice, 2, "{findings:#?}");
}

#[test]
fn nothing_that_yaml_can_say_breaks_a_rule() {
    for text in [
        "services: null",
        "services: []",
        "services: {web: null}",
        "services: {web: []}",
        "services: {web: {image: {}}}",
        "x: 1",
        "services: {web: {ports: x, volumes: 3, networks: true, deploy: [], environment: x, labels: {a: {b: c}}}}",
        "services: {web: {ports: [[]], volumes: [{}], deploy: {replicas: -1, placement: {constraints: [[], '', '=='] }}}}",
        "services: {db: {image: 'postgres:99999999999999999999', volumes: ['a:b:c:d', ':', '']}}",
        "volumes: {a: {driver_opts: [], name: 3}, b: 4}\nnetworks: [x]\nsecrets: {a: 1}",
    ] {
        let _ = found(text);
    }
}
