//! What came of a connection that has no agent, or lost it: how far it had come, how it ended, and what was said.
//!
//! Invariant: what is kept is bounded, whatever a server prints.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// How many of the last lines that ssh and the server say are kept, of the standard error and of the standard output each.
const KEPT_LINES: usize = 20;
/// How much of a line is kept, in characters.
const KEPT_OF_A_LINE: usize = 300;

/// How far it had come. Our own scripts and the agent say so; nothing else can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing of ours has run.
    #[default]
    Login,
    /// Our command runs, as the account.
    Account,
    /// It has become root.
    Root,
    /// The agent has spoken.
    Agent,
}

/// How it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// ssh ended with this code: the remote command's, or 255 for what went wrong with the connection (ssh(1)).
    Exit(i32),
    /// The channel closed, and ssh did not say why.
    #[default]
    Closed,
    /// Nobody spoke in time.
    Late(Duration),
    /// The login printed more than anybody reads.
    Flood,
}

/// What was heard. Whoever reads it may not take it for anything but a foreigner's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) stage: Stage,
    pub(crate) end: End,
    /// What came on the standard output before our own first word: login scripts and forced commands.
    pub(crate) printed: Lines,
    /// What came on the standard error: ssh's own words, and the server's.
    pub(crate) words: Words,
}

impl Heard {
    /// Every line, in the order of the streams.
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.printed.0.iter().chain(&self.words.lines.0).map(String::as_str)
    }

    /// Whether the server let us in, and ran something.
    pub(super) fn is_in(&self) -> bool {
        let has_ended = matches!(self.end, End::Exit(code) if code != 255);
        self.stage > Stage::Login || self.words.is_in || has_ended || !self.printed.0.is_empty()
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.stage {
            Stage::Login => "the login",
            Stage::Account => "becoming root",
            Stage::Root => "starting the agent",
            Stage::Agent => "the agent",
        };
        match self.end {
            End::Exit(255) if !self.is_in() => write!(f, "ssh could not connect")?,
            End::Exit(255) => write!(f, "the connection broke off")?,
            End::Exit(code) => write!(f, "{place} ended with exit code {code}")?,
            End::Closed => write!(f, "the connection closed")?,
            End::Late(after) if self.is_in() => {
                write!(f, "logged in, and {place} is not done after {} s", after.as_secs())?;
            }
            End::Late(after) => write!(f, "no answer within {} s", after.as_secs())?,
            End::Flood => write!(f, "{place} prints without end")?,
        }
        let lines: Vec<&str> = self.lines().collect();
        if lines.is_empty() { Ok(()) } else { write!(f, ": {}", lines.join(" | ")) }
    }
}

/// The last lines of a foreign text, without those that are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines(VecDeque<String>);

impl Lines {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut lines = Self::default();
        bytes.split(|byte| *byte == b'\n').for_each(|line| lines.push(line));
        lines
    }

    fn push(&mut self, line: &[u8]) {
        // A foreigner's words do not drive the terminal they are shown on.
        let line = String::from_utf8_lossy(line).replace(char::is_control, " ");
        if line.trim().is_empty() {
            return;
        }
        if self.0.len() == KEPT_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.trim().chars().take(KEPT_OF_A_LINE).collect());
    }
}

/// The standard error of an `ssh` that says more than it would by itself (`LogLevel=VERBOSE`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// Whether ssh said that the server let us in. Of a connection that was open already and is shared it says nothing.
    is_in: bool,
    lines: Lines,
}

impl Words {
    pub(super) fn hear(&mut self, line: &[u8]) {
        if line.starts_with(b"Authenticated to ") {
            // What was said before was the server's banner and warnings; it let us in all the same.
            *self = Self { is_in: true, lines: Lines::default() };
        } else if !line.starts_with(b"Transferred: sent ") && !line.starts_with(b"Bytes per second: sent ") {
            self.lines.push(line);
        }
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        let mut words = Self::default();
        text.lines().for_each(|line| words.hear(line.as_bytes()));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banner_is_shown_where_nobody_is_let_in_and_is_no_reason_once_somebody_was() {
        let banner = "Permission denied (to all but us).\n";
        let shut = Words::of(&format!("{banner}root@kvm2: Permission denied (publickey)."));
        let heard = Heard { end: End::Exit(255), words: shut, ..Heard::default() };
        assert!(!heard.is_in());
        assert_eq!(
            heard.to_string(),
            "ssh could not connect: Permission denied (to all but us). | root@kvm2: Permission denied (publickey)."
        );
        let open =
            Words::of(&format!("{banner}Authenticated to kvm2 ([203.0.113.12]:22) using \"publickey\".\nno"));
        assert_eq!(open, Words { is_in: true, lines: Lines::of(b"no") });
    }

    #[test]
    fn what_is_kept_of_a_server_that_never_ends_to_print_is_bounded() {
        let flood = [b"x".repeat(100_000), b"\n\xff\n".repeat(1000)].concat();
        assert_eq!(Lines::of(&flood).0.len(), KEPT_LINES);
        assert_eq!(Lines::of(&flood).0.back().unwrap(), "\u{fffd}");
        assert_eq!(Lines::of(&b"x".repeat(100_000)).0.back().unwrap().len(), KEPT_OF_A_LINE);
    }

    #[test]
    fn what_a_server_prints_drives_no_terminal() {
        assert_eq!(Lines::of(b"\x1b[2Jno\tlogin\r\n\x07\r\n").0, ["[2Jno login"]);
    }
}
