//! Which versions of the weights actors get, and how they are sent. Read by the trainer and the registry.

use super::batching::Batching;
use super::section::section;
use super::setting::Bounds;
use super::task::Task;
use super::{ConfigError, invalid};
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::Encoding;

/// The part of `policy_lag_max` by which published weights may be behind when an actor begins a trajectory: 5 updates of the
/// default's 100. Where the publisher keeps up, they are one or two behind.
const PUBLISHED_LAG_PART: u64 = 20;

section! {
    /// Which weights actors get.
    Weights from GivenWeights, "Weights" {
        weights_encoding: Encoding = Encoding::F16Delta, "f16-delta", "IMPALA_WEIGHTS_ENCODING",
            "How weights are sent: f32, f16, bf16, or with -delta for the difference to what the actor holds.";
        publish_every: u64 = 1, "1", "IMPALA_PUBLISH_EVERY",
            "Updates between two published versions of the weights."
            in Bounds::UpTo(1 << 20);
    }
}

impl Weights {
    /// When versions are published and how old they may be in use.
    pub fn publishing(&self, batching: &Batching) -> Publishing {
        let behind_max = (batching.policy_lag_max / PUBLISHED_LAG_PART).max(1);
        Publishing { every: self.publish_every, behind_max }
    }

    /// A version comes before everything is too old, and in lockstep every one.
    pub(super) fn validate(&self, task: &Task, batching: &Batching) -> Result<(), ConfigError> {
        let (every, lag_max) = (self.publish_every, batching.policy_lag_max);
        if every > lag_max.max(1) {
            let requirement = format!(
                "must not exceed policy_lag_max = {lag_max}: between two versions everything would be refused as too old"
            );
            return invalid("publish_every", every, requirement);
        }
        if task.deterministic && every != 1 {
            let requirement = "must be 1 in a deterministic run: actors wait for every version";
            return invalid("publish_every", every, requirement);
        }
        Ok(())
    }
}

/// When versions are published and how old they may be in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publishing {
    every: u64,
    behind_max: u64,
}

impl Publishing {
    /// Whether this version is published.
    pub fn is_due(self, WeightsVersion(version): WeightsVersion) -> bool {
        version.is_multiple_of(self.every)
    }

    /// The oldest weights that may make a trajectory that begins when the trainer is at `current`. Updates can be so short
    /// that hundreds are done before the publisher's thread gets a core on a busy machine; without this bound an actor
    /// would go on with its old policy meanwhile. These weights are always among those that are published.
    pub fn oldest_at(self, WeightsVersion(current): WeightsVersion) -> WeightsVersion {
        let oldest = current.saturating_sub(self.behind_max);
        WeightsVersion(oldest - oldest % self.every)
    }
}
