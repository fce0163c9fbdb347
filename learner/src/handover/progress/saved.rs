//! Progress as a checkpoint keeps it: all that decides or reports of a run across processes, not how long this process
//! worked and waited.

use super::{Curve, CurvePoint, Evaluations, LagHistogram, Progress, Solved, Tries, VersionedPolicy};
use impala_common::trajectory::{Episode, MAGNITUDE_MAX};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The counters of a run at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedProgress {
    /// Frames trained.
    pub frames: u64,
    /// Updates; also the version of the weights.
    pub updates: u64,
    /// Episodes that count.
    pub episodes: u64,
    /// Seconds that the run has taken, without the time in which no learner was up.
    pub seconds: f64,
    /// Seconds until the first batch.
    pub seconds_to_first_batch: Option<f64>,
    /// When the task was solved.
    pub solved: Option<Solved>,
    /// The worst mean return of 100 episodes since then.
    pub worst_after_solved: Option<f64>,
    /// The tries to verify a policy; earlier releases made none.
    #[serde(default)]
    pub tries: Tries,
    /// `(return, length)` of the newest 100 episodes that count, oldest first: what decides when a policy is verified.
    pub recent_episodes: Vec<(f32, u32)>,
    /// Trained trajectories by policy lag.
    lag: LagHistogram,
    curve: Vec<CurvePoint>,
    curve_stride: u64,
    curve_skipped: u64,
    /// Evaluations beside the training; earlier releases made none.
    #[serde(default)]
    pub evaluations: Evaluations,
}

/// Largest counter of any run: every whole number up to it is a number of JSON.
const COUNT_MAX: u64 = 1 << 53;
/// Longest run, seconds.
const SECONDS_MAX: f64 = 1e12;

impl SavedProgress {
    /// Checks that a run can have come to this: it may come from a file that somebody made.
    ///
    /// # Errors
    /// Names the first field that is out of bounds, with its value.
    pub fn validate(&self) -> Result<(), String> {
        let Self { frames, updates, episodes, seconds, seconds_to_first_batch, worst_after_solved, .. } = self;
        for (field, count) in [("frames", *frames), ("updates", *updates), ("episodes", *episodes)] {
            if count > COUNT_MAX {
                return Err(format!("{field} = {count}, at most {COUNT_MAX}"));
            }
        }
        if let Some(solved) = self.solved.filter(|solved| solved.frames > *frames) {
            return Err(format!("solved after {} frames, at most {frames}", solved.frames));
        }
        self.tries.validate(*updates)?;
        self.evaluations.validate(*frames)?;
        for (field, seconds) in [("seconds", Some(*seconds)), ("seconds_to_first_batch", *seconds_to_first_batch)] {
            if let Some(seconds) = seconds.filter(|seconds| !(0.0..=SECONDS_MAX).contains(seconds)) {
                return Err(format!("{field} = {seconds}, from 0 to {SECONDS_MAX}"));
            }
        }
        if self.recent_episodes.len() > super::SOLVED_EPISODES {
            let len = self.recent_episodes.len();
            return Err(format!("{len} recent_episodes, at most {}", super::SOLVED_EPISODES));
        }
        let max = f64::from(MAGNITUDE_MAX);
        let returns = self.recent_episodes.iter().map(|(episode_return, _)| f64::from(*episode_return));
        let points = self.curve.iter().chain(&self.evaluations.curve.points);
        let means = points.map(|point| point.mean_return);
        let means = means.chain(*worst_after_solved).chain(self.tries.best_mean);
        // No comparison holds of a number that is none.
        match returns.chain(means).find(|value| !(-max..=max).contains(value)) {
            None => Ok(()),
            Some(value) => Err(format!("a return of {value:e}, at most {max:e} in magnitude")),
        }
    }

    /// Mean return of the last 100 episodes; none before there are so many.
    pub fn mean_return(&self) -> Option<f64> {
        let sum: f64 = self.recent_episodes.iter().map(|(episode_return, _)| f64::from(*episode_return)).sum();
        (self.recent_episodes.len() == super::SOLVED_EPISODES).then(|| sum / super::SOLVED_EPISODES as f64)
    }
}

impl Progress {
    /// What a checkpoint keeps.
    pub fn save(&self) -> SavedProgress {
        SavedProgress {
            frames: self.frames,
            updates: self.updates,
            episodes: self.episodes,
            seconds: self.elapsed().as_secs_f64(),
            seconds_to_first_batch: self.first_batch.map(|time| time.as_secs_f64()),
            solved: self.solved,
            // A try that is under way is none for who resumes.
            worst_after_solved: self.solved.and(self.worst_after_solved),
            tries: self.tries.clone(),
            recent_episodes: self.recent.iter().map(|episode| (episode.episode_return, episode.length)).collect(),
            lag: self.lag.clone(),
            curve: self.curve.points.clone(),
            curve_stride: self.curve.stride,
            curve_skipped: self.curve.skipped,
            evaluations: self.evaluations.clone(),
        }
    }

    /// What a checkpoint keeps, and the verified policy.
    pub fn save_with_policy(&self) -> (SavedProgress, Option<VersionedPolicy>) {
        (self.save(), self.verified.clone())
    }

    /// Goes on from what a checkpoint kept. A task that counted as solved by another goal than now, or in a release that verified
    /// no policy, does not any more: it has no `verified` policy.
    #[must_use]
    pub fn resume(self, saved: SavedProgress, verified: Option<VersionedPolicy>) -> Self {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let episode = |(episode_return, length)| Episode { episode_return, length };
        Self {
            frames: saved.frames,
            updates: saved.updates,
            episodes: saved.episodes,
            before: seconds(saved.seconds),
            first_batch: saved.seconds_to_first_batch.map(seconds),
            solved: saved.solved.filter(|_| verified.is_some()),
            worst_after_solved: saved.worst_after_solved.filter(|_| verified.is_some()),
            tries: saved.tries,
            verified,
            recent: saved.recent_episodes.into_iter().map(episode).collect(),
            lag: saved.lag,
            curve: Curve { points: saved.curve, stride: saved.curve_stride, skipped: saved.curve_skipped },
            evaluations: saved.evaluations,
            ..self
        }
    }
}
