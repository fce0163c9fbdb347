//! The way from the service to the trainer: many tasks put trajectories in, the trainer takes whole batches out. A thin shell
//! around the [`Batcher`]: a mutex, a condition variable for the trainer, and places that stop the reading when they run out.

use crate::handover::admission::{Admitted, StagedBatch};
use crate::handover::batcher::{Batcher, Stale, Taken, WholeBatch};
use std::sync::{Condvar, Mutex, MutexGuard};
use tokio::sync::Semaphore;

/// Admitted trajectories, until they are trained or refused.
#[derive(Debug)]
pub struct BatchQueue {
    state: Mutex<State>,
    enough: Condvar,
    places: Semaphore,
}

#[derive(Debug)]
struct State {
    /// None after the end.
    batcher: Option<Batcher>,
    /// Whether the trainer waits: nobody else is worth a call of the system.
    is_awaited: bool,
}

impl BatchQueue {
    /// A queue for so many trajectories at a time.
    pub fn new(batcher: Batcher, places: usize) -> Self {
        let state = State { batcher: Some(batcher), is_awaited: false };
        Self { state: Mutex::new(state), enough: Condvar::new(), places: Semaphore::new(places) }
    }

    /// Puts a trajectory in; waits while the queue is full. After the end it is dropped, and so refused.
    pub async fn put(&self, admitted: Admitted) {
        let Ok(place) = self.places.acquire().await else { return };
        place.forget();
        let mut state = self.lock();
        let Some(batcher) = &mut state.batcher else { return };
        let stale = batcher.insert(admitted);
        let wakes = batcher.has_enough() && std::mem::take(&mut state.is_awaited);
        drop(state);
        if wakes {
            self.enough.notify_one();
        }
        if let Some(stale) = stale {
            self.places.add_permits(1);
            stale.refuse();
        }
    }

    /// Waits for a batch; nothing after the end.
    pub fn take(&self) -> Option<StagedBatch> {
        loop {
            let taken = self.take_some()?;
            if let Some(batch) = self.release(taken) {
                return Some(batch);
            }
        }
    }

    /// A batch if there is one now: for who must not wait on a thread, as in a simulation.
    pub fn try_take(&self) -> Option<StagedBatch> {
        let taken = self.lock().batcher.as_mut()?.take();
        self.release(taken)
    }

    /// Frees the places of what was taken and refuses what is stale; gives the batch, if it was a whole one.
    fn release(&self, taken: Taken) -> Option<StagedBatch> {
        self.places.add_permits(taken.len());
        let Taken { batch, stale } = taken;
        stale.into_iter().for_each(Stale::refuse);
        batch.map(WholeBatch::stage)
    }

    /// Waits for a batch, or for trajectories that have become too old.
    fn take_some(&self) -> Option<Taken> {
        let mut state = self.lock();
        loop {
            // Also where there are too few: what has become too old by the last update is not to wait for them.
            let taken = state.batcher.as_mut()?.take();
            if !taken.is_empty() {
                return Some(taken);
            }
            state.is_awaited = true;
            state = self.enough.wait(state).expect("no holder of the queue panics");
        }
    }

    /// The end: what is still here is refused, and so is what comes later. The trainer gets no more batches.
    pub fn close(&self) {
        let left = self.lock().batcher.take();
        self.places.close();
        self.enough.notify_one();
        // Its tickets are decided outside of the lock.
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the queue panics")
    }
}
