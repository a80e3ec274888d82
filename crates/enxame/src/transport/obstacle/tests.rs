//! Hints against words as they were seen. The real ones are in `tests/ssh`.

use super::*;
use crate::transport::heard::{Lines, Words};

const LET_IN: &str = "Authenticated to kvm2 ([203.0.113.12]:22) using \"publickey\".\n";

fn heard(stage: Stage, end: End, words: &str) -> Heard {
    Heard { stage, end, printed: Lines::default(), words: Words::of(words) }
}

/// What ssh says that could not connect.
fn shut(words: &str) -> Heard {
    heard(Login, End::Exit(255), words)
}

/// What a server says that let us in.
fn opened(stage: Stage, code: i32, words: &str) -> Heard {
    heard(stage, End::Exit(code), &format!("{LET_IN}{words}"))
}

/// The hint has these words, and the server is taken for that.
#[track_caller]
fn expect(heard: &Heard, hinted: &str, taken_for: Stance) {
    let hint = hint(heard).unwrap_or_default();
    assert!(hint.contains(hinted), "{heard}: {hint}");
    assert_eq!(stance(heard), taken_for, "{heard}");
}

#[test]
fn what_ssh_says_of_keys_decides_the_hint() {
    let denied = "root@kvm2: Permission denied (publickey).";
    let refused =
        "sign_and_send_pubkey: signing failed for ED25519 \"k\" from agent: agent refused operation\n";
    expect(&shut(&format!("{refused}{denied}")), "did not sign", Refuses);
    expect(&shut(denied), "none of the keys", Refuses);
    let revoked = "@  WARNING: REVOKED HOST KEY DETECTED!  @\nHost key verification failed.";
    expect(&shut(revoked), "stop here", Refuses);
    let changed = "@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\nHost key verification failed.";
    expect(&shut(changed), "stop here", Refuses);
    expect(&shut("Host key verification failed."), "compare the key's fingerprint", Refuses);
}

#[test]
fn what_ssh_says_of_the_way_is_no_refusal() {
    let connect = |why: &str| shut(&format!("ssh: connect to host kvm2 port 22: {why}"));
    expect(&connect("Connection timed out"), "nothing came back", Absent);
    expect(&connect("No route to host"), "no way leads there", Absent);
    expect(&connect("Network is unreachable"), "no way leads there", Absent);
    let late = "Connection timed out during banner exchange\nConnection to 203.0.113.12 port 22 timed out";
    expect(&shut(late), "says nothing", Absent);
    let reset = "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 203.0.113.12 port 22";
    expect(&shut(reset), "hung up before", Absent);
    expect(&shut("what nobody has heard of"), "try the same by hand", Absent);
    expect(&heard(Login, End::Late(std::time::Duration::from_secs(60)), ""), "try the same by hand", Absent);
}

#[test]
fn a_connection_that_broke_off_is_no_refusal_however_far_it_had_come() {
    for words in [
        "client_loop: send disconnect: Broken pipe",
        "Connection to kvm2 closed by remote host.",
        "Timeout, server kvm2 not responding.",
    ] {
        for stage in [Login, Account, Root, Stage::Agent] {
            expect(&opened(stage, 255, words), "whether it is back", Absent);
        }
    }
    let ended = opened(Stage::Agent, 137, "");
    assert_eq!((hint(&ended), stance(&ended)), (None, Absent));
}

#[test]
fn words_count_only_from_whom_they_can_be() {
    // A banner says what sudo and sshd say; ssh says why it could not connect.
    let banner = "sudo: a password is required\nPermission denied (publickey).\nPassword change required\n";
    expect(
        &shut(&format!("{banner}ssh: connect to host kvm2 port 22: Connection refused")),
        "nothing listens",
        Absent,
    );
    // A login script says what sudo says; sudo says that there is a tty to be.
    let words = "sudo: account validation failure, is your account locked?\nsudo: sorry, you must have a tty to run sudo";
    expect(&opened(Account, 1, words), "the account is locked", Refuses);
    expect(&opened(Login, 1, words), "runs something else", Refuses);
    expect(&opened(Root, 1, words), "", Refuses);
    assert_eq!(hint(&opened(Root, 1, words)), None);
    // What is full elsewhere does not keep the program out.
    assert_eq!(hint(&opened(Root, 92, "/etc/profile.d/x: No space left on device")), None);
}

#[test]
fn what_sudo_says_decides_the_hint_and_what_nobody_knows_is_tried_by_hand() {
    for words in [
        "admin is not in the sudoers file.",
        "Sorry, user admin is not allowed to execute '/usr/bin/sh' as root on kvm2.",
        "Sorry, user admin may not run sudo on kvm2.",
        // sudo-rs
        "sudo: interactive authentication is required",
    ] {
        expect(&opened(Account, 1, words), "passwordless sudo", Refuses);
    }
    // sudo goes on to ask for a password, which would not help.
    for (words, hinted) in [
        ("account validation failure, is your account locked?", "the account is locked"),
        // sudo-rs
        ("Account validation failure, is your account locked?", "the account is locked"),
        ("Account expired or PAM config lacks an \"account\" section for sudo", "the account is locked"),
        ("Account or password is expired, reset your password and try again", "password has expired"),
        ("Password expired, contact your system administrator", "password has expired"),
    ] {
        expect(&opened(Account, 1, &format!("sudo: {words}\nsudo: a password is required")), hinted, Refuses);
    }
    let container = "sudo: The \"no new privileges\" flag is set, which prevents sudo from running as root.";
    expect(&opened(Account, 1, container), "NoNewPrivileges", Refuses);
    let pam = "sudo: PAM account management error: Permission denied\nsudo: a password is required";
    expect(&opened(Account, 1, pam), "journalctl -t sudo", Refuses);
    let of_no_weight = "sudo: unable to resolve host kvm2: Name or service not known";
    expect(&opened(Account, 1, of_no_weight), "sudo -n true", Refuses);
    expect(&heard(Account, End::Late(std::time::Duration::from_secs(60)), LET_IN), "sudo -n true", Absent);
}

#[test]
fn an_account_that_the_server_names_is_taken_only_where_it_can_be_one() {
    let named = |words: &str| other_account(&opened(Login, 1, words));
    for words in [
        "Please login as the user \"debian\" rather than the user \"root\".",
        "please log in as debian!",
        "You may not log in as the account 'debian'",
    ] {
        assert_eq!(named(words).as_deref(), Some("debian"), "{words}");
    }
    for words in [
        "Please login as the user \"NONE\" rather than the user \"root\".",
        "log in as root",
        "log in as \u{1b}[2Jme",
        "log in as $(reboot)",
        "log in as ",
        "\u{130} log in as \u{130}",
        "logged in",
    ] {
        assert_eq!(named(words), None, "{words}");
    }
    // Nobody who did not let us in says whom it lets in.
    assert_eq!(other_account(&shut("log in as debian")), None);
}

#[test]
fn every_obstacle_is_said_by_somebody_and_hints_at_something() {
    for row in OBSTACLES {
        assert!(!row.said.is_empty() && row.said.iter().all(|word| word.len() > 5) && !row.hint.is_empty());
    }
}
