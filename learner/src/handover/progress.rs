//! What a run has reached: written by the trainer once an update, read by reports. Decides when a policy is to be verified, and so
//! when the task is solved.

mod clock;
mod curve;
mod evaluations;
mod saved;
mod tries;
mod vitals;

use crate::learn::step::StepReport;
use clock::TrainerClock;
pub use curve::{Curve, CurvePoint};
pub use evaluations::{Evaluated, Evaluations};
use impala_common::trajectory::{Episode, RolloutTime};
pub use saved::SavedProgress;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
pub use tries::{Tries, Verified, VersionedPolicy};
pub use vitals::{NoiseMeans, ReturnRange, Vitals};

/// Episodes in the mean that decides: what environments state their goals for.
pub const SOLVED_EPISODES: usize = impala_env::GOAL_EPISODES;

/// Distribution of policy lags, updates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LagHistogram {
    counts: Vec<u64>,
}

/// Lags from here on share one place.
const LAG_PLACES: usize = 1025;

impl LagHistogram {
    /// Counts one trajectory.
    pub fn record(&mut self, lag: u64) {
        let place = usize::try_from(lag).map_or(LAG_PLACES - 1, |lag| lag.min(LAG_PLACES - 1));
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
    }

    /// Trajectories by lag, from 0 on.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Mean lag; 0 without trajectories.
    pub fn mean(&self) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let sum: u64 = self.counts.iter().zip(0..).map(|(count, lag)| count * lag).sum();
        if total == 0 { 0.0 } else { sum as f64 / total as f64 }
    }

    /// The smallest lag that at least the fraction `q` of trajectories does not exceed.
    pub fn quantile(&self, q: f64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let rank = (q * total as f64).ceil() as u64;
        let mut seen = 0;
        for (count, lag) in self.counts.iter().zip(0..) {
            seen += count;
            if seen >= rank {
                return lag;
            }
        }
        0
    }

    /// Trajectories by lag from 0 on, in at most so many places; the last one has all that are older.
    pub fn in_places(&self, places: usize) -> Vec<u64> {
        let mut counts: Vec<u64> = self.counts.iter().copied().take(places).collect();
        if let Some(last) = counts.last_mut() {
            *last += self.counts.iter().skip(places).sum::<u64>();
        }
        counts
    }

    /// The largest lag seen.
    pub fn max(&self) -> u64 {
        self.counts.len().saturating_sub(1) as u64
    }
}

/// Where and when the task was solved: by the policy that was verified to have reached the goal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solved {
    /// Frames that the policy was trained on.
    pub frames: u64,
    /// Seconds since the start of the run.
    pub seconds: f64,
}

/// Everything that a report may want to know of the training.
#[derive(Clone, Debug)]
pub struct Progress {
    started: Instant,
    /// What earlier processes of a resumed run took.
    before: Duration,
    first_batch: Option<Duration>,
    ended: Option<Duration>,
    solved_return: f64,
    /// Frames trained.
    pub frames: u64,
    /// Updates; also the version of the weights.
    pub updates: u64,
    /// Episodes that count: they have ended, and so have all that began before them.
    pub episodes: u64,
    /// The last update.
    pub last_step: StepReport,
    /// The updates and returns of this process.
    pub vitals: Vitals,
    /// Learning rate of the last update.
    pub learning_rate: f32,
    /// The trainer's time, at work and waiting.
    pub clock: TrainerClock,
    /// The actors' time, of all trajectories that came after the first batch: what went before is the start of a run and no
    /// sign of what limits it.
    pub actors: RolloutTime,
    /// Lag of every trained trajectory.
    pub lag: LagHistogram,
    /// When the task was solved; known once the policy of that moment is verified.
    pub solved: Option<Solved>,
    /// The worst mean return of 100 episodes since then, or since a policy that is being verified.
    pub worst_after_solved: Option<f64>,
    /// The tries to verify a policy.
    pub tries: Tries,
    /// Whether one is under way.
    pub is_verifying: bool,
    /// The policy that solved the task: what the run leaves, however far training goes after it.
    pub verified: Option<VersionedPolicy>,
    /// Mean return of the last 100 episodes against frames.
    pub curve: Curve,
    /// Evaluations beside the training.
    pub evaluations: Evaluations,
    /// The newest that count, in the order in which they began.
    recent: VecDeque<Episode>,
}

impl Progress {
    /// Progress of a run that counts as solved from `solved_return`.
    pub fn new(solved_return: f64) -> Self {
        let started = Instant::now();
        Self {
            started,
            before: Duration::ZERO,
            first_batch: None,
            ended: None,
            solved_return,
            frames: 0,
            updates: 0,
            episodes: 0,
            last_step: StepReport::default(),
            vitals: Vitals::default(),
            learning_rate: 0.0,
            clock: TrainerClock::new(started),
            actors: RolloutTime::default(),
            lag: LagHistogram::default(),
            solved: None,
            worst_after_solved: None,
            tries: Tries::default(),
            is_verifying: false,
            verified: None,
            curve: Curve::default(),
            evaluations: Evaluations::default(),
            recent: VecDeque::with_capacity(SOLVED_EPISODES),
        }
    }

    /// Mean return from which on the run counts as solved.
    pub fn solved_return(&self) -> f64 {
        self.solved_return
    }

    /// Time since the start of the run, without that in which no learner was up.
    pub fn elapsed(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    /// What earlier processes of a resumed run took of it.
    pub fn before(&self) -> Duration {
        self.before
    }

    /// Time from the start of the run until the trainer had its first batch.
    pub fn first_batch(&self) -> Option<Duration> {
        self.first_batch
    }

    /// The trainer has a batch; `actors` is the time that went into what has arrived since the one before.
    pub fn begin_work(&mut self, actors: RolloutTime) {
        self.clock.work(Instant::now());
        if self.first_batch.is_none() {
            self.first_batch = Some(self.elapsed());
        } else {
            self.actors += actors;
        }
    }

    /// The trainer waits for the next batch.
    pub fn begin_wait(&mut self) {
        self.clock.wait(Instant::now());
    }

    /// The trainer has ended.
    pub fn end_work(&mut self) {
        self.clock.stop(Instant::now());
        self.ended = Some(self.elapsed());
    }

    /// Time from the start of the run until the trainer ended.
    pub fn ended(&self) -> Option<Duration> {
        self.ended
    }

    /// Whether the task is solved, and was trained on for `frames_after_solved`.
    pub fn is_solved_to_the_end(&self, frames_after_solved: u64) -> bool {
        self.solved.is_some_and(|solved| self.frames >= solved.frames.saturating_add(frames_after_solved))
    }

    /// Whether the training is at its end: solved and trained on, or unsolved within its frames.
    pub fn has_reached(&self, frames_max: u64, frames_after_solved: u64) -> bool {
        match self.solved {
            Some(_) => self.is_solved_to_the_end(frames_after_solved),
            None => self.frames >= frames_max,
        }
    }

    /// Mean return of the newest 100 episodes that count, or of as many as there are; `None` before the first. Which count, and
    /// in which order, is [`EpisodeRecorder`](crate::handover::episodes::EpisodeRecorder)'s to say.
    pub fn mean_return(&self) -> Option<f64> {
        // Summed anew each time: a resumed run has the same bits.
        let sum: f64 = self.recent.iter().map(|e| f64::from(e.episode_return)).sum();
        (!self.recent.is_empty()).then(|| sum / self.recent.len() as f64)
    }

    /// Mean length of the same episodes, steps.
    pub fn mean_length(&self) -> Option<f64> {
        let sum: f64 = self.recent.iter().map(|e| f64::from(e.length)).sum();
        (!self.recent.is_empty()).then(|| sum / self.recent.len() as f64)
    }

    /// Adds the frames of an update and the episodes that count since the one before.
    pub fn record_update(&mut self, frames: u64, episodes: impl Iterator<Item = Episode>) {
        self.updates += 1;
        self.frames += frames;
        let before = self.episodes;
        for episode in episodes {
            self.record_episode(episode);
        }
        if self.episodes > before {
            let (frames, mean) = (self.frames, self.mean_return());
            self.curve.record(|| mean.map(|mean_return| CurvePoint { frames, mean_return }));
        }
    }

    fn record_episode(&mut self, episode: Episode) {
        self.episodes += 1;
        if self.recent.len() == SOLVED_EPISODES {
            self.recent.pop_front();
        }
        self.recent.push_back(episode);
        if self.recent.len() < SOLVED_EPISODES {
            return;
        }
        let mean = self.mean_return().unwrap_or_default();
        self.vitals.record_return(mean);
        if self.is_verifying || self.solved.is_some() {
            self.worst_after_solved = Some(self.worst_after_solved.map_or(mean, |worst| worst.min(mean)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(episode_return: f32) -> Episode {
        Episode { episode_return, length: episode_return as u32 }
    }

    #[test]
    fn means_are_those_of_the_last_hundred_episodes() {
        let mut progress = Progress::new(475.0);
        progress.record_update(80, std::iter::repeat_n(episode(500.0), 99));
        assert_eq!(progress.mean_return(), Some(500.0));
        progress.record_update(80, std::iter::repeat_n(episode(100.0), 50));
        assert_eq!((progress.mean_return(), progress.mean_length()), (Some(300.0), Some(300.0)));
    }

    #[test]
    fn the_lag_histogram_knows_mean_quantiles_and_maximum() {
        let mut lag = LagHistogram::default();
        assert_eq!((lag.mean(), lag.quantile(0.5), lag.max()), (0.0, 0, 0));
        [0, 1, 1, 2, 6].into_iter().for_each(|l| lag.record(l));
        assert_eq!((lag.mean(), lag.quantile(0.5), lag.quantile(0.99), lag.max()), (2.0, 1, 6, 6));
        assert_eq!(
            [2, 3, 9].map(|places| lag.in_places(places)),
            [vec![1, 4], vec![1, 2, 2], vec![1, 2, 1, 0, 0, 0, 1]]
        );
        lag.record(u64::MAX);
        assert_eq!(lag.max(), 1024);
    }
}
