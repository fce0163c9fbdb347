//! The trainer's time: at work or waiting for a batch, exact at any moment, also in the middle of either.
//!
//! Written by the trainer through the progress, read by reports.

use std::time::{Duration, Instant};

/// What the trainer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Working,
    Over,
}

/// Time in each phase.
#[derive(Clone, Debug)]
pub struct TrainerClock {
    phase: Phase,
    since: Instant,
    busy: Duration,
    waiting: Duration,
    waiting_for_the_first: Option<Duration>,
}

impl TrainerClock {
    /// A trainer that waits for its first batch from `now` on.
    pub(super) fn new(now: Instant) -> Self {
        let (busy, waiting) = (Duration::ZERO, Duration::ZERO);
        Self { phase: Phase::Waiting, since: now, busy, waiting, waiting_for_the_first: None }
    }

    /// It has a batch.
    pub(super) fn work(&mut self, now: Instant) {
        self.enter(Phase::Working, now);
        self.waiting_for_the_first.get_or_insert(self.waiting);
    }

    /// It waits for the next.
    pub(super) fn wait(&mut self, now: Instant) {
        self.enter(Phase::Waiting, now);
    }

    /// It has ended.
    pub(super) fn stop(&mut self, now: Instant) {
        self.enter(Phase::Over, now);
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        (self.busy, self.waiting) = (self.busy(now), self.waiting(now));
        (self.phase, self.since) = (phase, now);
    }

    /// Time at work until `now`.
    pub fn busy(&self, now: Instant) -> Duration {
        self.busy + self.in_phase(Phase::Working, now)
    }

    /// Time spent waiting for batches until `now`.
    pub fn waiting(&self, now: Instant) -> Duration {
        self.waiting + self.in_phase(Phase::Waiting, now)
    }

    /// The same without the wait for the first batch, which is the start of a run and no sign of what limits it.
    pub fn waiting_since_the_first(&self, now: Instant) -> Duration {
        self.waiting_for_the_first.map_or(Duration::ZERO, |first| self.waiting(now).saturating_sub(first))
    }

    fn in_phase(&self, phase: Phase, now: Instant) -> Duration {
        if self.phase == phase { now.saturating_duration_since(self.since) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_in_the_middle_of_a_phase_and_stands_still_at_the_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let told = |clock: &TrainerClock, seconds| {
            [clock.busy(at(seconds)), clock.waiting(at(seconds)), clock.waiting_since_the_first(at(seconds))]
                .map(|time| time.as_secs())
        };
        let mut clock = TrainerClock::new(start);
        assert_eq!(told(&clock, 3), [0, 3, 0]);
        clock.work(at(5));
        assert_eq!(told(&clock, 12), [7, 5, 0]);
        clock.wait(at(15));
        assert_eq!(told(&clock, 17), [10, 7, 2]);
        clock.work(at(18));
        clock.stop(at(20));
        assert_eq!(told(&clock, 99), [12, 8, 3]);
    }
}
