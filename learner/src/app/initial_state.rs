//! What a run begins with: the numbers of a checkpoint, or those of the start.

use crate::config::Config;
use crate::handover::episodes::SavedEpisodes;
use crate::handover::ledger::Account;
use crate::handover::progress::Progress;
use crate::learn::compute::ComputeDevice;
use crate::learn::initialise::initial_parameters;
use crate::learn::step::LearnerStep;
use crate::run::checkpoint::Checkpoint;
use crate::service::registry::TakeUps;

/// The numbers.
pub(super) struct Origin {
    pub(super) step: LearnerStep,
    pub(super) progress: Progress,
    pub(super) account: Account,
    pub(super) take_ups: TakeUps,
    pub(super) episodes: Option<SavedEpisodes>,
}

impl Origin {
    /// Of a new run without a checkpoint; with random parameters if none are given.
    pub(super) fn new(
        config: &Config,
        device: &ComputeDevice,
        checkpoint: Option<Checkpoint>,
        parameters: Option<Vec<f32>>,
    ) -> Self {
        let network = config.network();
        let Some(checkpoint) = checkpoint else {
            let progress = Progress::new(config.solved_return());
            let parameters = parameters.unwrap_or_else(|| initial_parameters(&network, config.task.seed));
            let step = LearnerStep::new(&network, parameters, config.step(), device);
            return Self { step, progress, account: Account::default(), take_ups: TakeUps::default(), episodes: None };
        };
        let updates = checkpoint.progress.updates;
        tracing::info!(version = updates, frames = checkpoint.progress.frames, "the run goes on from a checkpoint");
        let progress = resumed_progress(config, &checkpoint);
        let mut step = LearnerStep::new(&network, checkpoint.parameters, config.step(), device);
        step.restore_optimiser(checkpoint.optimiser);
        if let Some(saved) = &checkpoint.normaliser {
            assert!(step.restore_normaliser(saved), "statistics were checked when the checkpoint was read");
        }
        Self {
            step,
            progress,
            account: checkpoint.account,
            take_ups: TakeUps { updates, states: checkpoint.actor_states },
            episodes: checkpoint.episodes,
        }
    }
}

/// What the run of a checkpoint has reached, by the goal of its settings now.
pub(super) fn resumed_progress(config: &Config, checkpoint: &Checkpoint) -> Progress {
    let is_same_goal = checkpoint.settings.config().is_ok_and(|trained| {
        trained.solved_return() == config.solved_return() && trained.goal.evaluation == config.goal.evaluation
    });
    let verified = checkpoint.verified_policy().filter(|_| is_same_goal);
    let mut saved = checkpoint.progress.clone();
    if !is_same_goal {
        saved.tries = saved.tries.for_another_goal();
        saved.evaluations = saved.evaluations.for_another_goal();
    }
    Progress::new(config.solved_return()).resume(saved, verified)
}
