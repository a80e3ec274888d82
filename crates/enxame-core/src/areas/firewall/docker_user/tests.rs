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
fn in_the_way_of(front: &[&str], openings: &[Opening], family: Family) -> Vec<(Harm, String, String)> {
    let published = published(openings, family);
    let chain = composed(&texts(front), &texts(&[OURS]), ForeignRules::Keep);
    let asked: Vec<Asked> = openings.iter().flat_map(|opening| Asked::of(opening, family, true)).collect();
    let interfaces = texts(&["eth0"]);
    let found = Passage::new(&chain, &published, &interfaces, family).obstacles(&asked);
    found.into_iter().map(|(obstacle, what)| (obstacle.harm, obstacle.rule, what.join(", "))).collect()
}

/// The same for the web, which is open to everybody.
fn in_the_way(front: &[&str]) -> Vec<(Harm, String, String)> {
    let web = [opening(Service::Tcp(80), &[]), opening(Service::Tcp(443), &[])];
    in_the_way_of(front, &web, Family::V4)
}

fn harm(harm: Harm, rule: &str, what: &str) -> (Harm, String, String) {
    (harm, rule.to_owned(), what.to_owned())
}

#[test]
fn what_does_not_shut_what_is_declared_is_not_in_the_way() {
    for harmless in [
        BAN,
        "-s 192.0.2.66/32 -j DROP",
        "-i eth0 -p udp -j DROP",
        "-i eth0 -p tcp -m conntrack --ctorigdstport 8080 --ctdir ORIGINAL -j DROP",
        "-m comment --comment \"a -j DROP of mine\" -j LOG --log-prefix \"x -j DROP \"",
        "-s 192.0.2.66/32 -m comment --comment \"-s 0.0.0.0/0 -j DROP\" -j DROP",
        "-d 203.0.113.12/32 -i eth0 -j DROP",
        "-i eth0 -m conntrack --ctstate INVALID -j DROP",
        "-j RETURN",
    ] {
        assert_eq!(in_the_way(&[harmless]), [], "{harmless}");
    }
}

#[test]
fn a_rule_that_shuts_a_declared_port_or_answers_is_named_with_them() {
    let web = |rule: &str| harm(Harm::Shuts, rule, "TCP 80, TCP 443");
    assert_eq!(in_the_way(&["-j DROP"]), [web("-j DROP"), harm(Harm::KeepsOut, "-j DROP", "answers")]);
    let established = "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN";
    assert_eq!(in_the_way(&[established, "-i eth0 -j DROP"]), [web("-i eth0 -j DROP")]);
    let one = "-p tcp -m conntrack --ctorigdstport 80 --ctdir ORIGINAL -j RETURN";
    let rest = harm(Harm::Shuts, "-j REJECT", "TCP 443");
    assert_eq!(in_the_way(&[established, one, "-j REJECT"]), [rest]);
    let office = "! -s 192.0.2.0/24 -i eth0 -m conntrack --ctstate NEW -j DROP";
    assert_eq!(in_the_way(&[office]), [web(office)]);
    let answers = "-o eth0 -j DROP";
    assert_eq!(in_the_way(&[answers]), [web(answers)]);
    let quiet = "-i eth0 -m comment --comment \"-j RETURN\" -m conntrack --ctstate NEW -j DROP";
    assert_eq!(in_the_way(&[quiet]), [web(quiet)]);
}

#[test]
fn a_rule_that_cannot_be_judged_is_named_as_such() {
    let unclear = |rule: &str, what: &str| harm(Harm::Unclear, rule, what);
    for rule in [
        "-i eth0 -p tcp -m set --match-set them src -j DROP",
        "-i eth0 -p tcp -m socket -j DROP",
        "-i eth0 -j mine",
        "-i eth0 -g mine",
    ] {
        assert_eq!(in_the_way(&[rule]), [unclear(rule, "TCP 80, TCP 443, answers")]);
    }
    // It may be a bridge of the engine's.
    let inner = "-i eth9 -j DROP";
    assert_eq!(in_the_way(&[inner]), [unclear(inner, "TCP 80, TCP 443")]);
    let container = "-i eth0 -p tcp -m tcp --dport 80 -j RETURN";
    let drop = "-i eth0 -m conntrack --ctstate NEW -j DROP";
    assert_eq!(in_the_way(&[container, drop]), [unclear(container, "TCP 80, TCP 443")]);
}

#[test]
fn an_opening_of_udp_is_judged_by_rules_for_udp() {
    let openings = [opening(Service::Udp(5000), &[])];
    for shutting in [
        "-i eth0 -p udp -j DROP",
        "-o eth0 -p udp -j DROP",
        "-p udp -m conntrack --ctorigdstport 4000:5000 --ctdir ORIGINAL -j DROP",
    ] {
        let found = in_the_way_of(&[shutting], &openings, Family::V4);
        assert_eq!(found, [harm(Harm::Shuts, shutting, "UDP 5000")]);
    }
    for harmless in [
        "-o eth0 -p tcp -j DROP",
        "-p tcp -m conntrack --ctorigdstport 5000 --ctdir ORIGINAL -j DROP",
        "-p udp -m conntrack --ctorigdstport 5001:6000 --ctdir ORIGINAL -j DROP",
        "-s 192.0.2.66/32 -p udp -j DROP",
    ] {
        assert_eq!(in_the_way_of(&[harmless], &openings, Family::V4), [], "{harmless}");
    }
}

#[test]
fn an_opening_for_some_is_judged_for_each_of_them_in_both_families() {
    let openings = [opening(Service::Tcp(5432), &["198.51.100.0/24", "192.0.2.7/32", "2001:db8:5::/48"])];
    let judged = |rule: &str, family| in_the_way_of(&[rule], &openings, family);
    let all = "! -s 10.0.0.0/8 -p tcp -m conntrack --ctstate NEW -j DROP";
    let office = "TCP 5432 from 192.0.2.7, TCP 5432 from 198.51.100.0/24";
    assert_eq!(judged(all, Family::V4), [harm(Harm::Shuts, all, office)]);
    let one = "-s 192.0.2.0/24 -j DROP";
    assert_eq!(judged(one, Family::V4), [harm(Harm::Shuts, one, "TCP 5432 from 192.0.2.7")]);
    let sixth = "-s 2001:db8::/32 -j DROP";
    assert_eq!(judged(sixth, Family::V6), [harm(Harm::Shuts, sixth, "TCP 5432 from 2001:db8:5::/48")]);
    let answers = "-d 198.51.100.0/24 -o eth0 -j DROP";
    assert_eq!(judged(answers, Family::V4), [harm(Harm::Shuts, answers, "TCP 5432 from 198.51.100.0/24")]);
    for harmless in ["-s 203.0.113.0/24 -j DROP", "-d 203.0.113.0/24 -o eth0 -j DROP"] {
        assert_eq!(judged(harmless, Family::V4), [], "{harmless}");
    }
    // Everybody is shut out but those.
    let new = "-i eth0 -m conntrack --ctstate NEW -j DROP";
    let others = ["-s 198.51.100.0/24 -j RETURN", "-s 192.0.2.7/32 -j RETURN", new];
    assert_eq!(in_the_way_of(&others, &openings, Family::V4), []);
}

#[test]
fn who_is_named_apart_among_those_let_in_is_told_and_shuts_nobody_else_out() {
    let openings = [opening(Service::Tcp(5432), &["198.51.100.0/24"])];
    let ban = "-s 198.51.100.66/32 -j DROP";
    let found = in_the_way_of(&[ban], &openings, Family::V4);
    assert_eq!(found, [harm(Harm::KeepsOut, ban, "TCP 5432 from 198.51.100.66")]);
    // The rest of it.
    let rest = "! -s 198.51.100.66/32 -m conntrack --ctstate NEW -j DROP";
    let found = in_the_way_of(&[rest], &openings, Family::V4);
    assert_eq!(found, [harm(Harm::Shuts, rest, "TCP 5432 from 198.51.100.0/24")]);
    // Nobody is the rest where its halves are named.
    let new = "-m conntrack --ctstate NEW -j DROP";
    let halves = ["-s 198.51.100.0/25 -j RETURN", "-s 198.51.100.128/25 -j RETURN", new];
    assert_eq!(in_the_way_of(&halves, &openings, Family::V4), []);
    let halves = ["-s 198.51.100.0/25 -j DROP", "-s 198.51.100.128/25 -j RETURN"];
    let found = in_the_way_of(&halves, &openings, Family::V4);
    assert_eq!(found, [harm(Harm::Shuts, halves[0], "TCP 5432 from 198.51.100.0/25")]);
}

#[test]
fn a_rule_is_taken_out_by_a_command_that_a_shell_reads_as_it_stands() {
    assert_eq!(deletion("iptables", "-i eth0 -j DROP"), "iptables -D DOCKER-USER -i eth0 -j DROP");
    let rule = "! -s 10.0.0.0/8 -m comment --comment \"it\\'s $(mine)\" -j DROP";
    assert_eq!(
        deletion("ip6tables", rule),
        "ip6tables -D DOCKER-USER '!' -s 10.0.0.0/8 -m comment --comment \"it's \"'$(mine)' -j DROP"
    );
}
