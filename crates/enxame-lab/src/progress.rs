//! What is going on, for people, on standard error, with the time since the command started.

use std::{io::Write, time::Instant};

/// Reports steps.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
}

impl Progress {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Says what happens next or has just happened.
    pub(crate) fn step(&self, text: &str) {
        // A closed standard error must not stop the work.
        let _ = writeln!(std::io::stderr().lock(), "[{:6.1} s] {text}", self.started.elapsed().as_secs_f32());
    }
}
