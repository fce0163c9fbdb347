//! Waiting times between attempts: exponential, bounded, with jitter, so that many actors do not return at once.

use impala_env::seed::Rng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// The first wait is short: a learner that starts beside its actors is up within a few tenths of a second.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait: how late an actor may notice that its learner is back.
const LONGEST: Duration = Duration::from_secs(5);
/// Growth of the wait from one attempt to the next.
const FACTOR: f64 = 1.5;

/// An endless series of waits.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    rng: Rng,
}

impl Backoff {
    /// A series that starts with the shortest wait; the seed decides the jitter.
    pub fn new(seed: u64) -> Self {
        Self { next: FIRST, rng: Rng::seed_from_u64(seed) }
    }

    /// The time to wait before the next attempt: between half of the current step and all of it.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.spread(self.next);
        self.next = self.next.mul_f64(FACTOR).min(LONGEST);
        wait
    }

    /// A wait of its own, between half of `longest` and all of it; the series stays where it is.
    pub fn spread(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.rng.random_range(0.5..=1.0))
    }

    /// Starts again with the shortest wait, after an attempt that led somewhere.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_stay_within_their_jitter() {
        let mut backoff = Backoff::new(1);
        let mut step = FIRST;
        for _ in 0..50 {
            let wait = backoff.next_wait();
            assert!(wait >= step.mul_f64(0.5) && wait <= step, "{wait:?} outside the jitter of {step:?}");
            step = step.mul_f64(FACTOR).min(LONGEST);
        }
        assert_eq!(step, LONGEST);
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }

    #[test]
    fn a_spread_wait_stays_within_its_jitter_and_apart_from_the_series() {
        let (mut backoff, longest) = (Backoff::new(3), Duration::from_secs(10));
        for _ in 0..50 {
            let wait = backoff.spread(longest);
            assert!(wait >= longest.mul_f64(0.5) && wait <= longest, "{wait:?}");
        }
        assert!(backoff.next_wait() <= FIRST);
    }

    #[test]
    fn two_seeds_wait_differently_and_one_seed_repeats() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            std::array::from_fn::<_, 10, _>(|_| backoff.next_wait())
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
