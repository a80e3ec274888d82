//! The host's firewall on a node (manual 3.2, corrected). Never `ufw reset`: the files are replaced and loaded at once.

use std::path::Path;
use std::time::Duration;

use enxame_core::areas::firewall::docker_user;
use enxame_core::areas::firewall::guard_table::PUBLISHED_CHAIN;
use enxame_core::areas::firewall::ufw::{
    Action, CONF, DEFAULTS, SETTINGS, Wanted, after_rules, plain, setting, user_rules, with_after_block,
};
use enxame_core::areas::firewall::ufw_rules::{self as ufw, Family};
use enxame_core::config::ForeignRules;
use enxame_core::facts::{FileFacts, Observed, TableFacts};
use enxame_core::files::bytes_of;

use crate::actuate::{ActuateError, Context};
use crate::deadman::{Step, WayBack};
use crate::host::{Command, Host};

/// ufw's own script: it loads the files, and starts no Python.
const INIT: &str = "/lib/ufw/ufw-init";
/// The mode that ufw gives its rules.
pub(super) const MODE: u32 = 0o640;
/// Loading a table takes a moment; the dead-man switch waits for all of them together.
const LOAD: Duration = Duration::from_secs(10);
/// All of ufw from the start: Python and a dozen loads, on the smallest server. Nobody goes back meanwhile, so it is less
/// than the dead-man switch waits.
const FROM_THE_START: Duration = Duration::from_secs(60);

/// ufw's own script with this verb.
pub(super) fn init(verb: &str) -> Command {
    Command::new([INIT, verb]).within(FROM_THE_START)
}

/// A file that is there already.
fn read(host: &dyn Host, path: &str) -> Result<String, ActuateError> {
    match host.read(Path::new(path)) {
        FileFacts::Text { content, .. } => Ok(content),
        FileFacts::Absent => Err(ActuateError::wrong(format!("{path} is not there"), "dpkg-reconfigure ufw")),
        FileFacts::Unreadable(why) => Err(ActuateError::wrong(format!("cannot read {path}: {why}"), "")),
    }
}

/// Docker holds the lock of legacy iptables now and then.
pub(super) const WAIT: &str = "--wait=5";

fn restore(family: Family, text: String) -> Step {
    Step::reading([family.restore(), WAIT, "--noflush"], text)
}

/// Whether it could be loaded.
fn try_load(host: &dyn Host, family: Family, text: &str) -> Result<(), ActuateError> {
    let command = Command::new([family.restore(), WAIT, "--noflush", "--test"]).reading(bytes_of(text));
    Ok(host.run_ok(&command.within(LOAD)).map(drop)?)
}

pub(super) fn load(on: &Context<'_>, family: Family, text: &str) -> Result<(), ActuateError> {
    let command = Command::new([family.restore(), WAIT, "--noflush"]).reading(bytes_of(text)).within(LOAD);
    Ok(on.host.run_ok(&command).map(drop)?)
}

pub(super) fn way_back(host: &dyn Host) -> Result<WayBack, ActuateError> {
    let now = crate::facts::filter(host);
    let mut files: Vec<String> =
        Family::ALL.into_iter().flat_map(|family| [user_rules(family), after_rules(family)]).collect();
    files.extend([CONF, DEFAULTS].map(str::to_owned));
    let is_on = matches!(&now.ipv4, Observed::Known(table) if table.user_input.is_some());
    let mut reload = Vec::new();
    if !is_on {
        reload.push(Step::new([INIT, "force-stop"]));
    }
    for (family, table) in [(Family::V4, &now.ipv4), (Family::V6, &now.ipv6)] {
        let Observed::Known(table) = table else {
            let message = format!("cannot see what {} has loaded, and so could not go back", family.save());
            return Err(ActuateError::wrong(message, ""));
        };
        // What is live, not what its files say: they may hold what was never loaded and would cut off SSH.
        let saved = host.run_ok(&Command::new([family.save(), "-t", "filter"]))?;
        let chain = |rules: &Option<Vec<String>>| rules.clone().unwrap_or_default();
        let (docker, published) = (chain(&table.docker_user), chain(&table.published));
        let docker = docker_user::tables(&docker, &published, PUBLISHED_CHAIN);
        for text in [ufw::snapshot(&saved, family), docker] {
            try_load(host, family, &text)?;
            reload.push(restore(family, text));
        }
        // What the change adds to chains that are everybody's.
        let program = family.restore().trim_end_matches("-restore");
        let jumps = ufw::missing_jumps(&saved, family);
        reload.extend(jumps.iter().map(|(from, to)| Step::where_done([program, WAIT, "-D", from, "-j", to])));
    }
    Ok(WayBack { files, reload })
}

pub(super) fn act(on: &mut Context<'_>, action: &Action) -> Result<(), ActuateError> {
    let families = action.wanted().map_err(|error| ActuateError::wrong(error.to_string(), ""))?;
    let now = crate::facts::filter(on.host);
    // Everything is made and tried before anything is written.
    let mut files = Vec::new();
    for (family, wanted) in &families {
        let family = *family;
        let (user, after) = (user_rules(family), after_rules(family));
        let wrong = |path: &str, error: &dyn std::error::Error| {
            ActuateError::wrong(format!("cannot change {path}: {error}"), "")
        };
        let rules = ufw::composed(&read(on.host, &user)?, &wanted.rules, action.foreign)
            .map_err(|error| wrong(&user, &error))?;
        let block =
            with_after_block(&read(on.host, &after)?, wanted).map_err(|error| wrong(&after, &error))?;
        let before = if family == Family::V4 { &now.ipv4 } else { &now.ipv6 };
        for text in [&rules, &wanted.block(), &docker_chains(before, wanted, action.foreign)?] {
            try_load(on.host, family, text)?;
        }
        files.extend([(user, rules), (after, block)]);
    }
    for (path, text) in &files {
        on.host.write(Path::new(path), text, MODE)?;
    }
    let defaults = read(on.host, DEFAULTS)?;
    let wanted = SETTINGS
        .iter()
        .filter(|(key, value)| setting(&defaults, key).map(plain) != Some(plain(value)))
        .fold(defaults.clone(), |text, (key, value)| ufw::with_setting(&text, key, value));
    on.host.write(Path::new(DEFAULTS), &wanted, 0o644)?;
    follow(on, &families, (defaults != wanted, action.foreign))?;
    // Turning ufw on writes its files anew, and without the rules for IPv6 where the kernel has none.
    for (family, wanted) in &families {
        let path = user_rules(*family);
        let now = read(on.host, &path)?;
        let wrong = |error| ActuateError::wrong(format!("cannot change {path}: {error}"), "");
        let rules = ufw::composed(&now, &wanted.rules, action.foreign).map_err(wrong)?;
        if rules != now {
            on.host.write(Path::new(&path), &rules, MODE)?;
            load(on, *family, &rules)?;
        }
    }
    Ok(())
}

/// `DOCKER-USER` and the chain that it hands to, with the rules of others that were there before.
fn docker_chains(
    before: &Observed<TableFacts>,
    wanted: &Wanted,
    foreign: ForeignRules,
) -> Result<String, ActuateError> {
    let Observed::Known(before) = before else {
        return Err(ActuateError::wrong("cannot see whose rules DOCKER-USER has, and would lose them", ""));
    };
    let theirs = before.docker_user.as_deref().unwrap_or_default();
    let rules = docker_user::composed(theirs, &wanted.docker_user, foreign);
    Ok(docker_user::tables(&rules, &wanted.published, PUBLISHED_CHAIN))
}

/// Makes the kernel follow the files.
fn follow(
    on: &mut Context<'_>,
    families: &[(Family, Wanted)],
    (is_other_policy, foreign): (bool, ForeignRules),
) -> Result<(), ActuateError> {
    let is_enabled = setting(&read(on.host, CONF)?, "ENABLED").map(plain) == Some("yes");
    let now = crate::facts::filter(on.host);
    let is_up = |table: &Observed<TableFacts>| {
        table.known().is_some_and(|table| {
            table.goes_through_ufw
                && table.user_input.is_some()
                && table.input_policy == "DROP"
                && table.forward_policy == "DROP"
        })
    };
    for family in Family::ALL {
        let saved = on.host.run_ok(&Command::new([family.save(), "-t", "filter"]))?;
        let jumps = ufw::missing_jumps(&saved, family);
        if !jumps.is_empty() {
            let rules: Vec<String> = jumps.iter().map(|(from, to)| format!("-A {from} -j {to}\n")).collect();
            let rules = rules.concat();
            load(on, family, &format!("*filter\n{rules}COMMIT\n"))?;
        }
    }
    if !is_enabled {
        (on.progress)("turning ufw on");
        // It writes its rules again, with its logging; one start of Python.
        on.host.run_ok(&Command::new(["ufw", "--force", "enable"]).within(FROM_THE_START))?;
    } else if is_other_policy || !is_up(&now.ipv4) || !is_up(&now.ipv6) {
        (on.progress)("loading ufw from the start");
        let is_there = now.ipv4.known().is_some_and(|table| table.user_input.is_some());
        on.host.run_ok(&init(if is_there { "force-reload" } else { "start" }))?;
    } else {
        for family in Family::ALL {
            load(on, family, &read(on.host, &user_rules(family))?)?;
        }
    }
    for (family, wanted) in families {
        let family = *family;
        let before = match family {
            Family::V4 => &now.ipv4,
            Family::V6 => &now.ipv6,
        };
        // Loading ufw from the start has taken the rules of others away.
        load(on, family, &docker_chains(before, wanted, foreign)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actuate::PackageLists;
    use crate::host::{FakeHost, Finished};

    fn answer(code: i32, stdout: &str, stderr: &str) -> Finished {
        Finished { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    #[test]
    fn a_way_back_that_could_not_be_gone_is_refused_before_anything_is_changed() {
        let saved = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
        let host = FakeHost::default()
            .with_file("/usr/sbin/iptables-save", "")
            .with_file("/usr/sbin/ip6tables-save", "")
            .answering("iptables-save", answer(0, saved, ""))
            .answering("ip6tables-save", answer(0, saved, ""))
            .answering("nft", answer(0, "", ""))
            .answering("iptables-restore", answer(0, "", ""))
            .answering("ip6tables-restore", answer(2, "", "line 7 failed"));
        let refused = way_back(&host).expect_err("a refusal");
        assert!(format!("{:?}", refused.failure()).contains("line 7 failed"), "{refused:?}");
        let loads = |command: &&Command| command.argv.first().is_some_and(|name| name.ends_with("-restore"));
        let ran = host.ran();
        let loads: Vec<_> = ran.iter().filter(loads).collect();
        assert_eq!(loads.len(), 3, "two of one family and the first of the other: {loads:?}");
        assert!(loads.iter().all(|command| command.argv.contains(&"--test".to_owned())), "{loads:?}");
    }

    const FRESH: &str = "*filter\n:ufw-user-input - [0:0]\n### RULES ###\n\n### END RULES ###\nCOMMIT\n";

    /// A node on which ufw is up, with a rule of somebody's in `DOCKER-USER`.
    fn up(load: Finished) -> FakeHost {
        let saved = |prefix: &str| {
            let hooks = ["input", "output", "forward"].map(|hook| {
                let chain = format!("{prefix}-before-{hook}");
                format!(":{chain} - [0:0]\n-A {} -j {chain}\n", hook.to_uppercase())
            });
            let text = format!(
                "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:{prefix}-user-input - [0:0]\n\
                 :DOCKER-USER - [0:0]\n{}-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -s 10.0.0.0/8 -j RETURN\n\
                 -A DOCKER-USER -s 192.0.2.6/32 -j DROP\n-A DOCKER-USER -j RETURN\nCOMMIT\n",
                hooks.concat()
            );
            answer(0, &text, "")
        };
        FakeHost::default()
            .with_file("/usr/sbin/iptables-save", "")
            .with_file("/usr/sbin/ip6tables-save", "")
            .with_file(&user_rules(Family::V4), FRESH)
            .with_file(&user_rules(Family::V6), &FRESH.replace("ufw-", "ufw6-"))
            .with_file(&after_rules(Family::V4), "")
            .with_file(&after_rules(Family::V6), "")
            .with_file(CONF, "ENABLED=yes\n")
            .with_file(DEFAULTS, "")
            .answering("iptables-save", saved("ufw"))
            .answering("ip6tables-save", saved("ufw6"))
            .answering("iptables-restore", answer(0, "", ""))
            .answering("ip6tables-restore", load)
            .answering(INIT, answer(0, "", ""))
    }

    fn act_on(host: &FakeHost, foreign: &str) -> Result<(), ActuateError> {
        let action: Action = serde_json::from_value(serde_json::json!({
            "node": [{"from": "any", "what": [[{"tcp": 22}, "ssh"]]}],
            "containers": [{"from": "any", "what": [[{"tcp": 443}, "web"]]}],
            "interfaces": ["eth0"], "foreign": foreign, "closed": null
        }))
        .unwrap();
        let mut context =
            Context { host, handed: None, progress: &mut |_| {}, package_lists: &mut PackageLists::Fetched };
        act(&mut context, &action)
    }

    /// What the last load put into `DOCKER-USER`.
    fn loaded(host: &FakeHost) -> Vec<String> {
        let ran = host.ran();
        let text = String::from_utf8(ran.last().unwrap().stdin.clone()).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("-A DOCKER-USER ")).map(str::to_owned).collect()
    }

    #[test]
    fn rules_of_others_are_loaded_again_all_or_none() {
        let host = up(answer(0, "", ""));
        act_on(&host, "keep").unwrap();
        let ours = "-i eth0 -j enxame-published";
        let theirs = ["-s 10.0.0.0/8 -j RETURN", "-s 192.0.2.6/32 -j DROP"];
        assert_eq!(loaded(&host), [theirs[0], theirs[1], ours, "-j RETURN"]);
        let host = up(answer(0, "", ""));
        act_on(&host, "remove").unwrap();
        assert_eq!(loaded(&host), [ours, "-j RETURN"]);
    }

    #[test]
    fn what_one_family_does_not_take_leaves_the_files_of_both_as_they_were() {
        let host = up(answer(2, "", "line 7 failed"));
        let refused = act_on(&host, "keep").expect_err("a refusal");
        assert!(format!("{:?}", refused.failure()).contains("line 7 failed"), "{refused:?}");
        assert_eq!(read(&host, &user_rules(Family::V4)).unwrap(), FRESH);
        assert_eq!(read(&host, &after_rules(Family::V4)).unwrap(), "");
        let ran = host.ran();
        let mut loads = ran.iter().filter(|one| one.argv.iter().any(|word| word.ends_with("-restore")));
        assert!(loads.all(|one| one.argv.contains(&"--test".to_owned())), "{ran:?}");
    }

    #[test]
    fn the_way_back_loads_what_is_live_and_keeps_every_file() {
        let host = up(answer(0, "", ""));
        let WayBack { files, reload } = way_back(&host).unwrap();
        let named = Family::ALL.into_iter().flat_map(|family| [user_rules(family), after_rules(family)]);
        assert_eq!(files, named.chain([CONF, DEFAULTS].map(str::to_owned)).collect::<Vec<_>>());
        let programs: Vec<_> = reload.iter().map(|step| step.argv[0].as_str()).collect();
        let (v4, v6) = ("iptables-restore", "ip6tables-restore");
        assert_eq!(programs, [v4, v4, v6, v6]);
        assert!(reload.iter().all(|step| step.argv.contains(&"--noflush".to_owned()) && !step.may_fail));
        for family in [&reload[..2], &reload[2..]] {
            let [ufws, docker] = family else { panic!("{family:?}") };
            assert!(ufws.stdin.contains(":INPUT DROP") && ufws.stdin.contains("-user-input - "), "{ufws:?}");
            assert!(!ufws.stdin.contains("DOCKER-USER"), "{ufws:?}");
            let theirs = "-A DOCKER-USER -s 10.0.0.0/8 -j RETURN\n-A DOCKER-USER -s 192.0.2.6/32 -j DROP\n";
            assert!(docker.stdin.contains(theirs), "{docker:?}");
        }
        // What is to be loaded then was tried, and nothing was changed by looking.
        let tried: Vec<_> = host.ran().into_iter().filter(|one| one.argv[0].ends_with("-restore")).collect();
        let texts = |step: &Step| step.stdin.clone().into_bytes();
        assert_eq!(
            tried.iter().map(|one| one.stdin.clone()).collect::<Vec<_>>(),
            reload.iter().map(texts).collect::<Vec<_>>()
        );
        assert!(tried.iter().all(|one| one.argv.contains(&"--test".to_owned())), "{tried:?}");
    }

    #[test]
    fn the_way_back_to_a_ufw_that_was_off_turns_it_off_first_and_takes_its_jumps_away() {
        let off = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:ufw-before-input - [0:0]\nCOMMIT\n";
        let host = FakeHost::default()
            .with_file("/usr/sbin/iptables-save", "")
            .with_file("/usr/sbin/ip6tables-save", "")
            .answering("iptables-save", answer(0, off, ""))
            .answering("ip6tables-save", answer(0, &off.replace("ufw-", "ufw6-"), ""))
            .answering("iptables-restore", answer(0, "", ""))
            .answering("ip6tables-restore", answer(0, "", ""));
        let reload = way_back(&host).unwrap().reload;
        assert_eq!(reload[0], Step::new([INIT, "force-stop"]));
        let jumps: Vec<_> = reload.iter().filter(|step| step.may_fail).cloned().collect();
        let gone = |program, chain| Step::where_done([program, WAIT, "-D", "INPUT", "-j", chain]);
        assert_eq!(jumps, [gone("iptables", "ufw-before-input"), gone("ip6tables", "ufw6-before-input")]);
        assert!(reload[1].stdin.contains(":INPUT ACCEPT"), "{reload:?}");
    }

    #[test]
    fn a_ufw_that_is_off_is_turned_on_with_our_rules_in_its_files_and_theirs_loaded_last() {
        let turned_on = |host: &FakeHost| {
            let ran = host.ran();
            ran.iter().position(|one| one.to_string() == "ufw --force enable")
        };
        let host = up(answer(0, "", "")).with_file(CONF, "ENABLED=no\n").answering("ufw", answer(0, "", ""));
        act_on(&host, "keep").unwrap();
        let place = turned_on(&host).expect("it is turned on");
        assert!(read(&host, &user_rules(Family::V4)).unwrap().contains("--dport 22 -j ACCEPT"));
        let ran = host.ran();
        let tried = |one: &Command| one.argv.contains(&"--test".to_owned());
        let loads = |one: &&Command| one.argv[0].ends_with("-restore") && !tried(one);
        assert_eq!(ran[..place].iter().filter(loads).count(), 0, "{ran:?}");
        assert!(ran[..place].iter().any(tried), "{ran:?}");
        assert_eq!(loaded(&host)[..2], ["-s 10.0.0.0/8 -j RETURN", "-s 192.0.2.6/32 -j DROP"]);
        // One that is on is not turned on again.
        let host = up(answer(0, "", ""));
        act_on(&host, "keep").unwrap();
        assert_eq!(turned_on(&host), None);
        // One that does not come up is a failure.
        let host = up(answer(0, "", ""))
            .with_file(CONF, "ENABLED=no\n")
            .answering("ufw", answer(1, "", "ERROR: problem running ufw-init"));
        let error = act_on(&host, "keep").unwrap_err();
        assert!(format!("{:?}", error.failure()).contains("problem running ufw-init"), "{error:?}");
    }
}
