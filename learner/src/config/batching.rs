//! What becomes one update. Read by the batcher and the lag gate.

use super::rollout::Rollout;
use super::section::section;
use super::setting::Bounds;
use super::{ConfigError, invalid};
use std::ops::RangeInclusive;

/// Most frames in one batch; guards against an impossible allocation.
const BATCH_FRAMES_MAX: usize = 1 << 26;
/// Columns of a batch that a gradient can be learned from: what one actor gives by default.
pub const FEW_COLUMNS: usize = 8;

section! {
    /// What becomes one update.
    Batching from GivenBatching, "Batches" {
        batch_size: usize, "follows the actors; 8 with --deterministic", "IMPALA_BATCH_SIZE",
            "B: environment columns in one update, a multiple of --environments-per-actor; an update trains T x B frames. Not given, it follows the actors that deliver, and gradients are scaled with it."
            in Bounds::UpTo(1 << 24);
        policy_lag_target: f64 = 4.0, "4", "IMPALA_POLICY_LAG_TARGET",
            "Updates by which trajectories are behind on average, where --batch-size is not given: a batch holds as many as that takes. At most half of --policy-lag-max counts."
            in Bounds::Positive;
        batch_size_max: usize = 4096, "4096", "IMPALA_BATCH_SIZE_MAX",
            "Columns at most in a batch that follows the actors; with more of them the lag grows."
            in Bounds::UpTo(1 << 24);
        policy_lag_max: u64 = 100, "100", "IMPALA_POLICY_LAG_MAX",
            "Updates by which the policy of a trajectory may be behind when its batch is filled; older ones are refused and counted.";
    }
}

impl Batching {
    /// Trajectories in one batch, where their number is fixed: given, or that of a deterministic run.
    pub fn fixed_trajectories(&self, rollout: &Rollout, is_deterministic: bool) -> Option<usize> {
        let own = is_deterministic.then(|| least_trajectories(rollout));
        self.batch_size.map(|columns| columns / rollout.environments_per_actor).or(own)
    }

    /// Trajectories in a batch with few actors, fixed or not.
    pub fn few_trajectories(&self, rollout: &Rollout) -> usize {
        self.fixed_trajectories(rollout, false).unwrap_or(*self.trajectories_within(rollout).start())
    }

    /// Updates by which trajectories are to be behind on average, where batches follow the actors: no more than half of the most that
    /// is allowed, since most of them would be refused.
    pub fn lag_target(&self) -> f64 {
        self.policy_lag_target.min((self.policy_lag_max as f64 / 2.0).max(1.0))
    }

    /// Bounds of the trajectories in a batch that follows the actors: those of enough columns to learn from, and those that memory
    /// is for.
    pub fn trajectories_within(&self, rollout: &Rollout) -> RangeInclusive<usize> {
        let frames_max = BATCH_FRAMES_MAX / rollout.frames_per_trajectory();
        let most = (self.batch_size_max / rollout.environments_per_actor).min(frames_max).max(1);
        least_trajectories(rollout).min(most)..=most
    }

    /// A batch holds whole trajectories and can be allocated.
    pub(super) fn validate(&self, rollout: &Rollout) -> Result<(), ConfigError> {
        let n = rollout.environments_per_actor;
        if self.batch_size.is_none() && self.batch_size_max < n {
            return invalid(
                "batch_size_max",
                self.batch_size_max,
                format!("must be at least environments_per_actor = {n}, because a batch holds whole trajectories"),
            );
        }
        let Some(batch_size) = self.batch_size else { return Ok(()) };
        if !batch_size.is_multiple_of(n) {
            let near = batch_size.next_multiple_of(n);
            return invalid(
                "batch_size",
                batch_size,
                format!(
                    "must be a multiple of environments_per_actor = {n}, because a batch holds whole trajectories; use {near}, or \
                     leave it out"
                ),
            );
        }
        let frames = rollout.unroll_length.saturating_mul(batch_size);
        if frames > BATCH_FRAMES_MAX {
            return invalid(
                "batch_size",
                batch_size,
                format!(
                    "gives {frames} frames an update; keep unroll_length x batch_size at or below {BATCH_FRAMES_MAX}"
                ),
            );
        }
        Ok(())
    }

    /// Whether the planned actors can fill a batch of a fixed size: each has at most `in_flight_max` trajectories without a
    /// receipt, and gets one only when a batch is full.
    pub(super) fn check_actors(&self, rollout: &Rollout, is_deterministic: bool) -> Result<(), ConfigError> {
        let Rollout { actors, in_flight_max, environments_per_actor, .. } = *rollout;
        let under_way = actors as usize * in_flight_max;
        let needed = self.fixed_trajectories(rollout, is_deterministic).unwrap_or(1);
        if needed <= under_way {
            return Ok(());
        }
        let (window, batch_size) = (needed.div_ceil(actors as usize), under_way * environments_per_actor);
        invalid(
            "batch_size",
            needed * environments_per_actor,
            format!(
                "needs {needed} trajectories at a time, but {actors} actors with in_flight_max = {in_flight_max} have at most \
                 {under_way} under way; use --in-flight-max {window}, --batch-size {batch_size} or more --actors"
            ),
        )
    }
}

/// Trajectories that have enough columns between them.
fn least_trajectories(rollout: &Rollout) -> usize {
    FEW_COLUMNS.div_ceil(rollout.environments_per_actor)
}
