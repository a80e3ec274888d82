use std::collections::BTreeSet;

use crate::areas::firewall::Source;

use super::*;

const FRESH: &str = "*filter\n:ufw-user-input - [0:0]\n:ufw-user-output - [0:0]\n:ufw-user-forward - [0:0]\n\
    :ufw-user-limit - [0:0]\n:ufw-user-limit-accept - [0:0]\n### RULES ###\n\
    -A ufw-user-limit -m limit --limit 3/minute -j LOG --log-prefix \"[UFW LIMIT BLOCK] \"\n\
    -A ufw-user-limit -j REJECT\n-A ufw-user-limit-accept -j ACCEPT\nCOMMIT\n";

const USED: &str = "*filter\n:ufw-user-input - [0:0]\n### RULES ###\n\n\
    ### tuple ### deny tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw-user-input -p tcp --dport 22 -j DROP\n\n\
    ### tuple ### allow any 8080 0.0.0.0/0 any 198.51.100.0/24 in comment=6d7920617070\n\
    -A ufw-user-input -p tcp --dport 8080 -s 198.51.100.0/24 -j ACCEPT\n\
    -A ufw-user-input -p udp --dport 8080 -s 198.51.100.0/24 -j ACCEPT\n\n\
    ### END RULES ###\n\n### LOGGING ###\n-A ufw-logging-deny -j LOG\n### END LOGGING ###\nCOMMIT\n";

fn opening(service: Service, sources: &[&str]) -> Opening {
    let networks: BTreeSet<IpNet> = sources.iter().map(|source| source.parse().unwrap()).collect();
    let source = if networks.is_empty() { Source::Anywhere } else { Source::Networks(networks) };
    Opening { service, source, purpose: "a test".into() }
}

fn ssh() -> Vec<String> {
    rules(&[opening(Service::Tcp(22), &["203.0.113.1/32", "2001:db8::/32"])], Family::V4, None)
}

#[test]
fn a_fresh_file_gets_our_rules_as_ufw_would_write_them() {
    let text = composed(FRESH, &ssh(), ForeignRules::Keep).unwrap();
    let expected = "### RULES ###\n\n\
        ### tuple ### allow tcp 22 0.0.0.0/0 any 203.0.113.1 in comment=656e78616d653a20612074657374\n\
        -A ufw-user-input -p tcp --dport 22 -s 203.0.113.1 -j ACCEPT\n\n### END RULES ###\n-A ufw-user-limit -m";
    assert!(text.contains(expected), "{text}");
    assert_eq!(composed(&text, &ssh(), ForeignRules::Keep).unwrap(), text, "twice is once");
    assert_eq!(loaded(&text, Family::V4), Loaded { before_ours: 0, all: 1 });
}

#[test]
fn our_rules_stand_before_those_that_would_undo_them() {
    let text = composed(USED, &ssh(), ForeignRules::Keep).unwrap();
    let told = all(&text).unwrap();
    assert_eq!(
        told,
        [
            "allow tcp 22 from 203.0.113.1 (enxame: a test)",
            "deny tcp 22 from any",
            "allow any 8080 from 198.51.100.0/24 (my app)"
        ]
    );
    assert_eq!(foreign(&text).unwrap(), told[1..]);
    assert!(text.ends_with(
        "\n### END RULES ###\n\n### LOGGING ###\n-A ufw-logging-deny -j LOG\n### END LOGGING ###\nCOMMIT\n"
    ));
    assert_eq!(composed(&text, &ssh(), ForeignRules::Keep).unwrap(), text);
    assert_eq!(composed(&text, &[], ForeignRules::Keep).unwrap(), USED, "ours go, the rest is as it was");
    assert_eq!(all(&composed(USED, &ssh(), ForeignRules::Remove).unwrap()).unwrap().len(), 1);
}

#[test]
fn a_file_that_ufw_did_not_write_is_refused_and_not_guessed_at() {
    let refused = |text: &str| composed(text, &[], ForeignRules::Keep).unwrap_err();
    assert_eq!(refused("*filter\nCOMMIT\n"), NotUfws("there is no line `### RULES ###`"));
    assert_eq!(refused("### RULES ###\n"), NotUfws("there is no `COMMIT` behind the rules"));
    let by_hand = "### RULES ###\n-A ufw-user-input -j ACCEPT\nCOMMIT\n";
    assert_eq!(refused(by_hand), NotUfws("a rule has no `### tuple ###`"));
}

#[test]
fn a_rule_is_known_again_in_the_kernels_words() {
    let openings = [
        opening(Service::Tcp(22), &["203.0.113.1/32", "2001:db8::/32"]),
        opening(Service::Esp, &["203.0.113.14/32"]),
        opening(Service::Udp(53), &[]),
        opening(Service::Any, &["203.0.113.14/32"]),
    ];
    let saved = |family| saved(&openings, family, None);
    assert_eq!(
        saved(Family::V4),
        [
            "-s 203.0.113.1/32 -p tcp -m tcp --dport 22 -j ACCEPT",
            "-s 203.0.113.14/32 -p esp -j ACCEPT",
            "-p udp -m udp --dport 53 -j ACCEPT",
            "-s 203.0.113.14/32 -j ACCEPT"
        ]
    );
    assert_eq!(
        saved(Family::V6),
        ["-s 2001:db8::/32 -p tcp -m tcp --dport 22 -j ACCEPT", "-p udp -m udp --dport 53 -j ACCEPT"]
    );
}

#[test]
fn a_rule_of_one_interface_is_as_ufw_writes_it_and_is_known_again() {
    let openings = [opening(Service::Tcp(2049), &["192.168.255.1/32"])];
    let rules = rules(&openings, Family::V4, Some("enxame0"));
    let text = composed(FRESH, &rules, ForeignRules::Keep).unwrap();
    assert!(
        text.contains("-A ufw-user-input -i enxame0 -p tcp --dport 2049 -s 192.168.255.1 -j ACCEPT\n"),
        "{text}"
    );
    assert_eq!(all(&text).unwrap(), ["allow tcp 2049 from 192.168.255.1 in_enxame0 (enxame: a test)"]);
    assert_eq!(
        saved(&openings, Family::V4, Some("enxame0")),
        ["-s 192.168.255.1/32 -i enxame0 -p tcp -m tcp --dport 2049 -j ACCEPT"]
    );
}

#[test]
fn a_setting_is_replaced_where_it_is_and_added_where_it_is_not() {
    let text = "# IPV6=comment\nIPV6=no\nX=1";
    assert_eq!(with_setting(text, "IPV6", "yes"), "# IPV6=comment\nIPV6=yes\nX=1\n");
    assert_eq!(with_setting("X=1", "IPV6", "yes"), "X=1\nIPV6=yes\n");
    assert_eq!(with_setting("IPV6X=1\n", "IPV6", "yes"), "IPV6X=1\nIPV6=yes\n");
}

#[test]
fn a_snapshot_holds_ufws_own_chains_and_the_policies_and_nothing_of_dockers() {
    let saved = "*filter\n:INPUT DROP [1:2]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        :ufw-user-input - [0:0]\n-A INPUT -j ufw-before-input\n-A DOCKER -j RETURN\n\
        -A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n";
    assert_eq!(
        snapshot(saved, Family::V4),
        "*filter\n:INPUT DROP [1:2]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:ufw-user-input - [0:0]\n\
         -A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n"
    );
}

#[test]
fn a_ban_stands_before_ports_for_everybody_and_never_before_those_we_name() {
    let ban = |from: &str| {
        format!("\n### tuple ### deny any any 0.0.0.0/0 any {from} in\n-A ufw-user-input -s {from} -j DROP\n")
    };
    let used =
        |bans: &[String]| USED.replace("\n\n### END RULES", &format!("\n{}\n### END RULES", bans.concat()));
    let text =
        composed(&used(&[ban("192.0.2.9"), ban("203.0.113.0/24")]), &ssh(), ForeignRules::Keep).unwrap();
    let told = all(&text).unwrap();
    assert_eq!(told[..2], ["deny any from 192.0.2.9", "allow tcp 22 from 203.0.113.1 (enxame: a test)"]);
    assert_eq!(told.last().unwrap(), "deny any from 203.0.113.0/24", "it would keep the operator out");
    assert_eq!(loaded(&text, Family::V4), Loaded { before_ours: 1, all: 6 });
    assert_eq!(composed(&text, &ssh(), ForeignRules::Keep).unwrap(), text, "twice is once");
}

#[test]
fn an_exception_of_the_users_own_stays_before_the_ban_that_it_is_from() {
    let rule = |verb: &str, target: &str, from: &str| {
        format!(
            "\n### tuple ### {verb} any any 0.0.0.0/0 any {from} in\n-A ufw-user-input -s {from} -j {target}\n"
        )
    };
    let own = rule("allow", "ACCEPT", "10.8.0.2") + &rule("deny", "DROP", "10.8.0.0/16");
    let used = USED.replace("\n\n### END RULES", &format!("\n{own}\n### END RULES"));
    let told = all(&composed(&used, &ssh(), ForeignRules::Keep).unwrap()).unwrap();
    assert_eq!(told[told.len() - 2..], ["allow any from 10.8.0.2", "deny any from 10.8.0.0/16"]);
}

#[test]
fn what_is_loaded_for_a_rule_is_seen_beside_what_ufw_says_of_it() {
    let text = composed(FRESH, &ssh(), ForeignRules::Keep).unwrap();
    let shut = text.replace("-s 203.0.113.1 -j ACCEPT", "-s 203.0.113.1 -j DROP");
    assert_eq!(all(&shut), all(&text));
    assert_ne!(entries(&shut), entries(&text));
    let open = text.replace("### END RULES ###", "### END RULES ###\n-A ufw-user-input -j ACCEPT");
    assert_eq!(entries(&open), Err(NotUfws("a rule stands outside `### RULES ###`")));
}

#[test]
fn jumps_that_somebody_flushed_are_found_where_ufws_chains_are() {
    let none = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n";
    assert_eq!(missing_jumps(none, Family::V4), [], "ufw makes chains and jumps together");
    let flushed = "*filter\n:INPUT ACCEPT [0:0]\n:ufw6-before-input - [0:0]\n:ufw6-track-forward - [0:0]\n\
                   :ufw6-user-input - [0:0]\n-A INPUT -j somebodys\nCOMMIT\n";
    let jump = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let expected = [jump("INPUT", "ufw6-before-input"), jump("FORWARD", "ufw6-track-forward")];
    assert_eq!(missing_jumps(flushed, Family::V6), expected);
    let whole = "-A INPUT -j ufw6-before-input\n-A FORWARD -j ufw6-track-forward";
    assert_eq!(missing_jumps(&flushed.replace("-A INPUT -j somebodys", whole), Family::V6), []);
}

#[test]
fn what_ends_in_blanks_is_still_there_the_second_time() {
    let odd = USED.replace("\n\n### END RULES", "\n\n### tuple ###  \n\n### END RULES");
    let once = composed(&odd, &ssh(), ForeignRules::Keep).unwrap();
    assert_eq!(composed(&once, &ssh(), ForeignRules::Keep).unwrap(), once);
}
