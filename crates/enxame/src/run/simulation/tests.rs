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

#[test]
fn whatever_goes_wrong_at_any_one_step_ends_settled() {
    // One of each: founding, drift, a reboot, a drain.
    for seed in [6, 39, 154, 34] {
        let steps = run(&Case { seed, faults: Faults::default(), defect: None }).requests;
        for (step, mishap) in (0..steps).flat_map(|step| MISHAPS.map(|mishap| (step, mishap))) {
            let faults = Faults { mishaps: vec![(step, mishap)], blows: Vec::new() };
            let report = run(&Case { seed, faults, defect: None });
            let trace = report.trace.join("\n  ");
            assert!(
                report.found.is_empty(),
                "seed {seed}, {mishap:?} at {step}: {:?}\n  {trace}",
                report.found
            );
        }
    }
}

#[test]
fn a_seed_is_the_same_every_time() {
    for seed in 0..24 {
        assert_eq!(run(&Case::of(seed)).trace, run(&Case::of(seed)).trace, "seed {seed}");
    }
}

/// Whether one of the first seeds finds a defect, by what it must be found by.
fn finds(defect: Defect, is_it: fn(&Violation) -> bool) {
    let found = (0..2_000).find_map(|seed| {
        let report = run(&Case { defect: Some(defect), ..Case::of(seed) });
        report.found.into_iter().find(is_it).map(|violation| (seed, violation))
    });
    let (seed, violation) = found.unwrap_or_else(|| panic!("{defect:?} is not found"));
    println!("{defect:?}: seed {seed}: {violation}");
}

macro_rules! defects {
    ($($name:ident: $defect:ident => $($found:pat_param)|+,)*) => {
        $(#[test]
        fn $name() {
            finds(Defect::$defect, |violation| matches!(violation, $($found)|+));
        })*
    };
}

defects! {
    gates_that_nobody_looks_at_are_found: GatesIgnored => Violation::BelowQuorum(_),
    turns_that_nobody_waits_for_are_found: BehindIgnored => Violation::TwoTurns(..),
    a_turn_before_the_other_node_is_back_is_found: OthersNotWaitedFor => Violation::TwoDisturbed(..) | Violation::TasksMissing(..),
    a_quorum_that_is_counted_wrongly_is_found: QuorumCountedWrongly => Violation::BelowQuorum(_),
    a_dead_man_switch_that_is_not_armed_is_found: DeadManNotArmed => Violation::Locked(_),
    a_confirmation_over_the_old_connection_is_found: ConfirmedOverTheOldConnection => Violation::Locked(_),
    a_way_back_that_forgets_the_rules_is_found: WayBackForgetsTheRules => Violation::Open(_),
    a_lock_that_is_not_freed_is_found: LockNotFreed => Violation::NeverSettles(_) | Violation::LockTaken(_),
    a_lost_reply_that_is_taken_for_done_is_found: LostReplyTakenForDone => Violation::SaidDone(_),
    a_forgotten_activation_is_found: ActivationForgotten => Violation::NeverSettles(_),
    a_plan_that_does_not_tell_what_it_withholds_is_found: WithheldIgnored => Violation::SaidSettled(_),
    a_forgotten_interruption_is_found: InterruptionForgotten => Violation::SaidSettled(_),
    a_stop_that_nobody_hears_is_found: StopIgnored => Violation::BegunAfterStop(_),
}
