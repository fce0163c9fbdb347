//! The seam between who trains and who evaluates: a policy that may have solved the task goes in as a [`Candidate`], what it
//! reached in fresh episodes comes out as a [`Verdict`], and the progress of the run is told at once.
//!
//! Who evaluates knows nothing else of the run. It is a thread of the learner (`stages::evaluator`), which plays the episodes itself, or
//! where it cannot make the environment has actors play them (`handover::evaluations`); until one has, the try stays under way.
//!
//! There is one try at a time. Its memory: one copy of the parameters, and the trainer keeps a checkpoint of that moment.

use crate::handover::progress::Progress;
use impala_common::ids::WeightsVersion;
use impala_policy::evaluate::{Mode, Score};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

/// A policy that is to be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Number of the try in the run, from 1: its episodes are other ones at each try.
    pub attempt: u32,
    /// The version of the policy.
    pub version: WeightsVersion,
    /// Frames that it was trained on.
    pub frames: u64,
    /// Seconds from the start of the run until then.
    pub seconds: f64,
    /// `[P]`, flat in the layout's order.
    pub parameters: Arc<[f32]>,
}

/// What a candidate reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The candidate's version.
    pub version: WeightsVersion,
    /// How it chose its actions.
    pub mode: Mode,
    /// Returns of the episodes.
    pub score: Score,
    /// Whether that is the goal.
    pub is_reached: bool,
}

/// The slot between trainer and evaluator; each holds one end of it, and `app` stops it.
#[derive(Clone, Debug)]
pub struct Verification {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
    is_stopped: AtomicBool,
    decided: Notify,
    progress: Arc<Mutex<Progress>>,
    every: u64,
}

#[derive(Debug, Default)]
struct Slot {
    candidate: Option<Arc<Candidate>>,
    is_taken: bool,
}

impl Verification {
    /// For the run with this progress; `every` frames lie between one candidate and the next.
    pub fn new(progress: Arc<Mutex<Progress>>, every: u64) -> Self {
        let (slot, changed, is_stopped, decided) = (Mutex::default(), Condvar::new(), false.into(), Notify::new());
        Self { shared: Arc::new(Shared { slot, changed, is_stopped, decided, progress, every }) }
    }

    /// The trainer's: leaves a candidate for who evaluates. Tells whether somebody will; after the stop nobody does.
    ///
    /// # Panics
    /// If a try is under way: [`Progress::is_try_due`] says whether one is.
    pub fn propose(&self, candidate: Candidate) -> bool {
        let mut slot = self.lock();
        if self.is_stopped() {
            return false;
        }
        assert!(slot.candidate.is_none(), "one try at a time");
        *slot = Slot { candidate: Some(Arc::new(candidate)), is_taken: false };
        self.lock_progress().begin_try();
        drop(slot);
        self.shared.changed.notify_all();
        true
    }

    /// The trainer's: whether a candidate has no verdict yet.
    pub fn is_pending(&self) -> bool {
        self.lock().candidate.is_some()
    }

    /// The trainer's: waits until no candidate is without a verdict. Tells whether that is so; it is not if the run was stopped
    /// before.
    pub fn wait(&self) -> bool {
        let is_open = |slot: &mut Slot| slot.candidate.is_some() && !self.is_stopped();
        let slot = self.lock();
        let slot = self.shared.changed.wait_while(slot, is_open).expect("no holder of the slot panics");
        slot.candidate.is_none()
    }

    /// The evaluator's: waits for a candidate; nothing after the stop.
    pub fn next(&self) -> Option<Arc<Candidate>> {
        let has_nothing = |slot: &mut Slot| (slot.candidate.is_none() || slot.is_taken) && !self.is_stopped();
        let slot = self.lock();
        let mut slot = self.shared.changed.wait_while(slot, has_nothing).expect("no holder of the slot panics");
        if self.is_stopped() {
            return None;
        }
        slot.is_taken = true;
        slot.candidate.clone()
    }

    /// The evaluator's: whether nobody wants the verdict any more.
    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopped.load(Ordering::Acquire)
    }

    /// The evaluator's: tells what the candidate reached. One that nobody waits for is dropped.
    pub fn decide(&self, verdict: Verdict) {
        let mut slot = self.lock();
        if self.is_stopped() || slot.candidate.as_ref().is_none_or(|candidate| candidate.version != verdict.version) {
            return;
        }
        let candidate = slot.candidate.take().expect("looked at just before");
        self.lock_progress().end_try(&candidate, &verdict, self.shared.every);
        drop(slot);
        tell(&candidate, &verdict);
        self.shared.changed.notify_all();
        self.shared.decided.notify_one();
    }

    /// The evaluator's: nobody could evaluate the candidate, for this reason. There is no verdict, and the next try may begin when it could
    /// after one.
    pub fn put_off(&self, candidate: &Candidate, reason: &str) {
        let mut slot = self.lock();
        if self.is_stopped() || slot.candidate.as_ref().is_none_or(|other| other.version != candidate.version) {
            return;
        }
        slot.candidate = None;
        self.lock_progress().put_off_try(candidate, self.shared.every);
        drop(slot);
        let Candidate { attempt, version, frames, .. } = *candidate;
        tracing::warn!(
            attempt,
            version = version.0,
            frames,
            reason,
            "the policy could not be verified; training goes on"
        );
        self.shared.changed.notify_all();
    }

    /// Waits for a verdict, for who watches over the run; one that came before the call counts.
    pub async fn decided(&self) {
        self.shared.decided.notified().await;
    }

    /// Gives up what is under way; nobody is waited for any more.
    pub fn stop(&self) {
        let slot = self.lock();
        self.shared.is_stopped.store(true, Ordering::Release);
        if slot.candidate.is_some() {
            self.lock_progress().give_up_try();
        }
        drop(slot);
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.shared.slot.lock().expect("no holder of the slot panics")
    }

    /// Only with the slot locked before, never the other way round.
    fn lock_progress(&self) -> MutexGuard<'_, Progress> {
        self.shared.progress.lock().expect("no holder of the progress panics")
    }
}

fn tell(candidate: &Candidate, verdict: &Verdict) {
    let Candidate { attempt, frames, .. } = *candidate;
    let Verdict { mode, score, is_reached, version } = *verdict;
    let what =
        if is_reached { "the policy is verified" } else { "the policy has not reached the goal; training goes on" };
    tracing::info!(attempt, version = version.0, frames, %mode, %score, "{what}");
}

#[cfg(test)]
mod tests;
