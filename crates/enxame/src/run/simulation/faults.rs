//! What goes wrong, and when: all of it from a seed.

use std::time::Duration;

/// A generator of numbers that a seed repeats: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether one of `times` throws.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// A time between two, in milliseconds.
    pub(super) fn between(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(from_ms + self.below(to_ms - from_ms))
    }
}

/// What happens to one request that acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// The channel breaks before the node hears of it.
    NeverArrives,
    /// The node does it, and the channel breaks before the reply.
    ReplyIsLost,
    /// The node does it, and nothing more is heard over that channel.
    Hangs,
    /// The node refuses, with nothing done.
    Refused,
    /// The agent is killed meanwhile, with half of it done.
    AgentDies,
    /// The node loses its power meanwhile, and comes back.
    PowerCut,
    /// Where it is a change of the firewall: no new connection comes through afterwards.
    CutsSsh,
    /// Whoever asks is killed at that moment.
    OperatorDies,
    /// Whoever asks says to stop at that moment.
    OperatorStops,
}

pub(super) const MISHAPS: [Mishap; 9] = [
    Mishap::NeverArrives,
    Mishap::ReplyIsLost,
    Mishap::Hangs,
    Mishap::Refused,
    Mishap::AgentDies,
    Mishap::PowerCut,
    Mishap::CutsSsh,
    Mishap::OperatorDies,
    Mishap::OperatorStops,
];

/// What happens by itself, on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// Its engine dies, and is back after that time.
    EngineDies(Duration),
    /// It loses its power, and has booted after that time.
    PowerCut(Duration),
    /// Nothing reaches it by SSH for that time; the swarm does not notice.
    Unreachable(Duration),
}

/// Everything that goes wrong in one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// By the number of the request that acts, over all rounds.
    pub(super) mishaps: Vec<(u64, Mishap)>,
    /// By the time since the beginning and the node's place in the configuration.
    pub(super) blows: Vec<(Duration, usize, Blow)>,
}

impl Faults {
    /// Up to three mishaps among the first requests, and up to two blows in the first minutes.
    pub(super) fn thrown(dice: &mut Dice) -> Self {
        let mut faults = Self::default();
        for _ in 0..dice.below(4) {
            let mishap = dice.one_of(&MISHAPS);
            faults.mishaps.push((dice.below(24), mishap));
        }
        for _ in 0..dice.below(3) {
            let lasts = if dice.once_in(4) {
                dice.between(600_000, 1_200_000)
            } else {
                dice.between(20_000, 200_000)
            };
            let blow = match dice.below(3) {
                0 => Blow::EngineDies(lasts),
                1 => Blow::PowerCut(lasts),
                _ => Blow::Unreachable(lasts),
            };
            let node = usize::try_from(dice.below(3)).unwrap();
            faults.blows.push((dice.between(0, 240_000), node, blow));
        }
        faults
    }

    pub(super) fn none_at_all(&self) -> bool {
        self.mishaps.is_empty() && self.blows.is_empty()
    }

    /// What happens to this request. A mishap happens once.
    pub(super) fn strike(&mut self, number: u64) -> Option<Mishap> {
        let place = self.mishaps.iter().position(|(at, _)| *at == number)?;
        Some(self.mishaps.remove(place).1)
    }
}
