//! A report in numbers: what the files of a run have of it, whatever their form.

use super::View;
use serde::Serialize;

/// The numbers of one report, under the names that they have in `metrics.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(super) seconds: f64,
    pub(super) frames: u64,
    pub(super) updates: u64,
    pub(super) episodes: u64,
    pub(super) frames_per_second: f64,
    pub(super) mean_return: Option<f64>,
    pub(super) mean_length_steps: Option<f64>,
    pub(super) verifications: u32,
    pub(super) verification_mean_return: Option<f64>,
    pub(super) loss: f32,
    pub(super) policy_loss: f32,
    pub(super) baseline_loss: f32,
    pub(super) entropy_nats: f32,
    pub(super) gradient_norm: f32,
    pub(super) learning_rate: f32,
    pub(super) policy_lag_mean_updates: f64,
    pub(super) policy_lag_max_updates: u64,
    pub(super) learner_busy: f64,
    pub(super) actors_blocked: Option<f64>,
    pub(super) machine_busy: Option<f64>,
    pub(super) limited_by: &'static str,
    pub(super) actors_connected: usize,
    pub(super) produced: u64,
    pub(super) trained: u64,
    pub(super) refused: u64,
    pub(super) lost: u64,
    pub(super) in_flight: u64,
    pub(super) effective_samples: f64,
    pub(super) clipped_ratios: f64,
    pub(super) update_norm: f64,
    pub(super) policy_lag_recent_updates: f64,
    pub(super) entropy_recent_nats: f64,
    pub(super) gradient_norm_recent: f64,
    pub(super) actor_policy_lag_max_updates: f64,
    pub(super) batch_recent_columns: f64,
    pub(super) evaluations: u32,
    pub(super) evaluation_frames: Option<u64>,
    pub(super) evaluation_mean_return: Option<f64>,
    pub(super) value_error: f64,
    pub(super) explained_variance: Option<f64>,
    pub(super) approximate_kl_nats: f64,
    /// Whether this process has told of an update: until then what is told of updates is 0.
    #[serde(skip)]
    pub(super) has_update: bool,
}

impl Row {
    /// Of a look at the run.
    pub(super) fn of(view: &View<'_>) -> Self {
        let View { progress, account, .. } = view;
        let losses = progress.last_step.losses;
        Self {
            seconds: progress.elapsed().as_secs_f64(),
            frames: progress.frames,
            updates: progress.updates,
            episodes: progress.episodes,
            frames_per_second: view.frames_per_second,
            mean_return: progress.mean_return(),
            mean_length_steps: progress.mean_length(),
            verifications: progress.tries.count,
            verification_mean_return: progress.tries.last.map(|score| score.mean),
            loss: losses.total,
            policy_loss: losses.policy,
            baseline_loss: losses.baseline,
            entropy_nats: losses.entropy,
            gradient_norm: progress.last_step.gradient_norm,
            learning_rate: progress.learning_rate,
            policy_lag_mean_updates: progress.lag.mean(),
            policy_lag_max_updates: progress.lag.max(),
            learner_busy: view.busy,
            actors_blocked: view.shares.actors_blocked(),
            machine_busy: view.shares.machine_busy,
            limited_by: view.diagnosis.limit.name(),
            actors_connected: view.actors_connected,
            produced: account.produced,
            trained: account.trained,
            refused: account.refused(),
            lost: account.lost,
            in_flight: account.in_flight(),
            effective_samples: progress.vitals.effective_samples,
            clipped_ratios: progress.vitals.clipped,
            update_norm: progress.vitals.update_norm,
            policy_lag_recent_updates: progress.vitals.policy_lag,
            entropy_recent_nats: progress.vitals.entropy,
            gradient_norm_recent: progress.vitals.gradient_norm,
            actor_policy_lag_max_updates: view.laggards.lag_max(),
            batch_recent_columns: progress.vitals.batch_columns,
            evaluations: progress.evaluations.count,
            evaluation_frames: progress.evaluations.last.map(|last| last.frames),
            evaluation_mean_return: progress.evaluations.last.map(|last| last.score.mean),
            value_error: progress.vitals.values.error(),
            explained_variance: progress.vitals.values.explained_variance(),
            approximate_kl_nats: progress.vitals.approximate_kl,
            has_update: progress.vitals.updates > 0,
        }
    }
}
