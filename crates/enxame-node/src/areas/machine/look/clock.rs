//! The node's clock and whether anything keeps it right.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc;

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether the kernel says that its clock is synchronised: `STA_UNSYNC` is off and it can keep time (adjtimex(2)).
pub(crate) fn is_synchronised() -> bool {
    kernel_clock().is_some_and(|(state, status)| state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0)
}

/// The clock's state and its status bits.
#[expect(unsafe_code, reason = "neither the standard library nor nix has adjtimex(2)")]
fn kernel_clock() -> Option<(i32, i32)> {
    // SAFETY: all fields of timex are integers, for which zeros are valid; modes = 0 asks and sets nothing; the
    // kernel writes within the structure, which outlives the call.
    let (state, status) = unsafe {
        let mut clock: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut clock), clock.status)
    };
    (state >= 0).then_some((state, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_for_its_clock() {
        assert!(kernel_clock().is_some());
        // 2025-01-01: this was written later.
        assert!(unix_ms() > 1_735_689_600_000);
    }
}
