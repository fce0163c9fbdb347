//! Where the time of a run goes, in shares: of the trainer, of the actors, of the machine. Differences of running totals;
//! the doctor reads them.

use super::machine::ProcessorTime;
use crate::handover::ledger::Account;
use crate::handover::progress::Progress;
use impala_common::trajectory::RolloutTime;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Running totals at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    updates: u64,
    busy: Duration,
    /// Time without a batch, since the first one.
    waiting: Duration,
    actors: RolloutTime,
    trained: u64,
    stale: u64,
    processors: Option<ProcessorTime>,
}

impl Totals {
    /// The present totals.
    pub fn now(progress: &Progress, account: &Account) -> Self {
        let now = Instant::now();
        Self {
            updates: progress.updates,
            busy: progress.clock.busy(now),
            waiting: progress.clock.waiting_since_the_first(now),
            actors: progress.actors,
            trained: account.trained,
            stale: account.refused_stale,
            processors: ProcessorTime::read(),
        }
    }

    /// Zero, but for the processors, which count from the system's start.
    pub fn at_the_start() -> Self {
        Self { processors: ProcessorTime::read(), ..Self::default() }
    }
}

/// Where the time went between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Shares {
    /// Time looked at, since the trainer's first batch, seconds.
    pub seconds: f64,
    /// Updates in it.
    pub updates: u64,
    /// Share of the trainer's time in which it worked, 0 to 1; in the rest it waited for a batch.
    pub learner_busy: f64,
    /// Share of the actors' time in which they waited for room in their windows, that is for receipts, or in the link; of
    /// the trajectories that arrived. Nothing if none came or the actors do not tell.
    pub actors_waiting_for_room: Option<f64>,
    /// The same for weights that are new enough.
    pub actors_waiting_for_weights: Option<f64>,
    /// Share of the decided trajectories that were refused as too old.
    pub stale: f64,
    /// Share of this machine's processors in use, by whatever process; nothing where the system does not tell.
    pub machine_busy: Option<f64>,
}

impl Shares {
    /// The shares between two moments.
    pub fn between(earlier: &Totals, later: &Totals) -> Self {
        let busy = later.busy.saturating_sub(earlier.busy).as_secs_f64();
        let waiting = later.waiting.saturating_sub(earlier.waiting).as_secs_f64();
        let room = later.actors.room.saturating_sub(earlier.actors.room);
        let weights = later.actors.weights.saturating_sub(earlier.actors.weights);
        let actors = later.actors.total().saturating_sub(earlier.actors.total());
        let of_actors = |time: Duration| (!actors.is_zero()).then(|| time.as_secs_f64() / actors.as_secs_f64());
        let stale = later.stale.saturating_sub(earlier.stale);
        let decided = later.trained.saturating_sub(earlier.trained) + stale;
        Self {
            seconds: busy + waiting,
            updates: later.updates.saturating_sub(earlier.updates),
            learner_busy: busy / (busy + waiting).max(1e-9),
            actors_waiting_for_room: of_actors(room),
            actors_waiting_for_weights: of_actors(weights),
            stale: stale as f64 / decided.max(1) as f64,
            machine_busy: later
                .processors
                .zip(earlier.processors)
                .and_then(|(later, earlier)| later.share_since(&earlier)),
        }
    }

    /// Share of the actors' time in which they waited for whatever.
    pub fn actors_blocked(&self) -> Option<f64> {
        self.actors_waiting_for_room.zip(self.actors_waiting_for_weights).map(|(room, weights)| room + weights)
    }

    /// Whether there was enough to look at: some updates, or some time if updates are long.
    pub fn tell_enough(&self) -> bool {
        self.updates >= UPDATES_MIN || self.seconds >= SECONDS_MIN
    }
}

/// Updates from which shares tell something: below, one late trajectory decides.
const UPDATES_MIN: u64 = 20;
/// Seconds from which they do with fewer updates.
const SECONDS_MIN: f64 = 2.0;

/// The shares of the recent past: of the last report interval, or of as many as it takes to tell something.
#[derive(Clone, Debug)]
pub struct RecentShares {
    since: Totals,
    shares: Shares,
}

impl RecentShares {
    /// Nothing yet.
    pub fn new(start: Totals) -> Self {
        Self { since: start, shares: Shares::default() }
    }

    /// Brings them up to date.
    pub fn update(&mut self, now: Totals) -> Shares {
        let shares = Shares::between(&self.since, &now);
        if shares.tell_enough() {
            *self = Self { since: now, shares };
        } else if !self.shares.tell_enough() {
            self.shares = shares;
        }
        self.shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(updates: u64, millis: [u64; 5], decided: [u64; 2]) -> Totals {
        let [busy, waiting, room, weights, unroll] = millis.map(Duration::from_millis);
        let [trained, stale] = decided;
        Totals {
            updates,
            busy,
            waiting,
            actors: RolloutTime { room, weights, unroll },
            trained,
            stale,
            processors: None,
        }
    }

    #[test]
    fn shares_are_those_of_the_time_between_two_moments() {
        let earlier = totals(100, [5_000, 5_000, 0, 0, 9_000], [100, 50]);
        let later = totals(150, [5_900, 5_100, 1_000, 200, 9_800], [190, 60]);
        let shares = Shares::between(&earlier, &later);
        assert_eq!((shares.updates, shares.learner_busy, shares.stale), (50, 0.9, 0.1));
        assert_eq!((shares.actors_waiting_for_room, shares.actors_waiting_for_weights), (Some(0.5), Some(0.1)));
        assert_eq!(shares.actors_blocked(), Some(0.6));
        let silent = Shares::between(
            &later,
            &Totals { actors: later.actors, ..totals(150, [6_900, 5_100, 0, 0, 0], [190, 60]) },
        );
        assert_eq!((silent.actors_blocked(), silent.learner_busy, silent.stale), (None, 1.0, 0.0));
    }

    #[test]
    fn recent_shares_wait_for_enough_updates_or_enough_time() {
        let mut recent = RecentShares::new(Totals::default());
        let early = recent.update(totals(3, [20, 20, 0, 0, 0], [0, 0]));
        assert!(!early.tell_enough());
        assert!(recent.update(totals(40, [100, 100, 0, 0, 0], [0, 0])).tell_enough());
        // Nine more are too few: what is known stays.
        let mut busy_is = |totals, expected: f64| (recent.update(totals).learner_busy - expected).abs() < 1e-9;
        assert!(busy_is(totals(49, [300, 100, 0, 0, 0], [0, 0]), 0.5));
        assert!(busy_is(totals(60, [400, 200, 0, 0, 0], [0, 0]), 0.75));
        // One long update.
        assert!(busy_is(totals(60, [2_400, 200, 0, 0, 0], [0, 0]), 1.0));
    }
}
