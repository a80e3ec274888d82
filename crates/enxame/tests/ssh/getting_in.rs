//! Logins as servers really have them: what they print, run and refuse. Where nobody gets in, what is said is what the server or
//! ssh said, and the hint follows from it.

use std::net::TcpListener;

use crate::world::{Ended, World, inside, run};
use crate::{ONE, TWO, with};

/// What becomes of a server that answers and does not serve us.
const REFUSED: i32 = 1;
/// What becomes of one that does not answer, or cannot serve now.
const ABSENT: i32 = 3;

/// Looks at the server as that account, and expects the exit code, what is said of it, and the hint.
fn expect(world: &World, user: &str, code: i32, said: &str, hint: &str) -> Ended {
    let ended = with(world, "status", user, &[ONE]);
    let told = &ended.stderr;
    let is_told = told.contains(&format!("one: cannot connect: {said}")) && told.contains("\n      hint: ");
    assert!(ended.code == Some(code) && is_told && told.contains(hint), "{user}: no {said}, {hint}: {ended}");
    ended
}

fn serves(world: &World, user: &str) {
    let ended = with(world, "status", user, &[ONE]);
    assert!(ended.code == Some(0) && ended.stdout.contains("no engine"), "{user}: {ended}");
}

/// Makes something else of the server.
fn on_server(world: &World, command: &str) {
    let ended = world.on(ONE.1, command);
    assert_eq!(ended.code, Some(0), "{command}: {ended}");
}

/// Whether a program was brought to the server.
fn has_agents(world: &World) -> bool {
    world.on(ONE.1, "ls -A /var/lib/enxame/agents 2>/dev/null").stdout.lines().count() > 0
}

#[test]
fn the_agent_is_found_behind_whatever_a_login_prints_in_any_shell() {
    // What looks like a frame, like our own words, and like a message of the day without an end.
    const SHELLS: &str = r#"
        noise='echo Welcome; echo WANT; echo enxame runs root; seq 3000; echo to you >/dev/stderr'
        for each in bash:.bashrc zsh:.zshenv tcsh:.cshrc fish:.config/fish/config.fish; do
            shell=${each%%:*}
            account "in$shell" "/usr/bin/$shell"
            sudoer "in$shell" 'ALL=(ALL:ALL) NOPASSWD: ALL'
            mkdir -p "/home/in$shell/.config/fish"
            echo "${noise% >*}; touch /home/in$shell/ran" >"/home/in$shell/${each#*:}"
            chown "in$shell:" "/home/in$shell"
        done
        account forced /bin/sh
        sudoer forced 'ALL=(ALL:ALL) NOPASSWD: ALL'
        sed -i 's|^|command="echo you ask: $SSH_ORIGINAL_COMMAND; eval \\"$SSH_ORIGINAL_COMMAND\\"" |' /etc/keys/forced
        mkdir -p /etc/ssh
        echo "$noise" >/etc/ssh/sshrc
        account homeless /bin/sh
        sudoer homeless 'ALL=(ALL:ALL) NOPASSWD: ALL'
        rmdir /home/homeless
    "#;
    inside("getting_in::the_agent_is_found_behind_whatever_a_login_prints_in_any_shell", |world| {
        world.server_with(ONE.0, ONE.1, SHELLS);
        for user in ["inbash", "inzsh", "intcsh", "infish", "forced", "homeless", "root"] {
            serves(world, user);
        }
        let printed = world.on(ONE.1, "ls /home/*/ran").stdout;
        assert!(printed.starts_with("Welcome\nWANT\n"), "{printed}");
        let ran: Vec<&str> = printed.lines().filter(|line| line.starts_with("/home/")).collect();
        assert_eq!(ran, ["bash", "fish", "tcsh", "zsh"].map(|shell| format!("/home/in{shell}/ran")));
    });
}

#[test]
fn a_login_that_leaves_behind_what_prints_is_told_as_that() {
    const BABBLE: &str = r"
        account babbler /bin/bash
        sudoer babbler 'ALL=(ALL:ALL) NOPASSWD: ALL'
        echo '(while sleep 0.1; do echo hello; done) &' >/home/babbler/.bashrc
    ";
    inside("getting_in::a_login_that_leaves_behind_what_prints_is_told_as_that", |world| {
        world.server_with(ONE.0, ONE.1, BABBLE);
        let ended = with(world, "status", "babbler", &[ONE]);
        let hint = "something that the login started there prints beside the agent";
        assert!(ended.code == Some(ABSENT) && ended.stderr.contains(hint), "{ended}");
    });
}

#[test]
fn a_login_that_runs_something_else_is_told_in_its_own_words_with_the_account_it_names() {
    // The first is what cloud-init writes for root, but for its pause (`disable_root_opts`).
    const LOGINS: &str = r#"
        sed -i 's|^|no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo '\''Please login as the user \\"debian\\" rather than the user \\"root\\".'\'';echo;exit 142" |' /etc/keys/root
        account noroot /bin/sh
        sed -i 's|^|command="echo Please log in as ec2-user. >\&2; exit 1" |' /etc/keys/noroot
        account none /bin/sh
        sed -i 's|^|command="echo '\''Please login as the user \\"NONE\\" rather than the user \\"root\\".'\''" |' /etc/keys/none
        account shut /usr/sbin/nologin
        account silent /bin/false
        account files /bin/sh
        echo 'Match User files
ForceCommand internal-sftp' >>/etc/sshd.conf
        account jailed /bin/sh
        chown jailed: /home/jailed
        echo 'Match User jailed
ChrootDirectory /home/jailed' >>/etc/sshd.conf
        account asks /bin/sh
        sed -i 's|^|command="echo '\''root@one: Permission denied (publickey).'\''; echo sudo: a password is required; exit 255" |' /etc/keys/asks
    "#;
    inside(
        "getting_in::a_login_that_runs_something_else_is_told_in_its_own_words_with_the_account_it_names",
        |world| {
            world.server_with(ONE.0, ONE.1, LOGINS);
            let told = |user, said, hint| expect(world, user, REFUSED, said, hint);
            let cloud = "the login ended with exit code 142: Please login as the user \"debian\" rather";
            told("root", cloud, "log in as debian: `ssh.user: debian`");
            told(
                "noroot",
                "the login ended with exit code 1: Please log in as ec2-user.",
                "log in as ec2-user",
            );
            let elsewhere = "the account's login runs something else";
            told("none", "the login ended with exit code 0: Please login as the user \"NONE\"", elsewhere);
            told(
                "shut",
                "the login ended with exit code 1: This account is currently not available.",
                elsewhere,
            );
            told("silent", "the login ended with exit code 1\n", elsewhere);
            told(
                "files",
                "the login ended with exit code 1: This service allows sftp connections only.",
                elsewhere,
            );
            expect(world, "jailed", ABSENT, "the connection broke off: ", "the server's log why it ended");
            // Whoever says what ssh and sudo say is neither.
            let ended = with(world, "status", "asks", &[ONE]);
            assert!(ended.stderr.contains("hint: try the same by hand"), "{ended}");
        },
    );
}

#[test]
fn each_way_in_which_sudo_refuses_has_its_own_hint() {
    const SUDO: &str = r#"
        # sshd lets in whom sudo does not: it asks PAM for accounts, each by its own rules.
        for kind in auth account session; do echo "$kind required pam_permit.so"; done >/etc/pam.d/sshd
        echo 'UsePAM yes
AcceptEnv LC_*' >>/etc/sshd.conf
        account tty /bin/sh
        sudoer tty 'ALL=(ALL:ALL) NOPASSWD: ALL'
        echo 'Defaults:tty requiretty' >>/etc/sudoers.d/tty
        account some /bin/sh
        sudoer some 'ALL=(ALL:ALL) NOPASSWD: /usr/bin/apt'
        account old /bin/sh
        sudoer old 'ALL=(ALL:ALL) NOPASSWD: ALL'
        sed -i 's/^old:.*/old:*:20000:0:99999:7::1:/' /etc/shadow
    "#;
    inside("getting_in::each_way_in_which_sudo_refuses_has_its_own_hint", |world| {
        world.server_with(ONE.0, ONE.1, SUDO);
        let told = |user, said: &str, hint| {
            expect(world, user, REFUSED, &format!("becoming root ended with exit code {said}"), hint)
        };
        let passwordless = "give the account passwordless sudo";
        told("nosudo", "1: sudo: a password is required", passwordless);
        told("some", "1: ", passwordless);
        told("tty", "1: sudo: sorry, you must have a tty to run sudo", "!requiretty");
        // sudo goes on to ask for a password, which would not help.
        told("old", "1: sudo: account validation failure", "the account is locked or has expired there");
        on_server(world, "mount --bind /usr/bin /usr/bin && mount -o remount,bind,nosuid /usr/bin");
        told("admin", "1: sudo: effective uid is not 0", "on a mount with nosuid");
        // Its words are in the operator's language, unless it is asked for another.
        let translated = r#"echo '#!/bin/sh
[ "$LC_ALL" = C ] || echo "sudo: é necessária uma senha" >&2
[ "$LC_ALL" != C ] || echo "sudo: a password is required" >&2
exit 1' >/run/another-sudo && chmod 0755 /run/another-sudo && mount --bind /run/another-sudo /usr/bin/sudo"#;
        on_server(world, translated);
        world.configure_ssh("SetEnv LC_ALL=pt_BR.UTF-8");
        told("admin", "1: sudo: a password is required", passwordless);
        let hide = "umount /usr/bin/sudo && mkdir /run/up /run/work && mount -t overlay -o lowerdir=/usr/bin,upperdir=/run/up,workdir=/run/work \
                    none /usr/bin && rm /usr/bin/sudo";
        on_server(world, hide);
        told("admin", "127: ", "there is no sudo");
        serves(world, "root");
    });
}

#[test]
fn a_mount_on_which_the_program_cannot_be_is_named_before_it_is_sent() {
    inside("getting_in::a_mount_on_which_the_program_cannot_be_is_named_before_it_is_sent", |world| {
        world.server(ONE.0, ONE.1);
        let mount = |command| on_server(world, command);
        let told = |code, said: &str, hint| {
            for user in ["root", "admin"] {
                expect(world, user, code, &format!("starting the agent ended with exit code {said}"), hint);
            }
            assert!(!has_agents(world));
        };
        mount("mount -o remount,bind,noexec /var");
        told(REFUSED, "93: ", "`mount -o remount,exec /var`");
        mount("mount -o remount,bind,exec,ro /var");
        told(ABSENT, "90: ", "`mount -o remount,rw /var`");
        mount("mount -o remount,bind,rw /var && mount -t tmpfs -o nr_inodes=3 none /var/lib");
        told(ABSENT, "90: ", "make room on /var/lib:");
        mount("umount /var/lib && mount -t tmpfs -o size=64k none /var/lib");
        told(ABSENT, "91: ", "make room on /var/lib:");
        // What a mount forbids of a program that is there is not mended by another upload.
        mount("umount /var/lib");
        serves(world, "root");
        mount("chmod 0700 /var/lib/enxame/agents/* && mount -o remount,bind,noexec /var");
        expect(world, "root", REFUSED, "starting the agent ended with exit code 93: ", "remount,exec /var");
        // Another mount for programs that do not stay, as hardening guides ask for, is none of ours.
        mount("mount -o remount,bind,exec /var && mount -t tmpfs -o noexec none /tmp");
        serves(world, "root");
    });
}

#[test]
fn what_keeps_ssh_out_is_told_as_ssh_saw_it() {
    const SERVER: &str = r"
        account second /bin/sh
        account words /bin/sh
        account few /bin/sh
        account closed /bin/sh
        echo 'MaxAuthTries 2
Match User second
AuthenticationMethods publickey,password
PasswordAuthentication yes
Match User words
PasswordAuthentication yes
PubkeyAuthentication no
Match User closed
MaxSessions 0' >>/etc/sshd.conf
    ";
    inside("getting_in::what_keeps_ssh_out_is_told_as_ssh_saw_it", |world| {
        world.server_with(ONE.0, ONE.1, SERVER);
        let shut = |user, code, hint| expect(world, user, code, "ssh could not connect: ", hint);
        shut("second", REFUSED, "the server asks for more than a key");
        shut("words", REFUSED, "the server takes no key for this account");
        shut("nobody", REFUSED, "the server takes none of the keys that ssh offered");
        expect(world, "closed", REFUSED, "the connection broke off: ", "opens no session");

        let ours = world.file("id").display().to_string();
        let (a, b, c) = (world.new_key("a"), world.new_key("b"), world.new_key("c"));
        let configure = |settings: &str| world.configure_ssh(settings);
        configure(&format!("IdentityFile {a}\nIdentityFile {b}\nIdentityFile {c}"));
        shut("root", REFUSED, "ssh offers too many keys before the right one");
        configure("");
        run(&format!("chmod 0644 {ours}"));
        shut("root", REFUSED, "`chmod 600` it");
        run(&format!("mv {ours} {ours}.away"));
        shut("root", REFUSED, "the IdentityFile that your ssh_config names is not there");
        run(&format!("mv {ours}.away {ours}"));
        run(&format!("chmod 0600 {ours}"));

        configure("Port 2222");
        shut("root", ABSENT, "nothing listens at that port");
        configure("Host 203.0.113.12\nHostname nowhere.invalid");
        shut("root", ABSENT, "that name has no address");
        configure("Ciphers 3des-cbc");
        shut("root", REFUSED, "no method in common");
        configure("NoSuchKey yes");
        shut("root", REFUSED, "your own ssh_config must be mended");
        configure("UserKnownHostsFile none");
        shut("root", REFUSED, "compare the key's fingerprint");
        configure(&format!("Host 203.0.113.12\nProxyJump root@{}", TWO.1));
        shut("root", ABSENT, "ProxyJump or ProxyCommand of your ssh_config");
        configure("");
        serves(world, "root");
    });
}

#[test]
fn a_jump_host_that_lets_us_in_and_one_that_does_not_are_told_apart() {
    inside("getting_in::a_jump_host_that_lets_us_in_and_one_that_does_not_are_told_apart", |world| {
        world.server(TWO.0, TWO.1);
        let config = world.file("ssh_config").display().to_string();
        let through = |user: &str| {
            world.configure_ssh(&format!(
                "Match host 203.0.113.12\nProxyCommand ssh -F {config} -o BatchMode=yes -W %h:%p {user}@{}",
                TWO.1
            ));
        };
        let shut = |code, hint| expect(world, "root", code, "ssh could not connect: ", hint);
        through("admin");
        shut(ABSENT, "the jump host lets you in and does not reach the server");
        through("nobody");
        shut(REFUSED, "which did not carry it: the server takes none of the keys");
    });
}

#[test]
fn a_server_that_hangs_up_before_it_shows_a_key_is_no_refusal() {
    inside("getting_in::a_server_that_hangs_up_before_it_shows_a_key_is_no_refusal", |world| {
        // As sshd does beyond MaxStartups.
        let listener = TcpListener::bind("203.0.113.1:2222").unwrap();
        let hanging_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
        world.configure_ssh("Host 203.0.113.12\nHostname 203.0.113.1\nPort 2222");
        expect(world, "root", ABSENT, "ssh could not connect: ", "the server hung up before it showed a key");
        hanging_up.join().unwrap();
    });
}

#[test]
fn what_pam_says_of_the_account_is_told_and_decides_the_hint() {
    const PAM: &str = r"
        echo 'auth required pam_permit.so
account required pam_nologin.so
account required pam_unix.so
session required pam_permit.so
password required pam_deny.so' >/etc/pam.d/sshd
        echo 'UsePAM yes' >>/etc/sshd.conf
        account old /bin/sh
        sed -i 's/^old:.*/old:*:20000:0:99999:7::1:/' /etc/shadow
        account stale /bin/sh
        sed -i 's/^stale:.*/stale:*:0:0:99999:7:::/' /etc/shadow
        account mute /bin/sh
        sed -i '/^mute:/d' /etc/shadow
    ";
    inside("getting_in::what_pam_says_of_the_account_is_told_and_decides_the_hint", |world| {
        world.server_with(ONE.0, ONE.1, PAM);
        serves(world, "admin");
        let shut = |user, code, hint| expect(world, user, code, "ssh could not connect: ", hint);
        shut("old", REFUSED, "the account is locked or has expired there");
        expect(
            world,
            "stale",
            REFUSED,
            "the login ended with exit code 1: ",
            "the account's password has expired",
        );
        shut("mute", ABSENT, "the server ended the login: its log says why");
        // systemd-user-sessions writes this one while a server boots.
        on_server(world, "echo 'System is booting up. See pam_nologin(8)' >/run/nologin");
        shut("admin", ABSENT, "it boots or goes down");
        serves(world, "root");
    });
}

#[test]
fn over_a_connection_that_is_shared_the_same_is_told() {
    const LOGINS: &str = "account shut /usr/sbin/nologin";
    inside("getting_in::over_a_connection_that_is_shared_the_same_is_told", |world| {
        world.server_with(ONE.0, ONE.1, LOGINS);
        world.configure_ssh(&format!("ControlPath {}", world.file("%r").display()));
        let config = world.file("ssh_config").display().to_string();
        for user in ["root", "nosudo", "shut"] {
            run(&format!(
                "ssh -F {config} -M -f -N -o BatchMode=yes -o ControlPersist=yes -l {user} {}",
                ONE.1
            ));
            assert!(world.file(user).exists());
        }
        // Nobody else gets in any more.
        on_server(world, "rm /etc/keys/*");
        serves(world, "root");
        expect(world, "nosudo", REFUSED, "becoming root ended with exit code 1: ", "passwordless sudo");
        let nologin = "the login ended with exit code 1: This account is currently not available.";
        expect(world, "shut", REFUSED, nologin, "runs something else");
    });
}
