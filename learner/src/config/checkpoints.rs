//! What of a run is kept for the next process. Read by the trainer (how often) and the checkpointer (how many, where).

use super::section::section;
use super::setting::Bounds;
use super::values::Seconds;
use impala_store::StoreLocation;

section! {
    /// What of a run is kept for the next process.
    Checkpoints from GivenCheckpoints, "Checkpoints" {
        checkpoint_every: u64 = 1000, "1000", "IMPALA_CHECKPOINT_EVERY",
            "Updates between two checkpoints; 0 for none but the last, which is written when the run ends or is asked to stop.";
        checkpoint_interval: Seconds = Seconds(2.0), "2", "IMPALA_CHECKPOINT_INTERVAL",
            "Least seconds between two checkpoints, however fast updates are: what a killed process loses, and no more."
            in Bounds::SecondsUpTo(86_400.0);
        checkpoints_kept: usize = 3, "3", "IMPALA_CHECKPOINTS_KEPT",
            "Newest checkpoints to keep, besides the one with the best mean return."
            in Bounds::UpTo(1 << 20);
        checkpoint_store: StoreLocation, "checkpoints/ in the run's directory", "IMPALA_CHECKPOINT_STORE",
            "Where checkpoints go: a directory, or file://, s3://BUCKET/PREFIX, gs:// or az:// with the provider's own environment variables. One for each run: a learner that finds checkpoints there continues them.";
    }
}
