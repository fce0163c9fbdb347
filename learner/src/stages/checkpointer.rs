//! The checkpointer thread: writes checkpoints while the trainer goes on, keeps the newest few and the best: that of the policy which
//! was verified to solve the task, and before there is one, that with the best training mean. What it cannot write it reports and
//! counts; training goes on without.

use crate::handover::metrics::CheckpointMetrics;
use crate::run::checkpoint::Checkpoint;
use crate::run::checkpoint_slot::{self, CheckpointJobs, CheckpointSlot};
use crate::run::checkpoint_store::{CheckpointStore, name_of};
use bytes::Bytes;
use impala_store::StoreError;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Least time between two messages about writes that fail.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Writes what the slot hands over.
#[derive(Debug)]
pub struct CheckpointWriter {
    store: CheckpointStore,
    kept_max: usize,
    /// Updates whose checkpoints may be removed, oldest first: this run's, and sound ones it began from.
    known: VecDeque<u64>,
    best_mean_return: Option<f64>,
    is_best_verified: bool,
    origin: Option<String>,
    jobs: CheckpointJobs,
    metrics: CheckpointMetrics,
    last_log: Option<Instant>,
}

/// A slot and the writer that it feeds. `resumed` is the checkpoint that the run is resumed from: newer ones in the store are
/// damaged, are not counted among the `kept_max` and not removed.
pub fn channel(
    store: CheckpointStore,
    kept_max: usize,
    resumed: Option<&Checkpoint>,
) -> (CheckpointSlot, CheckpointWriter) {
    let (slot, jobs) = checkpoint_slot::channel();
    let writer = CheckpointWriter {
        store,
        kept_max,
        known: resumed.map(|checkpoint| checkpoint.progress.updates).into_iter().collect(),
        best_mean_return: resumed.and_then(|checkpoint| checkpoint.best_mean_return),
        is_best_verified: resumed.is_some_and(|checkpoint| checkpoint.is_best_verified),
        origin: resumed.and_then(|checkpoint| checkpoint.origin.clone()),
        jobs,
        metrics: CheckpointMetrics::new(),
        last_log: None,
    };
    if let Some(resumed) = resumed.filter(|resumed| resumed.is_verified() && !resumed.is_best_verified) {
        // A run that branched off from a verified policy has it as its best one, too.
        slot.keep(Box::new(resumed.clone()));
    }
    (slot, writer)
}

impl CheckpointWriter {
    /// Writes a checkpoint of a run before it begins.
    pub async fn write_first(&mut self, checkpoint: Checkpoint) {
        self.write_and_tell(checkpoint).await;
    }

    /// Works until every slot is gone. `runtime` carries the requests to an object store.
    pub fn run(mut self, runtime: &Handle) {
        runtime.block_on(self.look_around());
        while let Some(checkpoint) = self.jobs.next() {
            runtime.block_on(self.write_and_tell(checkpoint));
        }
    }

    /// Finds what an earlier process left: sound checkpoints, which will make room for newer ones, and halves of files.
    async fn look_around(&mut self) {
        if let Err(error) = self.store.remove_halves() {
            tracing::warn!(%error, "a half-written checkpoint stays");
        }
        let Some(resumed) = self.known.front().copied() else { return };
        match self.store.updates().await {
            Ok(updates) => self.known = updates.into_iter().filter(|update| *update <= resumed).collect(),
            Err(error) => tracing::warn!(%error, "older checkpoints will not be removed"),
        }
    }

    /// Writes a checkpoint; logs and counts what comes of it.
    async fn write_and_tell(&mut self, checkpoint: Checkpoint) {
        let (update, since) = (checkpoint.progress.updates, Instant::now());
        match self.write(checkpoint).await {
            Ok(bytes) => {
                self.metrics.record_written(update, bytes, since.elapsed());
                self.succeeded(update);
            }
            Err(error) => {
                self.metrics.record_failed();
                self.failed(update, &error);
            }
        }
    }

    /// Writes a checkpoint, the best one first: what is written after it may tell of it.
    async fn write(&mut self, mut checkpoint: Checkpoint) -> Result<usize, StoreError> {
        let update = checkpoint.progress.updates;
        let without_best = match self.jobs.take_verified() {
            Some(verified) => self.write_verified(verified).await.err(),
            None if self.is_best_verified => None,
            None => self.write_if_best(&checkpoint).await.err(),
        };
        // It must not tell of a best one that is not there.
        (checkpoint.best_mean_return, checkpoint.is_best_verified) = (self.best_mean_return, self.is_best_verified);
        let bytes = self.encoded(&mut checkpoint);
        let len = bytes.len();
        self.store.write(update, bytes).await?;
        // If neither can be written, that is one failure.
        without_best.iter().for_each(|error| self.failed(update, error));
        self.known.retain(|known| *known != update);
        self.known.push_back(update);
        while self.known.len() > self.kept_max {
            let oldest = self.known[0];
            if let Err(error) = self.store.remove(oldest).await {
                tracing::warn!(%error, "an old checkpoint stays");
            }
            self.known.pop_front();
        }
        Ok(len)
    }

    /// Writes the verified policy's checkpoint as the best one, whatever that was.
    async fn write_verified(&mut self, mut verified: Box<Checkpoint>) -> Result<(), StoreError> {
        (verified.best_mean_return, verified.is_best_verified) = (self.best_mean_return, true);
        let bytes = self.encoded(&mut verified);
        let written = self.store.write_best(bytes).await;
        match written {
            Ok(()) => self.is_best_verified = true,
            Err(_) => self.jobs.give_back(verified),
        }
        written
    }

    /// Writes a checkpoint as the best one if none before it had such a mean.
    async fn write_if_best(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let mean_return = checkpoint.progress.mean_return();
        if mean_return.is_none_or(|mean| self.best_mean_return.is_some_and(|best| mean <= best)) {
            return Ok(());
        }
        let mut best = Checkpoint { best_mean_return: mean_return, ..checkpoint.clone() };
        let bytes = self.encoded(&mut best);
        self.store.write_best(bytes).await?;
        self.best_mean_return = mean_return;
        Ok(())
    }

    /// Adds what only the writer knows.
    fn encoded(&self, checkpoint: &mut Checkpoint) -> Bytes {
        checkpoint.origin.clone_from(&self.origin);
        checkpoint.epoch = self.store.epoch();
        checkpoint.encode().expect("the layout's tensors are safetensors").into()
    }

    fn succeeded(&mut self, update: u64) {
        let mut report = self.jobs.report();
        (report.written, report.newest) = (report.written + 1, Some(update));
        drop(report);
        tracing::debug!(version = update, name = name_of(update), store = %self.store, "checkpoint written");
        if self.last_log.take().is_some() {
            tracing::info!(store = %self.store, "checkpoints are written again");
        }
    }

    fn failed(&mut self, update: u64, error: &StoreError) {
        let mut report = self.jobs.report();
        report.fail(error.to_string());
        let failed = report.failed;
        drop(report);
        if self.last_log.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            tracing::warn!(%error, version = update, failed, "a checkpoint could not be written");
            self.last_log = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
