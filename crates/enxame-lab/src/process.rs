//! Background processes of the laboratory: known by number and start time, ended only by both.
//!
//! Invariant: a process number that the kernel has given to someone else is never signalled.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// One process, told apart from a later one with the same number by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pid: i32,
    /// Clock ticks since boot (proc(5), field 22 of `stat`).
    started: u64,
}

impl Process {
    /// The running process of that number.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let started =
            start_ticks(pid.cast_signed()).with_context(|| format!("process {pid} ended at once"))?;
        Ok(Self { pid: pid.cast_signed(), started })
    }

    /// Its number.
    pub(crate) fn pid(self) -> i32 {
        self.pid
    }

    /// Whether that very process still runs.
    pub(crate) fn is_alive(self) -> bool {
        start_ticks(self.pid) == Some(self.started)
    }

    /// Asks it to end, then ends it, and waits until it is gone.
    pub(crate) fn end(self) -> Result<()> {
        for (signal, patience) in
            [(Signal::SIGTERM, Duration::from_secs(3)), (Signal::SIGKILL, Duration::from_secs(5))]
        {
            if !self.is_alive() {
                return Ok(());
            }
            // It may end by itself between the look and the signal.
            let _ = kill(Pid::from_raw(self.pid), signal);
            if self.is_gone_within(patience) {
                return Ok(());
            }
        }
        bail!("process {} cannot be ended", self.pid)
    }

    /// Waits for it to end by itself.
    pub(crate) fn is_gone_within(self, patience: Duration) -> bool {
        let since = Instant::now();
        while self.is_alive() {
            if since.elapsed() > patience {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

/// `None` for a process that is gone or is only waiting to be reaped.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may itself contain some.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_process_number_is_not_the_same_process() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { started: me.started + 1, ..me }.is_alive());
    }

    #[test]
    fn a_process_is_ended_and_seen_to_be_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        process.end().unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
    }
}
