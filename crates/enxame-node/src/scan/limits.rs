//! How many connections may be in the making at a time.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// For one target: with a wait of 1.5 s it makes a thousand attempts a second, which takes 66 s for all ports of a
/// target that is silent.
const OF_ONE_TARGET: usize = 1500;
/// For all targets together: what a modest router translates without forgetting anybody.
const IN_ALL: usize = 6000;
/// What else this process has open.
const SPARE_DESCRIPTORS: u64 = 256;

/// The window of each of so many targets that are scanned at the same time. Raises this process's soft limit of open
/// files as far as it may; what it may not have, the windows do without.
#[must_use]
pub fn window(targets: usize) -> usize {
    let wanted = u64::try_from(IN_ALL).unwrap_or(u64::MAX) + SPARE_DESCRIPTORS;
    let available = available(wanted).saturating_sub(SPARE_DESCRIPTORS);
    let in_all = usize::try_from(available).unwrap_or(IN_ALL).min(IN_ALL);
    in_all.checked_div(targets).unwrap_or(in_all).clamp(1, OF_ONE_TARGET)
}

fn available(wanted: u64) -> u64 {
    // Unlimited processes have a number as well; without an answer, what POSIX promises at least is too little to tell.
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return SPARE_DESCRIPTORS };
    let raised = wanted.min(hard);
    if soft >= raised {
        return soft;
    }
    if setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() { raised } else { soft }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_share_the_window_and_none_goes_without() {
        let one = window(1);
        assert!((1..=OF_ONE_TARGET).contains(&one));
        assert!(window(8) * 8 <= IN_ALL);
        assert_eq!(window(100_000), 1);
    }
}
