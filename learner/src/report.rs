//! What a person sees of a run: the progress line, `metrics.csv`, the event files for
//! TensorBoard, the learning curve, the summary. Reads progress and
//! account; nothing here changes a run.

pub mod doctor;
pub mod gpus;
pub mod machine;
pub(crate) mod reporter;
pub(crate) mod row;
pub mod series;
pub mod shares;
pub mod sinks;
pub(crate) mod spacing;
pub mod summary;

use crate::handover::ledger::Account;
use crate::handover::progress::Progress;
use crate::handover::tally::Laggards;
use doctor::Diagnosis;
use shares::Shares;
use std::time::{Duration, Instant};

/// A look at the run at one moment.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The training.
    pub progress: &'a Progress,
    /// Every trajectory.
    pub account: Account,
    /// Actors with an open stream.
    pub actors_connected: usize,
    /// Over the time since the last report.
    pub frames_per_second: f64,
    /// Share of the time since the last report in which the trainer worked, 0 to 1.
    pub busy: f64,
    /// Where the time of the recent past went.
    pub shares: Shares,
    /// What limits the run at present.
    pub diagnosis: &'a Diagnosis,
    /// The actors whose policies are oldest.
    pub laggards: &'a Laggards,
    /// Until the wall time budget is used up.
    pub time_left: Duration,
}

/// Differences between one report and the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    frames: u64,
    busy: Duration,
    elapsed: Duration,
}

impl Rates {
    /// Differences from now on.
    pub fn new(progress: &Progress) -> Self {
        Self { frames: progress.frames, busy: Duration::ZERO, elapsed: progress.elapsed() }
    }

    /// Frames a second and busy share since the last call.
    pub fn update(&mut self, progress: &Progress) -> (f64, f64) {
        self.update_at(progress, progress.elapsed(), progress.clock.busy(Instant::now()))
    }

    /// A trainer whose work was over a moment before the last call, and that told so only after it, was thought busy
    /// until then: its total may be less than what was told before.
    fn update_at(&mut self, progress: &Progress, elapsed: Duration, busy: Duration) -> (f64, f64) {
        let seconds = elapsed.saturating_sub(self.elapsed).as_secs_f64().max(1e-9);
        let frames_per_second = (progress.frames - self.frames) as f64 / seconds;
        let share = busy.saturating_sub(self.busy).as_secs_f64() / seconds;
        *self = Self { frames: progress.frames, busy, elapsed };
        (frames_per_second, share.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_ended_before_it_was_last_told_of_is_no_work_since_then() {
        let mut progress = Progress::new(475.0);
        let mut rates = Rates { frames: 0, busy: Duration::ZERO, elapsed: Duration::ZERO };
        progress.frames = 80;
        let [one, two, three] = [1, 2, 3].map(Duration::from_secs);
        assert_eq!(rates.update_at(&progress, two, one), (40.0, 0.5));
        assert_eq!(rates.update_at(&progress, three, Duration::from_millis(999)), (0.0, 0.0));
        progress.frames = 90;
        assert_eq!(rates.update_at(&progress, three + one, Duration::from_millis(1249)), (10.0, 0.25));
    }
}
