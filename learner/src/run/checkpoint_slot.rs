//! Where the trainer leaves checkpoints for the writer without ever waiting for it, and what became of them.

use crate::handover::metrics::CheckpointMetrics;
use crate::run::checkpoint::Checkpoint;
use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Time between two attempts to hand over the last checkpoint of a run.
const PUT_INTERVAL: Duration = Duration::from_millis(2);

/// The trainer's side: hands a checkpoint over if the writer has nothing else to do.
#[derive(Clone, Debug)]
pub struct CheckpointSlot {
    sender: SyncSender<Box<Checkpoint>>,
    is_busy: Arc<AtomicBool>,
    verified: KeptCheckpoint,
    report: Arc<Mutex<CheckpointReport>>,
    metrics: CheckpointMetrics,
}

/// The writer's side.
#[derive(Debug)]
pub struct CheckpointJobs {
    jobs: Receiver<Box<Checkpoint>>,
    is_busy: Arc<AtomicBool>,
    verified: KeptCheckpoint,
    report: Arc<Mutex<CheckpointReport>>,
}

/// A checkpoint of the policy that solved the task; at most one waits in memory.
type KeptCheckpoint = Arc<Mutex<Option<Box<Checkpoint>>>>;

/// What became of a run's checkpoints in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckpointReport {
    /// Checkpoints written.
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

/// A slot and the jobs that it hands over. There is no place between them: a checkpoint is handed over when the writer is
/// there to take it, so at most one waits in memory. A writer that has not begun counts as busy.
pub fn channel() -> (CheckpointSlot, CheckpointJobs) {
    let (sender, jobs) = sync_channel(0);
    let (is_busy, verified, report) = (Arc::new(AtomicBool::new(true)), KeptCheckpoint::default(), Arc::default());
    let taken =
        CheckpointJobs { jobs, is_busy: is_busy.clone(), verified: verified.clone(), report: Arc::clone(&report) };
    (CheckpointSlot { sender, is_busy, verified, report, metrics: CheckpointMetrics::new() }, taken)
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

    /// Leaves the checkpoint of a verified policy, to be written as the best one before the next checkpoint is.
    pub fn keep(&self, checkpoint: Box<Checkpoint>) {
        *kept(&self.verified) = Some(checkpoint);
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

impl CheckpointJobs {
    /// Waits for a checkpoint; `None` once every slot is gone.
    pub fn next(&self) -> Option<Checkpoint> {
        self.is_busy.store(false, Ordering::Release);
        let checkpoint = self.jobs.recv().ok()?;
        self.is_busy.store(true, Ordering::Release);
        Some(*checkpoint)
    }

    /// The checkpoint of a verified policy that is not written yet. Where it cannot be written, it is [given
    /// back](CheckpointJobs::give_back) and tried again with the next.
    pub fn take_verified(&self) -> Option<Box<Checkpoint>> {
        kept(&self.verified).take()
    }

    /// Keeps a verified checkpoint that could not be written, unless there is a newer one.
    pub fn give_back(&self, checkpoint: Box<Checkpoint>) {
        kept(&self.verified).get_or_insert(checkpoint);
    }

    /// What became of all checkpoints.
    pub fn report(&self) -> MutexGuard<'_, CheckpointReport> {
        lock(&self.report)
    }
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
            write!(f, ", the newest after update {newest}")?;
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

fn kept(verified: &KeptCheckpoint) -> MutexGuard<'_, Option<Box<Checkpoint>>> {
    verified.lock().expect("no holder of the verified checkpoint panics")
}

fn lock(report: &Mutex<CheckpointReport>) -> MutexGuard<'_, CheckpointReport> {
    report.lock().expect("no holder of the report panics")
}
