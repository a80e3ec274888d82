//! The kernel's packet filter: the two `iptables-save`s and the guard's table, next to each other.
//!
//! What Docker and ufw write into chains of their own is left out: it changes by itself. The three programs take as long
//! as all other facts together, so what they told is remembered with the generation of `nf_tables`' rules that they saw:
//! every transaction makes a new one (`nft_net->base_seq`, Linux, `nf_tables_api.c`), and nft and iptables
//! themselves go by it. Legacy iptables has none, and is asked every time.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use enxame_core::facts::{FileFacts, FilterFacts, GuardState, Observed, TableFacts};
use serde::{Deserialize, Serialize};

use crate::actuate::wait_for;
use crate::areas::firewall::guard;
use crate::host::{Command, Host, PATH};
use crate::{deadman, netlink};
use enxame_core::areas::firewall::guard_table::PUBLISHED_CHAIN;
use enxame_core::areas::firewall::iptables::Rule;
use enxame_core::areas::firewall::ufw_rules::{Family, missing_jumps};

/// How long dockerd may take to put its rules in order.
const REARRANGING: Duration = Duration::from_secs(2);
/// What was told last.
const TOLD: &str = "/run/enxame-filter.json";
/// What `iptables-save` is a link to where its rules are `nf_tables`' (update-alternatives(1)).
const OF_NF_TABLES: &str = "xtables-nft-multi";

/// What the programs told, whole.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// Of which rules, and who read them: see [`rules`].
    of: String,
    ipv4: TableFacts,
    ipv6: TableFacts,
    guard: String,
}

/// Looks, and takes what is remembered where nothing has changed since.
pub(super) fn look(host: &dyn Host) -> FilterFacts {
    look_at(host, &rules)
}

/// Asks the programs, for whoever is about to change what they tell of.
pub(super) fn look_anew(host: &dyn Host) -> FilterFacts {
    look_at(host, &|| None)
}

fn look_at(host: &dyn Host, rules: &dyn Fn() -> Option<String>) -> FilterFacts {
    let before = rules();
    if let Some(told) = before.as_ref().and_then(|of| remembered(host, of)) {
        let guard = Observed::Known(guard::state(host, Some(&told.guard)));
        return facts(Observed::Known(told.ipv4), Observed::Known(told.ipv6), guard);
    }
    let (ipv4, ipv6, listed) = ask(host);
    if let Some(of) = before
        && rules().as_ref() == Some(&of)
        && let (Observed::Known(ipv4), Observed::Known(ipv6), Observed::Known(Some(guard))) =
            (&ipv4, &ipv6, &listed)
    {
        remember(host, &Told { of, ipv4: ipv4.clone(), ipv6: ipv6.clone(), guard: guard.clone() });
    }
    let guard = match listed {
        Observed::Known(listed) => Observed::Known(guard::state(host, listed.as_deref())),
        Observed::Unknown(why) => Observed::Unknown(why),
    };
    facts(ipv4, ipv6, guard)
}

fn facts(ipv4: Observed<TableFacts>, ipv6: Observed<TableFacts>, guard: Observed<GuardState>) -> FilterFacts {
    let unconfirmed = match deadman::unconfirmed() {
        Ok(armed) => armed.map(|armed| armed.change),
        Err(error) => Some(error.to_string()),
    };
    FilterFacts { ipv4, ipv6, guard, unconfirmed, ..FilterFacts::default() }
}

fn ask(host: &dyn Host) -> (Observed<TableFacts>, Observed<TableFacts>, Observed<Option<String>>) {
    thread::scope(|scope| {
        let ipv4 = scope.spawn(|| table(host, Family::V4));
        let ipv6 = scope.spawn(|| table(host, Family::V6));
        let listed = guard::listed(host);
        let ended = || Observed::Unknown("the look at it ended early".to_owned());
        (ipv4.join().unwrap_or_else(|_| ended()), ipv6.join().unwrap_or_else(|_| ended()), listed)
    })
}

/// What was told of these rules.
fn remembered(host: &dyn Host, of: &str) -> Option<Told> {
    let FileFacts::Text { content, uid: 0, .. } = host.read(Path::new(TOLD)) else { return None };
    let told: Told = serde_json::from_str(&content).ok()?;
    (told.of == of).then_some(told)
}

fn remember(host: &dyn Host, told: &Told) {
    // Without it the programs are asked again.
    if let Ok(text) = serde_json::to_string(told) {
        drop(host.write(Path::new(TOLD), &text, 0o600));
    }
}

/// Which rules these are: their generation, whose count begins anew with each network namespace and load of the module;
/// and the program that reads them, because the next build may read more. `None` where iptables' are not among them.
fn rules() -> Option<String> {
    if !Family::ALL.iter().all(|family| is_of_nf_tables(*family)) {
        return None;
    }
    let generation = netlink::rules_generation().ok()?;
    let namespace = fs::read_link("/proc/self/ns/net").ok()?;
    let module = fs::metadata("/sys/module/nf_tables").ok().map(|module| module.ino());
    let program = std::env::current_exe().ok()?;
    Some(format!("{generation} of {} {module:?} by {}", namespace.display(), program.display()))
}

/// Whether the program that is started shows `nf_tables`' rules.
fn is_of_nf_tables(family: Family) -> bool {
    let started =
        PATH.split(':').map(|directory| Path::new(directory).join(family.save())).find(|it| it.exists());
    started.and_then(|program| fs::canonicalize(program).ok()).is_some_and(|it| it.ends_with(OF_NF_TABLES))
}

fn table(host: &dyn Host, family: Family) -> Observed<TableFacts> {
    if host.read(&Path::new("/usr/sbin").join(family.save())) == FileFacts::Absent {
        return Observed::Unknown(format!("{} is not installed", family.save()));
    }
    let ask = || match host.run_ok(&Command::new([family.save(), "-t", "filter"])) {
        Ok(text) => Observed::Known(parse(&text, family)),
        Err(error) => Observed::Unknown(error.to_string()),
    };
    let settled = wait_for(
        REARRANGING,
        |()| false,
        || {
            let seen = ask();
            if is_being_rearranged(&seen, family) { Err(()) } else { Ok(seen) }
        },
    );
    settled.unwrap_or_else(|()| ask())
}

/// Whether dockerd may be in the middle of it: it takes the jump to `DOCKER-USER` away and puts it in front again whenever
/// a network comes or goes (moby, `arrangeUserFilterRule`). IPv6 has the jump from engine 27 on.
fn is_being_rearranged(seen: &Observed<TableFacts>, family: Family) -> bool {
    let Observed::Known(table) = seen else { return false };
    let is_first = table.accepted_before_docker_user.as_ref().is_some_and(Vec::is_empty);
    family == Family::V4 && table.docker_user.is_some() && !is_first
}

/// Reads the output of `iptables-save -t filter`: `:CHAIN POLICY [0:0]`, then `-A CHAIN RULE`.
pub(crate) fn parse(text: &str, family: Family) -> TableFacts {
    let policy = |chain: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix(':')?.strip_prefix(chain)?.strip_prefix(' '));
        line.and_then(|rest| rest.split(' ').next()).map(str::to_owned)
    };
    let rules = |chain: &str| -> Vec<String> {
        let of_chain = |line: &'_ str| {
            line.strip_prefix("-A ")?
                .strip_prefix(chain)?
                .strip_prefix(' ')
                .map(|rule| rule.trim_end().to_owned())
        };
        text.lines().filter_map(of_chain).collect()
    };
    let chain = |name: &str| policy(name).map(|_| rules(name));
    let jump = |rules: &[String], chain: &str| {
        rules.iter().position(|rule| Rule::read(rule).is_jump_of_all_to(chain))
    };
    let input = rules("INPUT");
    let to_ufw = jump(&input, &format!("{}-before-input", family.prefix()));
    let forward = rules("FORWARD");
    let to_docker_user = jump(&forward, "DOCKER-USER");
    TableFacts {
        // A table that nothing was ever put into is not listed, and lets everything pass.
        input_policy: policy("INPUT").unwrap_or_else(|| "ACCEPT".to_owned()),
        forward_policy: policy("FORWARD").unwrap_or_else(|| "ACCEPT".to_owned()),
        goes_through_ufw: to_ufw.is_some() && missing_jumps(text, family).is_empty(),
        accepted_before_ufw: accepting(input.iter().take(to_ufw.unwrap_or_default()), &rules),
        accepted_before_docker_user: to_docker_user
            .map(|place| accepting(forward.iter().take(place), &rules)),
        user_input: chain(&format!("{}-user-input", family.prefix())),
        docker_user: chain("DOCKER-USER"),
        published: chain(PUBLISHED_CHAIN),
    }
}

/// Those that let something new in, by themselves or through a chain of somebody's (`rules` has its rules): but for what a
/// host says to itself, what has come out of `IPsec`, and what comes from the engine's own bridges (dockerd puts such a
/// rule in front of `DOCKER-USER` now and then: seen on 26.1.5).
fn accepting<'a>(
    in_front: impl Iterator<Item = &'a String>,
    rules: &dyn Fn(&str) -> Vec<String>,
) -> Vec<String> {
    let accepts = |rule: &Rule| rule.target.chain() == Some("ACCEPT") && !is_harmless(rule);
    let lets_pass = |rule: &Rule| match rule.target.chain() {
        Some(chain) if chain.starts_with("ufw") || chain.starts_with("DOCKER-ISOLATION") => false,
        // Of the engine's, that let in what is published.
        Some(chain) if chain.starts_with("DOCKER") => !is_harmless(rule),
        Some("ACCEPT") => accepts(rule),
        Some(chain) => rules(chain).iter().any(|inner| accepts(&Rule::read(inner))) && !is_harmless(rule),
        None => false,
    };
    in_front.filter(|rule| lets_pass(&Rule::read(rule))).cloned().collect()
}

/// Whether it takes nothing that is new and comes from outside.
fn is_harmless(rule: &Rule) -> bool {
    let is_inner = |interface: &str| {
        interface == "lo" || ["docker", "br-"].iter().any(|engine| interface.starts_with(engine))
    };
    let is_known = |state: &str| matches!(state, "RELATED" | "ESTABLISHED");
    let upright = rule.conditions.iter().filter(|condition| !condition.is_inverted);
    let mut excluding = upright.map(|condition| (condition.option.as_str(), condition.value()));
    excluding.any(|(option, value)| match option {
        "-i" => is_inner(value),
        "--pol" => value == "ipsec",
        "--ctstate" | "--state" => value.split(',').all(is_known),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::host::{FakeHost, Finished};

    const SAVED: &str = "# Generated by iptables-save v1.8.11 (nf_tables) on Sun Nov 22 23:00:00 2026\n*filter\n\
        :INPUT DROP [4:160]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n\
        :ufw-before-input - [0:0]\n:ufw-user-input - [0:0]\n-A INPUT -j ufw-before-logging-input\n\
        -A INPUT -j ufw-before-input\n-A DOCKER-USER -j RETURN\n\
        -A ufw-user-input -s 203.0.113.1/32 -p tcp -m tcp --dport 22 -j ACCEPT\n\
        -A ufw-user-input -p tcp -m tcp --dport 80 -j ACCEPT\nCOMMIT\n";

    #[test]
    fn policies_and_the_chains_that_people_write_are_seen() {
        let facts = parse(SAVED, Family::V4);
        assert_eq!([facts.input_policy.as_str(), facts.forward_policy.as_str()], ["DROP", "DROP"]);
        assert!(facts.goes_through_ufw);
        let rules = facts.user_input.unwrap();
        assert_eq!(rules[1], "-p tcp -m tcp --dport 80 -j ACCEPT");
        assert_eq!(rules.len(), 2);
        assert_eq!(facts.docker_user.unwrap(), ["-j RETURN"]);
        assert_eq!(facts.published, None);
    }

    #[test]
    fn what_lets_pass_before_the_chains_that_close_is_seen() {
        let with =
            |rules: &str| parse(&SAVED.replace("-A INPUT -j ufw-before-logging-input\n", rules), Family::V4);
        let facts = with("-A FORWARD -i docker0 -j ACCEPT\n");
        assert_eq!((facts.accepted_before_ufw.len(), facts.accepted_before_docker_user), (0, None));
        let facts = with(
            "-A INPUT -i lo -j ACCEPT\n-A INPUT -s 10.0.0.0/8 -j ACCEPT\n-A INPUT -p tcp -j f2b-sshd\n\
             -A INPUT -p udp -m policy --dir in --pol ipsec -m udp --dport 4789 -j ACCEPT\n\
             -A FORWARD -j ufw-before-forward\n-A FORWARD -i wg0 -j ACCEPT\n\
             -A FORWARD -i docker_gwbridge ! -o docker_gwbridge -j ACCEPT\n-A FORWARD -o docker0 -j DOCKER\n\
             -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -j DOCKER-USER\n\
             -A FORWARD -i docker0 -j ACCEPT\n",
        );
        assert_eq!(facts.accepted_before_ufw, ["-s 10.0.0.0/8 -j ACCEPT"]);
        assert_eq!(facts.accepted_before_docker_user.unwrap(), ["-i wg0 -j ACCEPT", "-o docker0 -j DOCKER"]);
        let facts = with(
            "-A INPUT -j ts-input\n-A ts-input -i tailscale0 -j ACCEPT\n-A INPUT -j f2b-sshd\n-A f2b-sshd -j RETURN\n\
             -A INPUT -m conntrack ! --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A FORWARD -j DOCKER-ISOLATION-STAGE-1\n-A FORWARD -j DOCKER-USER\n",
        );
        let named = ["-j ts-input", "-m conntrack ! --ctstate RELATED,ESTABLISHED -j ACCEPT"];
        assert_eq!(facts.accepted_before_ufw, named);
        assert_eq!(facts.accepted_before_docker_user, Some(Vec::new()));
        let behind = SAVED.replace("-A DOCKER-USER", "-A INPUT -s 10.0.0.0/8 -j ACCEPT\n-A DOCKER-USER");
        assert_eq!(parse(&behind, Family::V4).accepted_before_ufw, Vec::<String>::new());
    }

    #[test]
    fn what_a_comment_says_is_no_option() {
        let with =
            |rules: &str| parse(&SAVED.replace("-A INPUT -j ufw-before-logging-input\n", rules), Family::V4);
        let accepting = [
            // Each would be harmless by what its comment says.
            "-s 10.0.0.0/8 -m comment --comment \"-i lo \" -j ACCEPT",
            "-p tcp -m comment --comment \"not --pol ipsec\" -j ACCEPT",
            "-p tcp -m comment --comment \"--ctstate RELATED,ESTABLISHED \" -j ACCEPT",
            "-i lo2 -j ACCEPT",
            "! -i docker0 -j ACCEPT",
            "-m policy --dir in ! --pol ipsec -j ACCEPT",
            "-m conntrack --ctstate NEW,RELATED,ESTABLISHED -j ACCEPT",
        ];
        let rules = accepting.map(|rule| format!("-A INPUT {rule}\n")).concat();
        assert_eq!(with(&rules).accepted_before_ufw, accepting);
        let harmless = with(
            "-A INPUT -m comment --comment \"of ours -j ACCEPT\"\n\
             -A INPUT -m comment --comment \"-j ACCEPT\" -j f2b-sshd\n-A f2b-sshd -m comment --comment \"-j ACCEPT\" -j DROP\n\
             -A INPUT -p tcp -m comment --comment \"x -j DOCKER\" -j LOG --log-prefix \"y -j ACCEPT\"\n\
             -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -m comment --comment \"! --ctstate\" -j ACCEPT\n\
             -A INPUT -p esp -m comment --comment mine -i lo -j ACCEPT\n\
             -A FORWARD -m comment --comment \"-j DOCKER-USER\" -j LOG\n-A FORWARD -i wg0 -j ACCEPT\n\
             -A FORWARD -m comment --comment \"of the engine's\" -j DOCKER-USER\n",
        );
        assert_eq!(harmless.accepted_before_ufw, Vec::<String>::new());
        assert_eq!(harmless.accepted_before_docker_user.unwrap(), ["-i wg0 -j ACCEPT"]);
    }

    #[test]
    fn a_table_that_is_not_listed_lets_everything_pass() {
        let facts = parse("", Family::V6);
        assert_eq!(
            facts,
            TableFacts {
                input_policy: "ACCEPT".into(),
                forward_policy: "ACCEPT".into(),
                ..TableFacts::default()
            }
        );
    }

    /// A node with all three, on which `ufw-user-input` holds the given rule.
    fn host(rule: &str, told: Option<&str>) -> FakeHost {
        let finished = |stdout: String| Finished { code: Some(0), stdout, stderr: String::new() };
        let saved = |prefix: &str| {
            finished(format!(
                "*filter\n:INPUT DROP [0:0]\n:{prefix}-user-input - [0:0]\n-A {prefix}-user-input {rule}\n"
            ))
        };
        let host = FakeHost::default()
            .with_file("/usr/sbin/iptables-save", "")
            .with_file("/usr/sbin/ip6tables-save", "")
            .with_file(enxame_core::areas::firewall::guard_table::LISTING, "table\n")
            .answering("iptables-save", saved("ufw"))
            .answering("ip6tables-save", saved("ufw6"))
            .answering("nft --stateless list", finished("table\n".to_owned()));
        if let Some(told) = told {
            host.write(Path::new(TOLD), told, 0o600).unwrap();
        }
        host
    }

    fn told(host: &FakeHost) -> Option<String> {
        match host.read(Path::new(TOLD)) {
            FileFacts::Text { content, .. } => Some(content),
            _ => None,
        }
    }

    #[test]
    fn what_was_told_of_a_generation_holds_for_that_one_only() {
        let first = host("-j ACCEPT", None);
        let seen = look_at(&first, &|| Some("7".to_owned()));
        assert_eq!(first.ran().len(), 3);
        let told = told(&first).unwrap();
        // The same rules: nobody is asked, and the answer is the same.
        let same = host("-j DROP", Some(&told));
        assert_eq!((look_at(&same, &|| Some("7".to_owned())), same.ran()), (seen.clone(), Vec::new()));
        // Any change: they are asked.
        for generation in [Some("8"), None] {
            let changed = host("-j DROP", Some(&told));
            let facts = look_at(&changed, &|| generation.map(str::to_owned));
            assert_eq!(facts.ipv4.known().unwrap().user_input.as_deref(), Some(&["-j DROP".to_owned()][..]));
            assert_eq!(changed.ran().len(), 3);
        }
        // What the table was loaded as does not come from the kernel, and is read anew.
        let other = host("-j ACCEPT", Some(&told))
            .with_file(enxame_core::areas::firewall::guard_table::LISTING, "table { }\n");
        assert_eq!(look_at(&other, &|| Some("7".to_owned())).guard, Observed::Known(GuardState::Changed));
    }

    #[test]
    fn what_changed_while_it_was_told_or_is_not_whole_is_not_remembered() {
        let host_of = || host("-j ACCEPT", Some("{\"of\":\"7\""));
        let now = Cell::new(6);
        let moving = host_of();
        look_at(&moving, &|| {
            now.set(now.get() + 1);
            Some(now.get().to_string())
        });
        assert_eq!((moving.ran().len(), told(&moving).unwrap().as_str()), (3, "{\"of\":\"7\""));
        let without_guard = FakeHost::default();
        assert_eq!(look_at(&without_guard, &|| Some("7".to_owned())).ipv4.known(), None);
        assert_eq!(told(&without_guard), None);
        let legacy = host("-j ACCEPT", None);
        look_at(&legacy, &|| None);
        assert_eq!(told(&legacy), None);
    }
}
