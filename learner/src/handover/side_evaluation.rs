//! The seam between the trainer and who evaluates its newest policy beside the training, now and then (`eval_interval`). The evaluator asks
//! when it has time, the trainer answers after its next update: nobody waits, and at most one copy of the parameters is under way.
//! What comes of it is told to the progress of the run, and decides nothing.
//!
//! As with [`Verification`](crate::handover::verification), who evaluates knows nothing else of the run: where only actors have the
//! environment, one of them can stand on this end.

use crate::handover::progress::{Progress, VersionedPolicy};
use impala_policy::evaluate::Score;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Both ends; `app` stops it.
#[derive(Clone, Debug)]
pub struct SideEvaluation {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Read by the trainer after every update.
    is_asked: AtomicBool,
    is_stopped: AtomicBool,
    answer: Mutex<Option<VersionedPolicy>>,
    changed: Condvar,
    progress: Arc<Mutex<Progress>>,
}

impl SideEvaluation {
    /// For the run with this progress.
    pub fn new(progress: Arc<Mutex<Progress>>) -> Self {
        let (is_asked, is_stopped) = (AtomicBool::new(false), AtomicBool::new(false));
        let (answer, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { is_asked, is_stopped, answer, changed, progress }) }
    }

    /// The trainer's: whether a policy is wanted.
    pub fn is_asked(&self) -> bool {
        self.shared.is_asked.load(Ordering::Relaxed)
    }

    /// The trainer's: gives its policy.
    pub fn answer(&self, policy: VersionedPolicy) {
        let mut answer = self.lock();
        self.shared.is_asked.store(false, Ordering::Relaxed);
        *answer = Some(policy);
        drop(answer);
        self.shared.changed.notify_all();
    }

    /// The evaluator's: asks for a policy and waits for it; nothing after the stop. Tells the number of the evaluation in the run, too,
    /// from 1.
    pub fn ask(&self) -> Option<(u32, VersionedPolicy)> {
        self.shared.is_asked.store(true, Ordering::Relaxed);
        let is_open = |answer: &mut Option<_>| answer.is_none() && !self.is_stopped();
        let answer = self.shared.changed.wait_while(self.lock(), is_open);
        let policy = answer.expect("no holder of the answer panics").take().filter(|_| !self.is_stopped())?;
        Some((self.lock_progress().evaluations.count.saturating_add(1), policy))
    }

    /// The evaluator's: waits; tells whether there was no stop meanwhile.
    pub fn rest(&self, time: Duration) -> bool {
        let is_open = |_: &mut Option<_>| !self.is_stopped();
        let rested = self.shared.changed.wait_timeout_while(self.lock(), time, is_open);
        drop(rested.expect("no holder of the answer panics"));
        !self.is_stopped()
    }

    /// The evaluator's: whether nobody wants the result any more.
    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopped.load(Ordering::Acquire)
    }

    /// The evaluator's: tells what a policy reached.
    pub fn tell(&self, policy: &VersionedPolicy, score: Score) {
        self.lock_progress().record_evaluation(policy, score);
        tracing::info!(update = policy.version.0, frames = policy.frames, %score, "evaluated beside the training");
    }

    /// Gives up what is under way.
    pub fn stop(&self) {
        let answer = self.lock();
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.is_asked.store(false, Ordering::Relaxed);
        drop(answer);
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<VersionedPolicy>> {
        self.shared.answer.lock().expect("no holder of the answer panics")
    }

    fn lock_progress(&self) -> MutexGuard<'_, Progress> {
        self.shared.progress.lock().expect("no holder of the progress panics")
    }
}
