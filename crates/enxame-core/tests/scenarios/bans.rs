//! Thousands of rules, of others and of ours.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use enxame_core::config::Config;
use enxame_core::facts::{ClusterFacts, FileFacts, Observed};
use enxame_core::limits::MAX_TEXT_BYTES;
use enxame_core::plan::{self, Plan};

use super::{directory, facts};
use crate::show::Show::Findings;
use crate::text;

const BANS: u32 = 6_000;
const RULES: &str = "/etc/ufw/user.rules";

fn banned() -> impl Iterator<Item = Ipv4Addr> {
    (0..BANS).map(|number| Ipv4Addr::from(0xc612_0000 + number))
}

/// The first node's ufw has thousands of bans, as fail2ban's `banaction = ufw` writes them, in front of all rules.
fn cluster() -> ClusterFacts {
    let folder = directory().join("a_converged_cluster_needs_nothing");
    let mut facts = facts::read(&directory(), &folder.join("facts.json"));
    let node = facts.values_mut().next().unwrap();
    let mut bans = String::new();
    for address in banned() {
        let comment = hex("by Fail2Ban after 5 attempts against sshd, of which the last came a minute ago");
        write!(
            bans,
            "\n### tuple ### reject any any 0.0.0.0/0 any {address} in comment={comment}\n\
             -A ufw-user-input -s {address} -j REJECT\n"
        )
        .unwrap();
    }
    let Some(FileFacts::Text { content, .. }) = node.files.get_mut(RULES) else { panic!("no {RULES}") };
    *content = content.replacen("### RULES ###\n", &format!("### RULES ###\n{bans}"), 1);
    assert!(content.len() > 1024 * 1024, "{}", content.len());
    let Observed::Known(table) = &mut node.filter.ipv4 else { panic!("no table") };
    let live =
        banned().map(|address| format!("-s {address}/32 -j REJECT --reject-with icmp-port-unreachable"));
    table.user_input.as_mut().unwrap().splice(0..0, live);
    facts
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn plan_of(facts: &ClusterFacts, more: &str) -> Plan {
    let folder = directory().join("a_converged_cluster_needs_nothing");
    let yaml = std::fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    let config = Config::parse("cluster.yaml", &format!("{yaml}{more}")).unwrap();
    let started = Instant::now();
    let plan = plan::make(&config, facts, None, enxame_core::areas::resources()).unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    plan
}

#[test]
fn thousands_of_bans_are_kept_counted_and_planned() {
    let mut facts = cluster();
    let plan = plan_of(&facts, "");
    assert!(!plan.is_refused());
    assert_eq!(plan.changes, [], "they stand where they belong");
    let told = text::of(plan, Findings);
    assert!(told.contains("and keeps them: ") && told.contains("; and 5988 more\n"), "{told}");
    assert!(told.len() < 4096, "{told}");
    // Something of ours is missing: it comes, and nobody recites the rest.
    let node = facts.values_mut().next().unwrap();
    let Observed::Known(table) = &mut node.filter.ipv4 else { panic!("no table") };
    table.user_input.as_mut().unwrap().pop();
    let plan = plan_of(&facts, "");
    assert!(!plan.is_refused());
    let [change] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    let json = serde_json::to_string(change).unwrap();
    assert!(json.contains("`6015 rules`") || json.contains("the 6015 of its file"), "{json}");
    assert!(json.len() < 8192, "{} bytes", json.len());
}

#[test]
fn thousands_of_bans_that_go_are_counted() {
    let plan = plan_of(&cluster(), "firewall: {foreign: remove}\n");
    assert!(!plan.is_refused());
    let [change] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    let gone = change.differences.iter().filter_map(|one| one.old.as_deref()).collect::<Vec<_>>();
    assert!(gone.contains(&"5950 more rules") && gone.len() < 100, "{gone:?}");
}

#[test]
fn rules_of_ours_that_could_not_be_read_again_are_refused() {
    let addresses = |count: u32| {
        let addresses = (0..count).map(|number| Ipv4Addr::from(0xc612_0000 + 2 * number).to_string());
        let opening = |port: u32| {
            let from = addresses.clone().collect::<Vec<_>>().join(", ");
            format!("{{protocol: tcp, port: {port}, from: [{from}]}}")
        };
        format!("firewall: {{openings: [{}]}}\n", (9000..9012).map(opening).collect::<Vec<_>>().join(", "))
    };
    let refused = |count| {
        let plan = plan_of(&cluster(), &addresses(count));
        plan.is_refused().then(|| text::of(plan, Findings))
    };
    assert_eq!(refused(100), None);
    let told = refused(5_000).expect("a refusal");
    let limit = format!("over the limit of {MAX_TEXT_BYTES}");
    assert!(told.contains(RULES) && told.contains(&limit) && told.contains("name networks"), "{told}");
}
