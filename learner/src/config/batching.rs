//! What becomes one update. Read by the batcher and the lag gate.

use super::rollout::Rollout;
use super::section::section;
use super::setting::Bounds;
use super::{ConfigError, invalid};

/// Most frames in one batch; guards against an impossible allocation.
const BATCH_FRAMES_MAX: usize = 1 << 26;

section! {
    /// What becomes one update.
    Batching from GivenBatching, "Batches" {
        batch_size: usize = 8, "8", "IMPALA_BATCH_SIZE",
            "B: environment columns in one update, a multiple of --environments-per-actor; an update trains T x B frames."
            in Bounds::UpTo(1 << 24);
        policy_lag_max: u64 = 100, "100", "IMPALA_POLICY_LAG_MAX",
            "Updates by which the policy of a trajectory may be behind when its batch is filled; older ones are refused and counted.";
    }
}

impl Batching {
    /// Trajectories in one batch.
    pub fn trajectories(&self, rollout: &Rollout) -> usize {
        self.batch_size / rollout.environments_per_actor
    }

    /// A batch holds whole trajectories and can be allocated.
    pub(super) fn validate(&self, rollout: &Rollout) -> Result<(), ConfigError> {
        let Self { batch_size, .. } = *self;
        let n = rollout.environments_per_actor;
        if !batch_size.is_multiple_of(n) {
            let near = batch_size.next_multiple_of(n);
            return invalid(
                "batch_size",
                batch_size,
                format!(
                    "must be a multiple of environments_per_actor = {n}, because a batch holds whole trajectories; use {near}"
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

    /// Whether the planned actors can fill a batch: each has at most `in_flight_max` trajectories without a receipt, and
    /// gets one only when a batch is full.
    pub(super) fn check_actors(&self, rollout: &Rollout) -> Result<(), ConfigError> {
        let Rollout { actors, in_flight_max, environments_per_actor, .. } = *rollout;
        let (needed, under_way) = (self.trajectories(rollout), actors as usize * in_flight_max);
        if needed <= under_way {
            return Ok(());
        }
        let (window, batch_size) = (needed.div_ceil(actors as usize), under_way * environments_per_actor);
        invalid(
            "batch_size",
            self.batch_size,
            format!(
                "needs {needed} trajectories at a time, but {actors} actors with in_flight_max = {in_flight_max} have at most \
                 {under_way} under way; use --in-flight-max {window}, --batch-size {batch_size} or more --actors"
            ),
        )
    }
}
