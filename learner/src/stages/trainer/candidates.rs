//! The trainer's part of verifying: it offers its policy when a try is due, and keeps the run of that moment for the best checkpoint.

use super::Trainer;
use crate::handover::verification::Candidate;
use crate::run::checkpoint::Checkpoint;

impl Trainer {
    /// Between two updates: offers the policy where a try is due, and takes note of a verdict that has come. Waits for one in a
    /// deterministic run, and where the frames are used up. Tells whether the run goes on: not if it was stopped without the verdict.
    pub(super) fn verify(&mut self) -> bool {
        self.settle();
        let (is_due, is_out_of_frames) = {
            let progress = self.lock_progress();
            (progress.is_try_due(), progress.frames >= self.goal.frames_max)
        };
        if is_due && !self.propose() {
            return false;
        }
        if (self.waits_for_verdicts || is_out_of_frames) && self.candidate.is_some() {
            if !self.verification.wait() {
                return false;
            }
            self.settle();
        }
        true
    }

    fn propose(&mut self) -> bool {
        let (progress, attempt, seconds) = {
            let progress = self.lock_progress();
            (progress.save_with_policy(), progress.tries.count.saturating_add(1), progress.elapsed().as_secs_f64())
        };
        let frames = progress.0.frames;
        let Self { settings, step, queue, ledger, actor_states, .. } = self;
        let moment = Checkpoint::new(settings.clone(), step, progress, ledger.account(), actor_states.clone());
        let moment = Checkpoint { episodes: queue.episodes(), ..moment };
        let parameters = moment.parameters.as_slice().into();
        let version = self.gate.current();
        let is_proposed = self.verification.propose(Candidate { attempt, version, frames, seconds, parameters });
        self.candidate = is_proposed.then(|| Box::new(moment));
        is_proposed
    }

    /// Takes note of the verdict on the candidate, if there is one: a verified policy is the best of the run.
    pub(super) fn settle(&mut self) {
        if self.candidate.is_none() || self.verification.is_pending() {
            return;
        }
        let Some(mut moment) = self.candidate.take() else { return };
        let (solved, tries) = {
            let progress = self.lock_progress();
            (progress.solved, progress.tries.clone())
        };
        if tries.verified.as_ref().is_none_or(|verified| verified.updates != moment.progress.updates) {
            return;
        }
        (moment.progress.solved, moment.progress.tries) = (solved, tries);
        self.checkpoints.keep(moment);
        // Whoever kills a run that trains on finds it solved; one that ends is about to write its last checkpoint.
        if self.cadence.has_any() && self.goal.frames_after_solved > 0 {
            self.offer_checkpoint();
        }
    }
}
