//! The campaigns.

use std::time::Instant;

use super::campaign::{Case, run};
use super::defects::Defect;
use super::faults::{Faults, MISHAPS};
use super::invariants::Violation;

/// How many seeds are tried: `ENXAME_SEEDS`, which `make drills` sets, or 500.
fn seeds() -> u64 {
    std::env::var("ENXAME_SEEDS").map_or(500, |text| text.parse().unwrap())
}

#[test]
fn whatever_a_seed_brings_ends_settled_with_nobody_open_locked_or_below_quorum() {
    let begun = Instant::now();
    let only = std::env::var("ENXAME_SEED").ok().map(|text| text.parse().unwrap());
    let all = only.map_or(0..seeds(), |seed: u64| seed..seed + 1);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let failed = std::sync::Mutex::new(Vec::new());
    let counts = std::sync::Mutex::new((0, 0));
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (failed, counts, all) = (&failed, &counts, all.clone());
            scope.spawn(move || {
                for seed in all.skip(worker).step_by(workers) {
                    let report = run(&Case::of(seed));
                    let mut counts = counts.lock().unwrap();
                    counts.0 += report.rounds;
                    counts.1 += report.requests;
                    if !report.found.is_empty() || only.is_some() {
                        println!("seed {seed}: {:?}\n  {}", report.found, report.trace.join("\n  "));
                    }
                    if !report.found.is_empty() {
                        failed.lock().unwrap().push((seed, report.found));
                    }
                }
            });
        }
    });
    let (failed, (rounds, requests)) = (failed.into_inner().unwrap(), counts.into_inner().unwrap());
    let count = all.end - all.start;
    println!(
        "{count} seeds, {rounds} rounds, {requests} requests, {} failed, {:?}",
        failed.len(),
        begun.elapsed()
    );
    assert!(failed.is_empty(), "{failed:?}");
}
