//! The word that nobody waits for something any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How soon whoever waits notices it, at the latest.
pub const TICK: Duration = Duration::from_millis(100);

/// Said once and for all, and heard by everybody who has a copy.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Nobody has said it yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says it.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was said.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The same for whoever only listens.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// Sleeps, but not on once it is said.
    pub fn sleep(&self, duration: Duration) {
        let end = Instant::now() + duration;
        while !self.is_set()
            && let Some(left) = end.checked_duration_since(Instant::now())
        {
            thread::sleep(left.min(TICK));
        }
    }
}
