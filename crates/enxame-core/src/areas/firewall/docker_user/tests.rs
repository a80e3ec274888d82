use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::areas::firewall::Source;

use super::*;

fn opening(service: Service, sources: &[&str]) -> Opening {
    let networks: BTreeSet<IpNet> = sources.iter().map(|source| source.parse().unwrap()).collect();
    let source = if networks.is_empty() { Source::Anywhere } else { Source::Networks(networks) };
    Opening { service, source, purpose: "a test".into() }
}

#[test]
fn what_docker_publishes_is_judged_by_the_port_that_was_asked_for() {
    let openings = [opening(Service::Tcp(443), &[]), opening(Service::Tcp(29877), &["203.0.113.14/32"])];
    let rules = published(&openings, Family::V4);
    assert_eq!(
        rules,
        [
            "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
            "-p tcp -m conntrack --ctorigdstport 443 --ctdir ORIGINAL -j RETURN",
            "-s 203.0.113.14/32 -p tcp -m conntrack --ctorigdstport 29877 --ctdir ORIGINAL -j RETURN",
            "-j DROP"
        ]
    );
    assert_eq!(published(&openings, Family::V6).len(), 3);
}

const OURS: &str = "-i eth0 -j enxame-published";
const BAN: &str = "-p tcp -m multiport --dports 80,443 -j f2b-web";

fn texts(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|rule| (*rule).to_owned()).collect()
}

fn composed_of(now: &[&str], fate: ForeignRules) -> Vec<String> {
    let first = composed(&texts(now), &texts(&[OURS]), fate);
    assert_eq!(composed(&first, &texts(&[OURS]), fate), first, "once more");
    first
}

#[test]
fn rules_of_others_stay_all_in_their_order_and_nothing_is_reached_that_was_not() {
    let now =
        [BAN, "-s 10.0.0.0/8 -j RETURN", "-i eth9 -j enxame-published", "-j DROP", "-j RETURN", "-j LOG"];
    assert_eq!(
        composed_of(&now, ForeignRules::Keep),
        [BAN, "-s 10.0.0.0/8 -j RETURN", "-j DROP", OURS, "-j RETURN", "-j LOG"]
    );
    assert_eq!(composed_of(&[OURS, "-j DROP"], ForeignRules::Keep), ["-j DROP", OURS]);
}

#[test]
fn rules_of_others_go_all_but_for_bans_and_the_engines_own() {
    let now = ["-s 10.0.0.0/8 -j RETURN", BAN, "-j DROP", "-j RETURN"];
    assert_eq!(composed_of(&now, ForeignRules::Remove), [BAN, OURS, "-j RETURN"]);
    assert_eq!(foreign(&texts(&now)), ["-s 10.0.0.0/8 -j RETURN", "-j DROP"]);
    assert_eq!(composed_of(&[], ForeignRules::Remove), [OURS]);
}

/// What is in the way when these stand in front of ours.
fn in_the_way(front: &[&str]) -> Vec<(Obstacle, String)> {
    let published = published(&[opening(Service::Tcp(80), &[]), opening(Service::Tcp(443), &[])], Family::V4);
    let chain = composed(&texts(front), &texts(&[OURS]), ForeignRules::Keep);
    let found = obstacles(&chain, &published, &texts(&["eth0"]), &[80, 443]);
    found.into_iter().map(|(obstacle, what)| (obstacle, what.join(", "))).collect()
}

#[test]
fn what_does_not_shut_what_is_declared_is_not_in_the_way() {
    for harmless in [
        BAN,
        "-s 192.0.2.66/32 -j DROP",
        "-i eth0 -p udp -j DROP",
        "-i eth0 -p tcp -m conntrack --ctorigdstport 8080 --ctdir ORIGINAL -j DROP",
        "-m comment --comment \"a -j DROP of mine\" -j LOG --log-prefix \"x -j DROP \"",
        "-i eth0 -m conntrack --ctstate INVALID -j DROP",
        "-j RETURN",
    ] {
        assert_eq!(in_the_way(&[harmless]), [], "{harmless}");
    }
}

#[test]
fn a_rule_that_shuts_a_declared_port_or_answers_is_named_with_them() {
    let shut = |rule: &str, what: &str| (Obstacle::Shuts(rule.to_owned()), what.to_owned());
    assert_eq!(in_the_way(&["-j DROP"]), [shut("-j DROP", "TCP 80, TCP 443, answers to containers")]);
    let established = "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN";
    assert_eq!(in_the_way(&[established, "-i eth0 -j DROP"]), [shut("-i eth0 -j DROP", "TCP 80, TCP 443")]);
    let web = "-p tcp -m conntrack --ctorigdstport 80 --ctdir ORIGINAL -j RETURN";
    assert_eq!(in_the_way(&[established, web, "-j REJECT"]), [shut("-j REJECT", "TCP 443")]);
    let office = "! -s 192.0.2.0/24 -i eth0 -m conntrack --ctstate NEW -j DROP";
    assert_eq!(in_the_way(&[office]), [shut(office, "TCP 80, TCP 443")]);
    let answers = "-o eth0 -j DROP";
    assert_eq!(in_the_way(&[answers]), [shut(answers, "TCP 80, TCP 443")]);
}

#[test]
fn a_rule_that_cannot_be_judged_is_named_as_such() {
    let unclear = |rule: &str, what: &str| (Obstacle::Unclear(rule.to_owned()), what.to_owned());
    for rule in ["-i eth0 -p tcp -m set --match-set them src -j DROP", "-i eth0 -j mine", "-i eth0 -g mine"] {
        assert_eq!(in_the_way(&[rule]), [unclear(rule, "TCP 80, TCP 443, answers to containers")]);
    }
    // It may be a bridge of the engine's.
    let inner = "-i eth9 -j DROP";
    assert_eq!(in_the_way(&[inner]), [unclear(inner, "TCP 80, TCP 443")]);
    let container = "-i eth0 -p tcp -m tcp --dport 80 -j RETURN";
    let drop = "-i eth0 -m conntrack --ctstate NEW -j DROP";
    assert_eq!(in_the_way(&[container, drop]), [unclear(container, "TCP 80, TCP 443")]);
}
