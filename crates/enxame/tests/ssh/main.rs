//! enxame over real SSH: its own ssh, a real sshd and real agents, on this machine and without the laboratory. Only verbs
//! that change nothing run here.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail the test, and say what they skip"
)]

mod getting_in;
mod world;

use std::fs;

use world::{Ended, World, inside, wait_until};

const ONE: (&str, &str) = ("one", "203.0.113.12");
const TWO: (&str, &str) = ("two", "203.0.113.14");

/// Runs a verb on these nodes as that account.
fn with(world: &World, verb: &str, user: &str, nodes: &[(&str, &str)]) -> Ended {
    let config = world.cluster(user, nodes);
    world.enxame(&[verb, "--quiet", "--config", config.to_str().unwrap()])
}

#[test]
fn accounts_with_sudo_serve_like_root_and_accounts_without_are_refused_with_a_hint() {
    inside("accounts_with_sudo_serve_like_root_and_accounts_without_are_refused_with_a_hint", |world| {
        world.server(ONE.0, ONE.1);
        // What an unprivileged look would not see: the firewall, and files that only root reads.
        let (root, admin) = (with(world, "check", "root", &[ONE]), with(world, "check", "admin", &[ONE]));
        assert_eq!((root.code, &root.stdout), (admin.code, &admin.stdout), "{admin}");
        assert!(root.stdout.contains("1 nodes answered"), "{root}");
        let refused = with(world, "check", "nosudo", &[ONE]);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stderr.contains("one: cannot connect"), "{refused}");
        assert!(refused.stderr.contains("hint: give the account passwordless sudo"), "{refused}");
    });
}

#[test]
fn the_program_is_copied_once_and_is_found_there_by_the_next_connection() {
    inside("the_program_is_copied_once_and_is_found_there_by_the_next_connection", |world| {
        world.server(ONE.0, ONE.1);
        let agents = || world.on(ONE.1, "cd /var/lib/enxame/agents && stat -c '%n %i %Y' *").stdout;
        with(world, "status", "root", &[ONE]);
        let copied = agents();
        assert_eq!(copied.lines().count(), 1, "{copied}");
        with(world, "status", "root", &[ONE]);
        assert_eq!(agents(), copied);
    });
}

#[test]
fn a_server_that_is_down_is_named_and_status_shows_the_other() {
    inside("a_server_that_is_down_is_named_and_status_shows_the_other", |world| {
        world.server(ONE.0, ONE.1);
        let status = with(world, "status", "root", &[ONE, TWO]);
        assert_eq!(status.code, Some(3), "{status}");
        let line = |name: &str| status.stdout.lines().find(|line| line.contains(name)).unwrap().to_owned();
        assert!(line(ONE.1).contains("no engine"), "{status}");
        assert!(line(TWO.1).contains("unreachable"), "{status}");
        assert!(status.stderr.contains("two: cannot connect: ssh could not connect"), "{status}");
        assert!(!status.stderr.contains("one: "), "{status}");
    });
}

#[test]
fn a_server_with_another_key_than_before_gets_no_program_and_the_hint_says_stop() {
    inside("a_server_with_another_key_than_before_gets_no_program_and_the_hint_says_stop", |world| {
        world.server(ONE.0, ONE.1);
        world.trust("id.pub");
        let refused = with(world, "check", "root", &[ONE]);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stderr.contains("another key than before"), "{refused}");
        world.trust("host_key.pub");
        let agents = world.on(ONE.1, "ls /var/lib/enxame");
        assert_eq!(agents.code, Some(2), "{agents}");
    });
}

const AGENT: &str = "'^/var/lib/enxame/agents/'";
/// The lock's file names its holder.
const IS_LOCKED: &str = "[ -s /run/enxame.lock ]";

#[test]
fn two_operators_do_not_work_at_once_and_an_agent_that_is_killed_leaves_no_lock() {
    inside("two_operators_do_not_work_at_once_and_an_agent_that_is_killed_leaves_no_lock", |world| {
        world.server(ONE.0, ONE.1);
        // An agent that is at work for long: it stands still as soon as it has the lock.
        let freeze = format!("until {IS_LOCKED}; do :; done; pkill -STOP -f {AGENT} && touch /run/frozen");
        world.on(ONE.1, &format!("({freeze}) >/dev/null 2>&1 &"));
        let config = world.cluster("root", &[ONE]);
        let verify = ["verify", "--quiet", "--config", config.to_str().unwrap()];
        let first = world.enxame_beside(&verify);
        wait_until("the first is at work", || world.on(ONE.1, "[ -e /run/frozen ]").code == Some(0));
        let second = world.enxame(&verify);
        assert_eq!(second.code, Some(1), "{second}");
        assert!(second.stderr.contains("one: cannot lock the node"), "{second}");

        let killed = world.on(ONE.1, &format!("pkill -KILL -f {AGENT}"));
        assert_eq!(killed.code, Some(0), "{killed}");
        let first: Ended = first.wait_with_output().unwrap().into();
        assert_eq!(first.code, Some(3), "{first}");
        assert!(first.stderr.contains("one: cannot "), "the node is named: {first}");
        // There is no swarm to prove anything of; that was found out under the lock.
        let third = world.enxame(&verify);
        assert_eq!(third.code, Some(3), "{third}");
        assert!(third.stderr.contains("nothing could be proven"), "{third}");
    });
}

#[test]
fn init_proposes_a_file_of_real_servers_that_status_reads() {
    inside("init_proposes_a_file_of_real_servers_that_status_reads", |world| {
        world.server(ONE.0, ONE.1);
        world.server(TWO.0, TWO.1);
        let hosts = [ONE, TWO].map(|(_, address)| format!("admin@{address}"));
        let proposed = world.enxame(&["init", "--ssh-config", "ssh_config", &hosts[0], &hosts[1]]);
        assert_eq!(proposed.code, Some(0), "{proposed}");
        for part in
            ["user: admin\n", "name: one\n    address: 203.0.113.12\n", "allow_from: [\"203.0.113.1\"]"]
        {
            assert!(proposed.stdout.contains(part), "no {part}: {proposed}");
        }
        assert_eq!(proposed.stdout.matches("roles: [storage, db, proxy]").count(), 1, "{proposed}");
        let path = world.file("proposed.yaml");
        fs::write(&path, proposed.stdout).unwrap();
        let status = world.enxame(&["status", "--quiet", "--config", path.to_str().unwrap()]);
        assert_eq!(status.code, Some(0), "{status}");
    });
}
