//! How echo requests to every peer fare, all peers at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use enxame_core::probe::{Echoes, Marker, PathQuality};

use crate::areas::machine::look::echo::EchoSocket;
use crate::cancel::Cancel;

/// Holds a marker whole, wherever it begins.
const MARKED_BYTES: usize = 4 * Marker::BLOCK_BYTES;
/// How long after the last request an answer still counts.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// Sends them, and counts what comes back; of what is cancelled, what came back by then.
pub(super) fn measure(order: &Echoes, cancel: &Cancel) -> BTreeMap<IpAddr, Result<PathQuality, String>> {
    let interval = Duration::from_millis(order.interval_ms);
    thread::scope(|scope| {
        let series = |peer: IpAddr| {
            move || {
                let payload = order.marker.map(|marker| marker.payload(0, MARKED_BYTES));
                let mut socket = EchoSocket::open(peer)
                    .map_err(|error| format!("cannot send echo requests to {peer}: {error}"))?
                    .carrying(payload.unwrap_or_default());
                Ok(quality(&socket.series((order.count, interval), LAST_ANSWER, cancel)))
            }
        };
        let running: Vec<_> = order.peers.iter().map(|peer| (*peer, scope.spawn(series(*peer)))).collect();
        let gave_up = || Err("the measurement ended early".to_owned());
        running
            .into_iter()
            .map(|(peer, thread)| (peer, thread.join().unwrap_or_else(|_| gave_up())))
            .collect()
    })
}

/// From the round-trip time of every request, in the order they were sent.
fn quality(series: &[Option<Duration>]) -> PathQuality {
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let times: Vec<u64> = series.iter().flatten().copied().map(us).collect();
    let steps: Vec<u64> = times.iter().zip(times.iter().skip(1)).map(|(a, b)| a.abs_diff(*b)).collect();
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    PathQuality {
        sent: count(series.len()),
        returned: count(times.len()),
        mean_us: mean(&times),
        jitter_us: mean(&steps).unwrap_or_default(),
    }
}

fn mean(values: &[u64]) -> Option<u64> {
    values.iter().sum::<u64>().checked_div(u64::try_from(values.len()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_the_mean_step_between_neighbours_and_the_lost_are_counted() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let found = quality(&[ms(10), ms(12), None, ms(9), ms(9)]);
        let expected = PathQuality { sent: 5, returned: 4, mean_us: Some(10_000), jitter_us: 1_666 };
        assert_eq!(found, expected);
        let nothing = PathQuality { sent: 2, returned: 0, mean_us: None, jitter_us: 0 };
        assert_eq!(quality(&[None, None]), nothing);
    }

    #[test]
    fn every_echo_to_the_loopback_comes_back() {
        let order = Echoes { peers: [[127, 0, 0, 1].into()].into(), count: 20, interval_ms: 1, marker: None };
        // Raw sockets are root's.
        if let Some(Ok(found)) = measure(&order, &Cancel::new()).into_values().next() {
            assert_eq!((found.sent, found.returned), (20, 20));
        }
    }
}
