//! What stands in the way to a server: a table of what ssh and servers say, and what to do about each.
//!
//! Every hint about SSH comes from here. Pure. Invariant: it follows from what was heard, never from where we were.

use super::heard::{End, Heard, Stage};

/// Who says it. A banner may say anything, and so may a forced command: words count only from whom they can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// ssh, which could not connect.
    Ssh,
    /// ssh, of a connection that stood.
    Line,
    /// Whatever the server runs for us, and has come this far.
    Server(Stage),
}

/// What it says of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stance {
    /// It answers, and does not let us in or not do as we ask; or it is our own side that must be mended first.
    Refuses,
    /// It does not answer, or cannot serve now.
    Absent,
}

use By::{Line, Server, Ssh};
use Stage::{Account, Login, Root};
use Stance::{Absent, Refuses};

struct Obstacle {
    by: By,
    /// All of it, each anywhere. Of what ssh says the first is in the line nearest to the end: it goes on after warnings.
    said: &'static [&'static str],
    stance: Stance,
    /// `MOUNT` stands for the mount that our script names.
    hint: &'static str,
}

const fn row(by: By, said: &'static [&'static str], stance: Stance, hint: &'static str) -> Obstacle {
    Obstacle { by, said, stance, hint }
}

const NO_KEYS: &str = "the server takes no key for this account: `PubkeyAuthentication yes` in its sshd_config, or another \
                       account (`ssh.user`)";
const ANOTHER_KEY: &str =
    "the server shows another key than before: unless you have just reinstalled it, stop here";
const HUNG_UP: &str = "the server hung up before it showed a key: too many logins at once (MaxStartups), a ban (fail2ban), or \
                       no sshd at that port; its log says which (`journalctl -u ssh`)";
const ENDED_THE_LOGIN: &str = "the server ended the login: its log says why (`journalctl -u ssh`)";
const NO_ROUTE: &str = "no way leads there: is the server on, is this machine's network up, and is the address right? A \
                        firewall may say this too";
const BROKE_OFF: &str = "the server ended it, or the way there did: `ssh HOST true` shows whether it is back, and the server's log \
                         why it ended (`journalctl -u ssh`)";
const OWN_CONFIG: &str = "your own ssh_config must be mended first: `ssh -G HOST` must work";
const SUDO: &str = "give the account passwordless sudo (a line in /etc/sudoers.d), or use root (`ssh.user`)";
const ACCOUNT_ENDED: &str = "the account is locked or has expired there: `chage -l ACCOUNT` shows it, `chage -E -1 ACCOUNT` \
                             lets it in again; or use another (`ssh.user`)";
const NEW_PASSWORD: &str = "the account's password has expired: log in by hand once (`ssh HOST`) and set a new one, or have root \
                            say that it is new: `chage -d $(date +%F) ACCOUNT`";

/// From the particular to the general. The words are OpenSSH's (ssh.c, sshconnect.c, sshconnect2.c, packet.c), sshd's
/// (session.c), `pam_unix`'s and `pam_nologin`'s, sudo's (auth/pam.c, sudo.c, logging.c), the kernel's errno and our own script's.
const OBSTACLES: &[Obstacle] = &[
    row(
        Ssh,
        &[": Permission denied (", "signing failed for"],
        Refuses,
        "your agent or token did not sign: unlock it, and try `ssh HOST true`",
    ),
    row(
        Ssh,
        &[": Permission denied (", "UNPROTECTED PRIVATE KEY FILE"],
        Refuses,
        "ssh leaves out a key whose file others may read: `chmod 600` it",
    ),
    row(
        Ssh,
        &[": Permission denied (", "no such identity: "],
        Refuses,
        "the IdentityFile that your ssh_config names is not there",
    ),
    row(
        Ssh,
        &[": Permission denied (", "with partial success"],
        Refuses,
        "the server asks for more than a key, and enxame answers no questions: use an account that a key lets in \
         (`ssh.user`; `AuthenticationMethods publickey` in a `Match` of its sshd_config)",
    ),
    row(Ssh, &[": Permission denied (password"], Refuses, NO_KEYS),
    row(Ssh, &[": Permission denied (keyboard-interactive"], Refuses, NO_KEYS),
    row(
        Ssh,
        &[": Permission denied ("],
        Refuses,
        "the server takes none of the keys that ssh offered for this account (its log says why): load the right one into ssh-agent, put yours \
         there (`ssh-copy-id`), or use another account (`ssh.user`); `ssh HOST true` must work without a question",
    ),
    row(
        Ssh,
        &["Too many authentication failures"],
        Refuses,
        "ssh offers too many keys before the right one: `IdentitiesOnly yes` and its `IdentityFile` in your ssh_config",
    ),
    row(Ssh, &["Host key verification failed", "HAS CHANGED"], Refuses, ANOTHER_KEY),
    row(Ssh, &["Host key verification failed", "REVOKED HOST KEY"], Refuses, ANOTHER_KEY),
    row(
        Ssh,
        &["Host key verification failed"],
        Refuses,
        "`ssh HOST` once by hand, and compare the key's fingerprint with your provider's console",
    ),
    row(
        Ssh,
        &["Unable to negotiate with"],
        Refuses,
        "your ssh and the server have no method in common: bring the older of the two up to date",
    ),
    row(
        Ssh,
        &["Could not resolve hostname"],
        Absent,
        "that name has no address: look at `address` and `ssh_host`, at your ssh_config and at your name server",
    ),
    row(
        Ssh,
        &["stdio forwarding failed"],
        Absent,
        "the jump host lets you in and does not reach the server: is that on, and does it let the jump host in?",
    ),
    row(
        Ssh,
        &["timed out during banner exchange"],
        Absent,
        "something takes the connection at that port and says nothing: the server is overloaded, or that is no sshd",
    ),
    row(
        Ssh,
        &["connect to host", "Connection refused"],
        Absent,
        "nothing listens at that port, or a firewall refuses you: is it sshd's (`ssh.port`), and were you banned (fail2ban)?",
    ),
    row(Ssh, &["connect to host", "No route to host"], Absent, NO_ROUTE),
    row(Ssh, &["connect to host", "Network is unreachable"], Absent, NO_ROUTE),
    row(
        Ssh,
        &["connect to host"],
        Absent,
        "nothing came back: is the server on, is the address right, and does the provider's firewall let you in at that port?",
    ),
    row(Ssh, &["Connection closed by ", "kex_exchange_identification"], Absent, HUNG_UP),
    row(Ssh, &["Connection reset by ", "kex_exchange_identification"], Absent, HUNG_UP),
    row(Ssh, &["Connection closed by ", "account has expired"], Refuses, ACCOUNT_ENDED),
    row(
        Ssh,
        &["Connection closed by ", "pam_nologin(8)"],
        Absent,
        "it boots or goes down, and lets in only root until then: try again; if it stays so, take away /run/nologin there",
    ),
    row(Ssh, &["Connection closed by "], Absent, ENDED_THE_LOGIN),
    row(Ssh, &["bad configuration options"], Refuses, OWN_CONFIG),
    row(Ssh, &["Bad owner or permissions on"], Refuses, OWN_CONFIG),
    row(Ssh, &["Can't open user config file"], Refuses, OWN_CONFIG),
    row(
        Line,
        &["open failed: "],
        Refuses,
        "the server let us in and opens no session: its sshd_config's `MaxSessions` may be 0, or all are in use; its log says \
         why (`journalctl -u ssh`)",
    ),
    row(Line, &["closed by remote host"], Absent, BROKE_OFF),
    row(Line, &["not responding"], Absent, BROKE_OFF),
    row(Line, &["Broken pipe"], Absent, BROKE_OFF),
    row(Server(Login), &["Password change required"], Refuses, NEW_PASSWORD),
    row(Server(Account), &["sudo: ", "is your account locked?"], Refuses, ACCOUNT_ENDED),
    row(Server(Account), &["sudo: Account expired"], Refuses, ACCOUNT_ENDED),
    row(Server(Account), &["sudo: Account or password is expired"], Refuses, NEW_PASSWORD),
    row(Server(Account), &["sudo: Password expired"], Refuses, NEW_PASSWORD),
    row(
        Server(Account),
        &["sudo: PAM account management error"],
        Refuses,
        "PAM refuses the account to sudo: the server's log says why (`journalctl -t sudo`); or use root (`ssh.user`)",
    ),
    row(
        Server(Account),
        &["must have a tty to run sudo"],
        Refuses,
        "`Defaults:ACCOUNT !requiretty` in a file of /etc/sudoers.d takes that back for the account, or use root (`ssh.user`)",
    ),
    row(
        Server(Account),
        &["sudo: not found"],
        Refuses,
        "the account is not root, and there is no sudo: install it there and let the account use it without a password, or \
         use root (`ssh.user`)",
    ),
    row(
        Server(Account),
        &["sudo: effective uid is not 0"],
        Refuses,
        "sudo cannot become root there: it has lost its setuid bit, or is on a mount with nosuid; use root (`ssh.user`)",
    ),
    row(
        Server(Account),
        &["\"no new privileges\" flag"],
        Refuses,
        "whatever runs sshd there forbids sudo (NoNewPrivileges, a container): use root (`ssh.user`)",
    ),
    row(Server(Account), &["sudo: ", "is required"], Refuses, SUDO),
    row(Server(Account), &["is not in the sudoers file"], Refuses, SUDO),
    row(Server(Account), &["may not run sudo"], Refuses, SUDO),
    row(Server(Account), &["is not allowed to"], Refuses, SUDO),
    row(
        Server(Root),
        &["enxame: cannot run a program", "noexec"],
        Refuses,
        "enxame's program runs from there: `mount -o remount,exec MOUNT`, and noexec taken out of its options (/etc/fstab)",
    ),
    row(
        Server(Root),
        &["enxame: ", "No space left on device"],
        Absent,
        "make room on MOUNT: `df -h MOUNT` and `df -i MOUNT` show what is left",
    ),
    row(
        Server(Root),
        &["enxame: ", "Disk quota exceeded"],
        Absent,
        "root's quota on MOUNT is used up: `quota -v` shows it",
    ),
    row(
        Server(Root),
        &["enxame: ", "Read-only file system"],
        Absent,
        "`mount -o remount,rw MOUNT`; where errors of the disk made it read-only, `dmesg` shows them: mend these first",
    ),
];

const BY_HAND: &str = "try the same by hand: ssh HOST true";
const VIA_A_PROXY: &str =
    "the way goes through a jump host (ProxyJump or ProxyCommand of your ssh_config), which did not carry it";
const ANOTHER_PROGRAM: &str = "the account's login runs something else than what it is asked (its shell, a forced command): \
                               `ssh HOST id` must print its id; another account goes into `ssh.user`";
const ENDLESS_LOGIN: &str = "something that the login runs there does not end (.bashrc, a forced command): `ssh HOST true` must \
                             come back at once";
const SUDO_BY_HAND: &str =
    "`ssh HOST sudo -n true` must come back at once and say nothing; or use root (`ssh.user`)";

/// What to do about what was heard.
pub(super) fn hint(heard: &Heard) -> Option<String> {
    if let Some(obstacle) = obstacle(heard) {
        let hint = obstacle.hint.replace("MOUNT", mount(heard));
        let is_its = obstacle.by == Ssh && goes_through_a_proxy(heard);
        return Some(if is_its { format!("{VIA_A_PROXY}: {hint}") } else { hint });
    }
    if let Some(name) = other_account(heard) {
        return Some(format!(
            "log in as {name}: `ssh.user: {name}` in cluster.yaml, and {name}@HOST for `enxame init`"
        ));
    }
    let hint = match (heard.end, heard.stage) {
        (End::Exit(255), _) if goes_through_a_proxy(heard) => VIA_A_PROXY,
        (End::Late(_) | End::Flood, Login) if heard.is_in() => ENDLESS_LOGIN,
        (End::Exit(255), _) | (End::Late(_), Login) => BY_HAND,
        (End::Exit(_), Login) => ANOTHER_PROGRAM,
        (_, Account) => SUDO_BY_HAND,
        // Our own script says it all, and of an agent that ended nobody can say more.
        (_, Root | Stage::Agent) | (End::Closed | End::Flood, Login) => return None,
    };
    Some(hint.to_owned())
}

/// What was heard says of the server.
pub(super) fn stance(heard: &Heard) -> Stance {
    match (obstacle(heard), heard.end) {
        (Some(obstacle), _) => obstacle.stance,
        (None, End::Exit(255)) => Absent,
        (None, End::Exit(_) | End::Flood) if heard.stage < Stage::Agent => Refuses,
        (None, _) => Absent,
    }
}

fn obstacle(heard: &Heard) -> Option<&'static Obstacle> {
    let is_sshs = matches!(heard.end, End::Exit(255) | End::Closed | End::Late(_));
    let counts = |by: By| match by {
        Ssh => is_sshs && !heard.is_in(),
        Line => is_sshs,
        Server(stage) => heard.is_in() && heard.stage == stage,
    };
    let rows = |is_the_servers: bool| {
        OBSTACLES.iter().filter(move |row| counts(row.by) && matches!(row.by, Server(_)) == is_the_servers)
    };
    let is_said = |word: &&str| heard.lines().any(|line| line.contains(*word));
    let is_through_a_proxy = goes_through_a_proxy(heard);
    let mut lines = heard.lines().rev().filter(|line| !is_through_a_proxy || !is_only_its_end(line));
    let ends_in = |row: &&Obstacle, line: &str| row.said.first().is_some_and(|first| line.contains(first));
    lines
        .find_map(|line| rows(false).find(|row| ends_in(row, line) && row.said.iter().all(is_said)))
        .or_else(|| rows(true).find(|row| row.said.iter().all(is_said)))
}

/// ssh says `UNKNOWN` of the other end of a command's pipes, as a `ProxyCommand`'s or a jump's (packet.c).
fn goes_through_a_proxy(heard: &Heard) -> bool {
    heard.lines().any(|line| line.contains("UNKNOWN port 65535"))
}

/// What ssh says when the command that carries the connection ended; the reason stands before it.
fn is_only_its_end(line: &str) -> bool {
    line.contains("UNKNOWN port 65535") || line.starts_with("kex_exchange_identification: ")
}

/// The mount that our script names, as `findmnt` writes it.
fn mount(heard: &Heard) -> &str {
    let named = |line| str::split_once(line, ", on ").map(|(_, mount)| mount);
    heard
        .lines()
        .find_map(named)
        .and_then(|mount| mount.split_whitespace().next())
        .unwrap_or("/var/lib/enxame")
}

/// Another account that the server says to use instead, as images for clouds do (cloud-init's `disable_root_opts`).
fn other_account(heard: &Heard) -> Option<String> {
    if !heard.is_in() || heard.stage != Login {
        return None;
    }
    heard.lines().find_map(|line| {
        let lower = line.to_ascii_lowercase();
        let phrases = ["login as ", "log in as "];
        let after = phrases.iter().find_map(|phrase| Some(lower.find(phrase)? + phrase.len()))?;
        let mut words = line.get(after..)?.split_whitespace();
        account(words.find(|word| !["the", "user", "account"].contains(word))?)
    })
}

/// A name that may be an account's (useradd(8)), and therefore drives no terminal and no shell.
fn account(word: &str) -> Option<String> {
    // cloud-init says NONE where an image has no account of its own.
    const NO_NAMES: [&str; 6] = ["a", "an", "another", "your", "root", "NONE"];
    let word = word.trim_matches(['"', '\'', '`', '.', ',', ':', ';', '!', '<', '>']);
    let is_letter = |one: char| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '.');
    let is_name = (1..=32).contains(&word.len())
        && word.chars().all(is_letter)
        && word.starts_with(|one: char| one.is_ascii_alphabetic() || one == '_');
    (is_name && !NO_NAMES.contains(&word)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests;
