//! What becomes of each connected actor's trajectories, how old they are, and how long they lie here: the newest whole window of them. Tickets count here
//! when they are decided; the registry holds one tally for each actor that is here and forgets it with the actor, so memory is
//! bounded by the open streams. Reports read it.

use crate::handover::ledger::Disposition;
use crate::handover::metrics;
use impala_common::ids::WeightsVersion;
pub use impala_common::status::ActorLag;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Trajectories of a window: fewer tell nothing of an actor.
pub const WINDOW: u32 = 20;
/// Share of a window from which its actor counts as one that works in vain.
const IN_VAIN: f64 = 0.9;
/// Actors that are told of by name.
const NAMED_MAX: usize = 3;

/// How old a trajectory was when it was decided, and what it took to make it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// Updates since the weights that it was made with.
    pub lag: u64,
    /// From the end of the trajectory before to the end of this one; zero if the actor does not tell.
    pub time: Duration,
    /// The part of it in which the actor waited.
    pub blocked: Duration,
    /// The weights that it was made with.
    pub version: WeightsVersion,
    /// Its frames.
    pub frames: u64,
}

/// What one actor has been doing, over its newest whole window of trajectories, or what there is of the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Doings {
    /// Mean lag, updates.
    pub policy_lag_mean: f64,
    /// Share that was refused as too old, 0 to 1.
    pub refused: f64,
    /// Frames a second of the actor's own time; nothing if it does not tell.
    pub frames_per_second: Option<f64>,
    /// Share of that time in which it waited, 0 to 1.
    pub blocked: Option<f64>,
    /// The weights that the newest trajectory was made with.
    pub version: WeightsVersion,
    /// Since the newest trajectory was decided.
    pub since: Duration,
}

/// Trajectories of one actor that lie at the learner at a time, on average over the actors that tell their times; nothing without
/// any (Little's law: of a trajectory's time, the part between its arrival and its receipt).
pub fn held<'a>(actors: impl Iterator<Item = &'a ActorTally>) -> Option<f64> {
    let windows = actors.filter_map(ActorTally::newest).filter(|window| !window.time.is_zero());
    let (sum, count) = windows.fold((0.0, 0_u32), |(sum, count), window| {
        (sum + window.held.as_secs_f64() / window.time.as_secs_f64(), count + 1)
    });
    (count > 0).then(|| sum / f64::from(count))
}

/// The tally of one actor.
#[derive(Debug, Default)]
pub struct ActorTally {
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    growing: Window,
    whole: Option<Window>,
    newest: Option<(Instant, WeightsVersion)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    decided: u32,
    refused: u32,
    /// Sum, as a real number: peers choose the versions they name.
    lags: f64,
    time: Duration,
    blocked: Duration,
    held: Duration,
    frames: u64,
}

/// The actors whose policies are oldest, of those that are here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Laggards {
    /// Those with the largest mean lag, at most three, the worst first.
    pub worst: Vec<ActorLag>,
    /// The worst of those whose trajectories are nearly all refused as too old.
    pub in_vain: Option<ActorLag>,
    /// How many of those there are.
    pub in_vain_count: usize,
}

impl ActorTally {
    /// A trajectory of the actor that `arrived` then is decided now.
    pub fn record(&self, disposition: Disposition, age: Age, arrived: Instant) {
        let now = Instant::now();
        self.record_at(disposition, age, now.saturating_duration_since(arrived), now);
    }

    fn record_at(&self, disposition: Disposition, age: Age, held: Duration, now: Instant) {
        let mut windows = self.lock();
        windows.newest = Some((now, age.version));
        let window = &mut windows.growing;
        window.decided += 1;
        window.refused += u32::from(disposition == Disposition::Stale);
        window.lags += age.lag as f64;
        window.time = window.time.saturating_add(age.time);
        window.blocked = window.blocked.saturating_add(age.blocked);
        window.frames = window.frames.saturating_add(age.frames);
        window.held = window.held.saturating_add(held);
        if window.decided < WINDOW {
            return;
        }
        let whole = std::mem::take(window);
        windows.whole = Some(whole);
        drop(windows);
        metrics::record_actor_lag(whole.lags / f64::from(whole.decided));
    }

    /// The newest whole window, or what there is of the first; nothing before the first trajectory.
    fn newest(&self) -> Option<Window> {
        let windows = self.lock();
        windows.whole.or((windows.growing.decided > 0).then_some(windows.growing))
    }

    /// What the actor has been doing; nothing before its first trajectory.
    pub fn doings(&self) -> Option<Doings> {
        let window = self.newest()?;
        let (at, version) = self.lock().newest?;
        let (decided, seconds) = (f64::from(window.decided), window.time.as_secs_f64());
        let tells = seconds > 0.0;
        Some(Doings {
            policy_lag_mean: window.lags / decided,
            refused: f64::from(window.refused) / decided,
            frames_per_second: tells.then(|| window.frames as f64 / seconds),
            blocked: tells.then(|| window.blocked.as_secs_f64() / seconds),
            version,
            since: at.elapsed(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().expect("no holder of a tally panics")
    }
}

impl Window {
    fn of(self, name: &str) -> ActorLag {
        let decided = f64::from(self.decided);
        ActorLag {
            name: name.to_owned(),
            policy_lag_mean: self.lags / decided,
            refused: f64::from(self.refused) / decided,
            trajectory_seconds: self.time.as_secs_f64() / decided,
        }
    }

    fn is_in_vain(self) -> bool {
        self.decided >= WINDOW && f64::from(self.refused) > IN_VAIN * f64::from(self.decided)
    }
}

impl Laggards {
    /// The largest mean lag, updates; 0 without actors.
    pub fn lag_max(&self) -> f64 {
        self.worst.first().map_or(0.0, |actor| actor.policy_lag_mean)
    }

    /// Among these actors, by name.
    pub fn among<'a>(actors: impl Iterator<Item = (&'a str, &'a ActorTally)>) -> Self {
        let mut looks: Vec<(f64, &str, Window)> = actors
            .filter_map(|(name, tally)| {
                tally.newest().map(|window| (window.lags / f64::from(window.decided), name, window))
            })
            .collect();
        looks.sort_by(|(a, a_name, _), (b, b_name, _)| b.total_cmp(a).then_with(|| a_name.cmp(b_name)));
        let mut in_vain = looks.iter().filter(|(_, _, window)| window.is_in_vain());
        let first = in_vain.next();
        Self {
            worst: looks.iter().take(NAMED_MAX).map(|(_, name, window)| window.of(name)).collect(),
            in_vain: first.map(|(_, name, window)| window.of(name)),
            in_vain_count: usize::from(first.is_some()) + in_vain.count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records a trajectory that lay here for so long.
    fn record(tally: &ActorTally, disposition: Disposition, age: Age, held: Duration) {
        tally.record_at(disposition, age, held, Instant::now());
    }

    fn tally(decided: u32, refused: u32, lag: u64) -> ActorTally {
        let tally = ActorTally::default();
        for i in 0..decided {
            let disposition = if i < refused { Disposition::Stale } else { Disposition::Trained };
            let time = Duration::from_millis(500);
            record(&tally, disposition, Age { lag, time, ..Age::default() }, Duration::from_millis(50));
        }
        tally
    }

    fn among(actors: &[(&str, ActorTally)]) -> Laggards {
        Laggards::among(actors.iter().map(|(name, tally)| (*name, tally)))
    }

    #[test]
    fn the_oldest_are_named_and_those_that_work_in_vain() {
        let actors = [
            ("new", ActorTally::default()),
            ("quick", tally(60, 0, 1)),
            ("slow", tally(20, 19, 90)),
            ("stuck", tally(20, 20, 300)),
            ("late", tally(19, 19, 80)),
            ("half", tally(20, 10, 7)),
        ];
        let found = among(&actors);
        let names: Vec<_> = found.worst.iter().map(|actor| (actor.name.as_str(), actor.policy_lag_mean)).collect();
        assert_eq!(names, [("stuck", 300.0), ("slow", 90.0), ("late", 80.0)]);
        let worst = found.in_vain.unwrap();
        assert_eq!((worst.name.as_str(), worst.refused, worst.trajectory_seconds), ("stuck", 1.0, 0.5));
        assert_eq!(found.in_vain_count, 2);
        assert_eq!(among(&actors[..2]).in_vain, None);
        assert_eq!(among(&[]), Laggards::default());
    }

    #[test]
    fn the_part_of_an_actors_time_in_which_its_trajectories_lie_here_is_a_mean_over_actors() {
        let silent = ActorTally::default();
        for _ in 0..WINDOW {
            record(&silent, Disposition::Trained, Age::default(), Duration::from_secs(9));
        }
        assert_eq!(held([&silent, &ActorTally::default()].into_iter()), None);
        let waits = ActorTally::default();
        let age = Age { time: Duration::from_secs(1), ..Age::default() };
        record(&waits, Disposition::Trained, age, Duration::from_millis(700));
        let mean = held([&silent, &tally(20, 0, 1), &waits].into_iter()).unwrap();
        assert!((mean - 0.4).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn what_is_told_is_the_newest_whole_window() {
        let tally = tally(20, 20, 50);
        for _ in 0..19 {
            record(&tally, Disposition::Trained, Age { lag: 2, ..Age::default() }, Duration::ZERO);
        }
        assert_eq!(tally.newest().unwrap().refused, 20);
        record(&tally, Disposition::Trained, Age { lag: 2, ..Age::default() }, Duration::ZERO);
        assert_eq!(tally.newest().unwrap().of("x").policy_lag_mean, 2.0);
        // Numbers that no honest peer names.
        let (time, blocked, version) = (Duration::MAX, Duration::MAX, WeightsVersion(u64::MAX));
        let no_honest = Age { lag: u64::MAX, time, blocked, version, frames: u64::MAX };
        record(&tally, Disposition::Stale, no_honest, Duration::MAX);
        record(&tally, Disposition::Stale, no_honest, Duration::MAX);
    }

    #[test]
    fn an_actors_doings_are_those_of_its_newest_window() {
        let tally = ActorTally::default();
        assert_eq!(tally.doings(), None);
        let [time, blocked] = [200, 50].map(Duration::from_millis);
        for version in 0..WINDOW.into() {
            let age = Age { lag: 3, time, blocked, version: WeightsVersion(version), frames: 80 };
            record(&tally, Disposition::Trained, age, Duration::ZERO);
        }
        record(&tally, Disposition::Stale, Age { version: WeightsVersion(99), ..Age::default() }, Duration::ZERO);
        let told = tally.doings().unwrap();
        assert_eq!((told.policy_lag_mean, told.refused, told.version), (3.0, 0.0, WeightsVersion(99)));
        assert!((told.frames_per_second.unwrap() - 400.0).abs() < 1e-9 && told.blocked == Some(0.25), "{told:?}");
    }
}
