//! The trainer thread: owns the model, takes batches, updates, leaves or publishes new weights.

mod cadence;
mod candidates;
mod inspector;

use crate::config::goal::Goal;
use crate::config::optimisation::LearningRate;
use crate::config::weights::Publishing;
use crate::handover::admission::{PolicyLagGate, StagedBatch};
use crate::handover::batch_queue::BatchQueue;
use crate::handover::episodes::SavedEpisodes;
use crate::handover::ledger::Ledger;
use crate::handover::metrics::TrainerMetrics;
use crate::handover::policy_request::PolicyRequest;
use crate::handover::progress::{Progress, VersionedPolicy};
use crate::handover::verification::Verification;
use crate::handover::weights::WeightsOutlet;
use crate::learn::step::{Diverged, LearnerStep};
use crate::run::checkpoint::Checkpoint;
use crate::run::checkpoint_slot::CheckpointSlot;
use crate::run::recorded::RecordedSettings;
use bytes::Bytes;
pub use cadence::Cadence;
use impala_common::ids::WeightsVersion;
pub use inspector::Inspector;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Why the trainer stopped.
#[derive(Debug, PartialEq)]
pub enum TrainingEnd {
    /// Solved, and trained on as long as was asked for.
    Solved,
    /// The budget of frames is used up.
    FramesBudget,
    /// No more batches come: the run is being stopped from outside.
    Stopped,
    /// The numbers ran away.
    Diverged(Diverged),
}

/// Endpoints and settings of the trainer.
#[derive(Debug)]
pub struct Trainer {
    /// When the run ends.
    pub goal: Goal,
    /// The learning rate over the run.
    pub learning_rate: LearningRate,
    /// Which versions are published.
    pub publishing: Publishing,
    /// When checkpoints are due.
    pub cadence: Cadence,
    /// For checkpoints: the run's settings.
    pub settings: RecordedSettings,
    /// Parameters, optimiser and device.
    pub step: LearnerStep,
    /// Where batches come from.
    pub queue: Arc<BatchQueue>,
    /// Where weights go.
    pub outlet: WeightsOutlet,
    /// Told of every new version.
    pub gate: PolicyLagGate,
    /// What the trainer has done, for the reports.
    pub progress: Arc<Mutex<Progress>>,
    /// For checkpoints: what became of every trajectory.
    pub ledger: Arc<Ledger>,
    /// For checkpoints of deterministic runs: each actor's state after its last trained trajectory, by its index.
    pub actor_states: BTreeMap<u32, Bytes>,
    /// To the checkpointer.
    pub checkpoints: CheckpointSlot,
    /// To the evaluator.
    pub verification: Verification,
    /// To whoever looks at the newest policy now and then.
    pub requests: Vec<PolicyRequest>,
    /// Whether training stands still while a policy is verified, as in a deterministic run.
    pub waits_for_verdicts: bool,
    /// The run at the moment of the policy that is being verified; none at the beginning.
    pub candidate: Option<Box<Checkpoint>>,
    /// To the reports, if any of them wants to see the network.
    pub inspector: Option<Inspector>,
}

/// What a trainer leaves.
#[derive(Debug)]
pub struct Trained {
    /// Parameters and optimiser.
    pub step: LearnerStep,
    /// See [`Trainer::actor_states`].
    pub actor_states: BTreeMap<u32, Bytes>,
    /// For checkpoints of deterministic runs: the episodes that go on after the last batch.
    pub episodes: Option<SavedEpisodes>,
}

impl Trainer {
    /// Trains until the task is solved, the frames are used up, the batches end or the numbers run away; gives the
    /// parameters back.
    pub fn run(mut self) -> (TrainingEnd, Trained) {
        let metrics = TrainerMetrics::new();
        self.outlet.put(self.gate.current(), self.step.parameters());
        let end = self.train_to_the_end(&metrics);
        self.settle();
        self.look();
        self.lock_progress().end_work();
        (end, Trained { step: self.step, actor_states: self.actor_states, episodes: self.queue.episodes() })
    }

    fn train_to_the_end(&mut self, metrics: &TrainerMetrics) -> TrainingEnd {
        // A resumed run may be over already, or its policy may be due to be verified.
        if let Some(end) = self.end() {
            return end;
        }
        loop {
            let oldest = self.publishing.oldest_at(self.gate.current());
            let Some(staged) = self.queue.take(oldest) else {
                return TrainingEnd::Stopped;
            };
            self.lock_progress().begin_work(staged.actors);
            if let Err(diverged) = self.train(staged, metrics) {
                return TrainingEnd::Diverged(diverged);
            }
            if let Some(end) = self.end() {
                return match self.step.finish() {
                    Ok(_) => end,
                    Err(diverged) => TrainingEnd::Diverged(diverged),
                };
            }
        }
    }

    fn train(&mut self, staged: StagedBatch, metrics: &TrainerMetrics) -> Result<(), Diverged> {
        let StagedBatch { batch, actor_states, episodes, .. } = staged;
        let current = self.gate.current();
        let lags: Vec<u64> = batch.weights_versions().map(|version| version.lag_behind(current)).collect();
        let (frames, columns) = (batch.frames() as u64, batch.columns());
        let learning_rate = self.learning_rate.at(self.lock_progress().frames);

        let report = self.step.advance(&batch, learning_rate)?;
        let version = WeightsVersion(current.0 + 1);
        self.gate.advance(version);
        if self.publishing.is_due(version) {
            self.outlet.put(version, self.step.parameters());
        }

        for request in self.requests.iter().filter(|request| request.is_asked()) {
            let frames = self.progress.lock().expect("no holder of the progress panics").frames + frames;
            let parameters = self.step.parameters().into();
            request.answer(VersionedPolicy { version, frames, parameters });
        }

        lags.iter().for_each(|lag| metrics.record_lag(*lag));
        episodes.iter().for_each(|episode| metrics.record_episode(episode));
        if let Some(inspector) = &mut self.inspector {
            inspector.record(&episodes);
        }
        let mut progress = self.lock_progress();
        // None where the first update is still under way.
        if let Some(report) = report {
            progress.last_step = report;
            progress.vitals.record_step(&report);
        }
        progress.vitals.record_batch(&lags, columns);
        progress.learning_rate = learning_rate;
        lags.iter().for_each(|lag| progress.lag.record(*lag));
        progress.record_update(frames, episodes.into_iter());
        drop(progress);
        if self.inspector.as_ref().is_some_and(Inspector::is_asked) {
            self.look();
        }
        self.actor_states.extend(actor_states.into_iter().map(|(actor, state)| (actor.0, state)));
        if self.cadence.takes(version.0, Instant::now()) {
            self.offer_checkpoint();
        }
        self.lock_progress().begin_wait();
        Ok(())
    }

    /// Leaves a checkpoint for the writer, if it has time.
    fn offer_checkpoint(&mut self) {
        let Self { settings, step, queue, progress, ledger, actor_states, .. } = self;
        self.checkpoints.offer(|| {
            // Not held while an accelerator is waited for: reports and the service read it.
            let progress = progress.lock().expect("no holder of the progress panics").save_with_policy();
            let run = Checkpoint::new(settings.clone(), step, progress, ledger.account(), actor_states.clone());
            Checkpoint { episodes: queue.episodes(), ..run }
        });
    }

    /// Leaves the reports a look at the network, if any of them wants to see it.
    fn look(&mut self) {
        let Self { inspector: Some(inspector), step, progress, .. } = self else { return };
        let progress = progress.lock().expect("no holder of the progress panics");
        let (frames, lag) = (progress.frames, progress.lag.clone());
        drop(progress);
        inspector.look(step, frames, lag);
    }

    fn end(&mut self) -> Option<TrainingEnd> {
        if !self.verify() {
            return Some(TrainingEnd::Stopped);
        }
        let progress = self.lock_progress();
        progress.has_reached(self.goal.frames_max, self.goal.frames_after_solved).then(|| match progress.solved {
            Some(_) => TrainingEnd::Solved,
            None => TrainingEnd::FramesBudget,
        })
    }

    fn lock_progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().expect("no holder of the progress panics")
    }
}

#[cfg(test)]
mod tests;
