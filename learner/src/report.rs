//! What a person sees of a run: the progress line, `metrics.csv`, the event files for
//! TensorBoard, the learning curve, the summary. Reads progress and
//! account; nothing here changes a run.

pub mod doctor;
pub mod machine;
pub(crate) mod reporter;
pub(crate) mod row;
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
        let (elapsed, now_busy) = (progress.elapsed(), progress.clock.busy(Instant::now()));
        let seconds = (elapsed - self.elapsed).as_secs_f64().max(1e-9);
        let frames_per_second = (progress.frames - self.frames) as f64 / seconds;
        let busy = (now_busy - self.busy).as_secs_f64() / seconds;
        *self = Self { frames: progress.frames, busy: now_busy, elapsed };
        (frames_per_second, busy.min(1.0))
    }
}
