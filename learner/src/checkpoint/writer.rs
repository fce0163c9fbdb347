//! The checkpointer thread: writes checkpoints while the trainer goes on, keeps the newest few and the best. What it cannot
//! write it reports and counts; training goes on without.

use super::Checkpoint;
use super::store::{CheckpointStore, StoreError, name_of};
use crate::metrics::CheckpointMetrics;
use bytes::Bytes;
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Least time between two messages about writes that fail.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two attempts to hand over the last checkpoint of a run.
const PUT_INTERVAL: Duration = Duration::from_millis(2);

/// The trainer's side: hands a checkpoint over if the writer has nothing else to do.
#[derive(Clone, Debug)]
pub struct CheckpointSlot {
    sender: SyncSender<Box<Checkpoint>>,
    is_busy: Arc<AtomicBool>,
    report: Arc<Mutex<CheckpointReport>>,
    metrics: CheckpointMetrics,
}

/// What became of a run's checkpoints in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckpointReport {
    /// Written.
    pub written: u64,
    /// Not written, because the one before was still being written.
    pub skipped: u64,
    /// Not written, because the store refused.
    pub failed: u64,
    /// The newest one's update.
    pub newest: Option<u64>,
    /// Why the last one that failed did.
    pub last_error: Option<String>,
}

/// Writes what the slot hands over.
#[derive(Debug)]
pub struct CheckpointWriter {
    store: CheckpointStore,
    kept_max: usize,
    /// Updates whose checkpoints may be removed, oldest first: this run's, and sound ones it began from.
    known: VecDeque<u64>,
    best_mean_return: Option<f64>,
    jobs: Receiver<Box<Checkpoint>>,
    is_busy: Arc<AtomicBool>,
    report: Arc<Mutex<CheckpointReport>>,
    last_log: Option<Instant>,
}

/// A slot and the writer behind it. `resumed` is the checkpoint that the run goes on from: newer ones in the store are
/// damaged, are not counted among the `kept_max` and not removed.
pub fn channel(
    store: CheckpointStore,
    kept_max: usize,
    resumed: Option<&Checkpoint>,
) -> (CheckpointSlot, CheckpointWriter) {
    // No place: a checkpoint is handed over when the writer is there to take it, so at most one waits in memory.
    let (sender, jobs) = sync_channel(0);
    let (is_busy, report) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let writer = CheckpointWriter {
        store,
        kept_max,
        known: resumed.map(|checkpoint| checkpoint.progress.updates).into_iter().collect(),
        best_mean_return: resumed.and_then(|checkpoint| checkpoint.best_mean_return),
        jobs,
        is_busy: Arc::clone(&is_busy),
        report: Arc::clone(&report),
        last_log: None,
    };
    (CheckpointSlot { sender, is_busy, report, metrics: CheckpointMetrics::new() }, writer)
}

impl CheckpointSlot {
    /// Hands over what `make` gives, unless the writer is still at work on the one before: that is counted.
    pub fn offer(&self, make: impl FnOnce() -> Checkpoint) {
        // A copy of the parameters is not made for nothing.
        if self.is_busy.load(Ordering::Acquire) || self.sender.try_send(Box::new(make())).is_err() {
            lock(&self.report).skipped += 1;
            self.metrics.record_skipped();
        }
    }

    /// Hands over the last checkpoint of a run as soon as the writer has time. Without a writer, which has panicked, the
    /// stage's end tells.
    pub async fn put(&self, checkpoint: Checkpoint) {
        let mut waiting = Box::new(checkpoint);
        while let Err(TrySendError::Full(back)) = self.sender.try_send(waiting) {
            waiting = back;
            tokio::time::sleep(PUT_INTERVAL).await;
        }
    }

    /// What became of all checkpoints, also after the slot is gone.
    pub fn report(&self) -> Arc<Mutex<CheckpointReport>> {
        Arc::clone(&self.report)
    }
}

impl CheckpointWriter {
    /// Works until every slot is gone. `runtime` carries the requests to an object store.
    pub fn run(mut self, runtime: &Handle) {
        let metrics = CheckpointMetrics::new();
        runtime.block_on(self.look_around());
        loop {
            self.is_busy.store(false, Ordering::Release);
            let Ok(checkpoint) = self.jobs.recv() else { return };
            self.is_busy.store(true, Ordering::Release);
            let (update, since) = (checkpoint.progress.updates, Instant::now());
            match runtime.block_on(self.write(*checkpoint)) {
                Ok(bytes) => {
                    metrics.record_written(update, bytes, since.elapsed());
                    self.succeeded(update);
                }
                Err(error) => {
                    metrics.record_failed();
                    self.failed(update, &error);
                }
            }
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

    /// Writes a checkpoint, the best one first: what is written behind it may tell of it.
    async fn write(&mut self, mut checkpoint: Checkpoint) -> Result<usize, StoreError> {
        let update = checkpoint.progress.updates;
        let mean_return = checkpoint.progress.mean_return();
        let is_best = mean_return.is_some_and(|mean| self.best_mean_return.is_none_or(|best| mean > best));
        checkpoint.best_mean_return = if is_best { mean_return } else { self.best_mean_return };
        let mut bytes = encoded(&checkpoint);
        let mut without_best = None;
        if is_best {
            match self.store.write_best(bytes.clone()).await {
                Ok(()) => self.best_mean_return = mean_return,
                Err(error) => {
                    without_best = Some(error);
                    // It must not tell of a best one that is not there.
                    checkpoint.best_mean_return = self.best_mean_return;
                    bytes = encoded(&checkpoint);
                }
            }
        }
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

    fn succeeded(&mut self, update: u64) {
        let mut report = lock(&self.report);
        (report.written, report.newest) = (report.written + 1, Some(update));
        drop(report);
        tracing::debug!(name = name_of(update), store = %self.store, "checkpoint written");
        if self.last_log.take().is_some() {
            tracing::info!(store = %self.store, "checkpoints are written again");
        }
    }

    fn failed(&mut self, update: u64, error: &StoreError) {
        let mut report = lock(&self.report);
        report.fail(error.to_string());
        let failed = report.failed;
        drop(report);
        if self.last_log.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            tracing::warn!(%error, update, failed, "a checkpoint could not be written");
            self.last_log = Some(Instant::now());
        }
    }
}

fn encoded(checkpoint: &Checkpoint) -> Bytes {
    checkpoint.encode().expect("the layout's tensors are safetensors").into()
}

fn lock(report: &Mutex<CheckpointReport>) -> MutexGuard<'_, CheckpointReport> {
    report.lock().expect("no holder of the report panics")
}

impl CheckpointReport {
    /// Counts one that was not written.
    pub fn fail(&mut self, reason: String) {
        (self.failed, self.last_error) = (self.failed + 1, Some(reason));
    }
}

impl fmt::Display for CheckpointReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, skipped, failed, newest, last_error } = self;
        write!(f, "{written} written")?;
        if let Some(newest) = newest {
            write!(f, ", the newest behind update {newest}")?;
        }
        if *skipped > 0 {
            write!(f, ", {skipped} skipped while another was being written")?;
        }
        if let Some(error) = last_error {
            write!(f, ", {failed} FAILED, at last: {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
