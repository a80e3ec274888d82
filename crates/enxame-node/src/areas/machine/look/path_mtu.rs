//! The largest packet that comes back whole, and how fast the small ones do.
//!
//! A path that takes whole packets of the interface's MTU, which is the rule, costs a few round trips. A path that does
//! not is searched by rounds of several sizes at once, each size twice, so that one lost packet changes nothing.

use std::time::{Duration, Instant};

use enxame_core::facts::Observed;

/// Sends echo requests with DF set and waits for what comes back.
pub(crate) trait Echo {
    /// The smallest packet worth sending, in bytes.
    fn smallest_bytes(&self) -> u32;

    /// Sends one request per size (bytes of the whole IP packet), each as one packet, and gives the sizes that came
    /// back with their round-trip times. Ends when all did or when `wait` is over.
    fn round(&mut self, sizes_bytes: &[u32], wait: Duration) -> Vec<(u32, Duration)>;
}

/// What was measured.
pub(crate) struct Measured {
    /// The path MTU; a reason completes "the peer ...".
    pub(crate) path_mtu_bytes: Observed<u32>,
    /// The best round-trip time.
    pub(crate) round_trip: Option<Duration>,
}

/// How long the first, whole-sized request may take, twice.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How long each round of the search may take.
const SEARCH_WAIT: Duration = Duration::from_millis(500);
/// When the search gives up.
const DEADLINE: Duration = Duration::from_secs(6);
/// Sizes per round of the search: three rounds find one of 1,500.
const SIZES_PER_ROUND: u32 = 12;
/// Every host must take IPv4 packets this large (RFC 791, 3.1). A peer that answers smaller ones only has a filter for
/// large echoes, not a path that narrow.
const SMALLEST_PATH_MTU_BYTES: u32 = 576;

/// Measures the way to a peer over an interface with this MTU.
pub(crate) fn measure(echo: &mut dyn Echo, interface_mtu_bytes: u32) -> Measured {
    let end = Instant::now() + DEADLINE;
    let mut search = Search { echo, best: None };
    let smallest = search.echo.smallest_bytes();
    // An IP packet cannot be larger (RFC 791, 3.1), though the loopback's MTU is.
    let largest = interface_mtu_bytes.clamp(smallest, 65_535);

    let mut heard_small = false;
    for _ in 0..2 {
        let answered = search.round(&[smallest, largest], FIRST_WAIT);
        if answered.contains(&largest) {
            // The first round paid for neighbour discovery; this one tells the path's own time.
            search.round(&[smallest], SEARCH_WAIT);
            return search.done(Observed::Known(largest));
        }
        heard_small |= answered.contains(&smallest);
    }
    if !heard_small {
        return search.done(Observed::Unknown("does not answer echo requests".to_owned()));
    }

    let (mut passes, mut fails) = (smallest, largest);
    while fails - passes > 1 {
        if Instant::now() >= end {
            let why = format!("has a path MTU of {passes} to {} bytes, not narrowed down in time", fails - 1);
            return search.done(Observed::Unknown(why));
        }
        let sizes = between(passes, fails);
        let twice: Vec<u32> = sizes.iter().chain(&sizes).copied().collect();
        let answered = search.round(&twice, SEARCH_WAIT);
        passes = answered.iter().copied().fold(passes, u32::max);
        fails = sizes.into_iter().filter(|size| *size > passes).fold(fails, u32::min);
    }
    search.done(if passes < SMALLEST_PATH_MTU_BYTES {
        Observed::Unknown(format!("answers echo requests of up to {passes} bytes only"))
    } else {
        Observed::Known(passes)
    })
}

/// Evenly spaced sizes strictly between two, in ascending order.
fn between(low: u32, high: u32) -> Vec<u32> {
    let count = SIZES_PER_ROUND.min(high - low - 1);
    (1..=count).map(|step| low + (high - low) * step / (count + 1)).collect()
}

struct Search<'a> {
    echo: &'a mut dyn Echo,
    best: Option<Duration>,
}

impl Search<'_> {
    fn round(&mut self, sizes: &[u32], wait: Duration) -> Vec<u32> {
        let answered = self.echo.round(sizes, wait);
        self.best = self.best.into_iter().chain(answered.iter().map(|(_, time)| *time)).min();
        answered.into_iter().map(|(size, _)| size).collect()
    }

    fn done(self, path_mtu_bytes: Observed<u32>) -> Measured {
        Measured { path_mtu_bytes, round_trip: self.best }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that takes packets up to a size, and loses every n-th.
    struct Path {
        takes: u32,
        loses_every: usize,
        sent: usize,
        rounds: usize,
    }

    impl Path {
        fn taking(takes: u32) -> Self {
            Self { takes, loses_every: usize::MAX, sent: 0, rounds: 0 }
        }
    }

    impl Echo for Path {
        fn smallest_bytes(&self) -> u32 {
            84
        }

        fn round(&mut self, sizes: &[u32], _: Duration) -> Vec<(u32, Duration)> {
            self.rounds += 1;
            let mut passes = |size: u32| {
                self.sent += 1;
                size <= self.takes && !self.sent.is_multiple_of(self.loses_every)
            };
            let time = |size: &u32| (*size, Duration::from_micros(u64::from(*size)));
            sizes.iter().filter(|size| passes(**size)).map(time).collect()
        }
    }

    #[test]
    fn a_path_as_wide_as_its_interface_takes_two_rounds() {
        let mut path = Path::taking(1500);
        let measured = measure(&mut path, 1500);
        assert_eq!(measured.path_mtu_bytes, Observed::Known(1500));
        assert_eq!(measured.round_trip, Some(Duration::from_micros(84)));
        assert_eq!(path.rounds, 2);
    }

    #[test]
    fn every_narrower_path_is_found_exactly_within_the_deadline() {
        for takes in 576..1500 {
            let mut path = Path::taking(takes);
            assert_eq!(measure(&mut path, 1500).path_mtu_bytes, Observed::Known(takes));
            // Two of 1 s and the rest of 500 ms each.
            assert!(path.rounds <= 2 + 8, "{} rounds for {takes}", path.rounds);
        }
        assert_eq!(measure(&mut Path::taking(8951), 9000).path_mtu_bytes, Observed::Known(8951));
        assert_eq!(measure(&mut Path::taking(65_535), 65_536).path_mtu_bytes, Observed::Known(65_535));
    }

    #[test]
    fn lost_packets_do_not_narrow_the_path() {
        for loses_every in [5, 7, 11] {
            for takes in [1280, 1392, 1400, 1450, 1476, 1492, 1499, 1500] {
                let mut path = Path { loses_every, ..Path::taking(takes) };
                assert_eq!(
                    measure(&mut path, 1500).path_mtu_bytes,
                    Observed::Known(takes),
                    "{loses_every} {takes}"
                );
            }
        }
    }

    #[test]
    fn a_peer_that_never_answers_is_unknown_and_has_no_time() {
        let measured = measure(&mut Path::taking(0), 1500);
        assert_eq!(measured.path_mtu_bytes, Observed::Unknown("does not answer echo requests".to_owned()));
        assert_eq!(measured.round_trip, None);
    }

    #[test]
    fn a_filter_for_large_echoes_is_not_taken_for_a_narrow_path() {
        let measured = measure(&mut Path::taking(100), 1500);
        let why = "answers echo requests of up to 100 bytes only".to_owned();
        assert_eq!(measured.path_mtu_bytes, Observed::Unknown(why));
        assert!(measured.round_trip.is_some());
    }
}
