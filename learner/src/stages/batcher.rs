//! The batcher thread: admitted trajectories become batches in host memory while the trainer works on the one before.

use crate::handover::admission::{Admitted, PolicyLagGate, StagedBatch, Ticket};
use crate::handover::ledger::Disposition;
use crate::learn::batch::Batch;
use bytes::Bytes;
use impala_common::agreement::Lockstep;
use impala_common::trajectory::RolloutTime;
use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Endpoints and settings of the batcher.
#[derive(Debug)]
pub struct Batcher {
    /// Admitted trajectories.
    pub queue: mpsc::Receiver<Admitted>,
    /// To the trainer.
    pub staged: SyncSender<StagedBatch>,
    /// Refuses what has become too old while it waited.
    pub gate: PolicyLagGate,
    /// Trajectories in one batch.
    pub trajectories_per_batch: usize,
    /// The order of a deterministic run; first come, first trained without it.
    pub lockstep: Option<Lockstep>,
    /// Updates that were done before, by the learner that a run is resumed from.
    pub updates_before: u64,
    /// Ends the thread.
    pub stop: CancellationToken,
}

impl Batcher {
    /// Works until the run is over; what is then still queued is dropped and so refused. `runtime` carries the waiting.
    pub fn run(mut self, runtime: &Handle) {
        self.batch_until_the_end(runtime);
        // Senders that already have a place may still use it; nothing is left behind in the queue.
        self.queue.close();
        while runtime.block_on(self.queue.recv()).is_some() {}
    }

    fn batch_until_the_end(&mut self, runtime: &Handle) {
        let mut order = Order::new(self.lockstep, self.updates_before);
        let mut ready = Vec::with_capacity(self.trajectories_per_batch);
        let mut actors = RolloutTime::default();
        while let Some(admitted) = runtime.block_on(self.stop.run_until_cancelled(self.queue.recv())).flatten() {
            actors += admitted.trajectory.time();
            order.insert(admitted);
            while let Some(admitted) = order.next() {
                // A deterministic run trains everything: its lag is fixed by construction.
                if self.lockstep.is_none() && !self.gate.admits(admitted.trajectory.weights_version) {
                    admitted.ticket.settle(Disposition::Stale);
                    continue;
                }
                ready.push(admitted);
                if ready.len() == self.trajectories_per_batch && !self.stage(&mut ready, std::mem::take(&mut actors)) {
                    return;
                }
            }
        }
    }

    /// Hands a batch over, waiting for the trainer; false if the trainer is gone.
    fn stage(&self, ready: &mut Vec<Admitted>, actors: RolloutTime) -> bool {
        let (trajectories, mut tickets): (Vec<_>, Vec<_>) = ready.drain(..).map(|a| (a.trajectory, a.ticket)).unzip();
        tickets.iter_mut().for_each(Ticket::announce);
        let states = tickets.iter().zip(&trajectories);
        let actor_states =
            // Copied: it is a slice of the received message, which would stay in memory as long as it.
            states.filter_map(|(ticket, trajectory)| Some((ticket.actor(), Bytes::copy_from_slice(trajectory.actor_state()?))));
        let actor_states = actor_states.collect();
        let batch = Batch::new(trajectories);
        self.staged.send(StagedBatch { batch, tickets, actors, actor_states }).is_ok()
    }
}

/// Decides which trajectory is next.
#[derive(Debug)]
enum Order {
    Arrival(Option<Box<Admitted>>),
    Lockstep { lockstep: Lockstep, next: u64, waiting: BTreeMap<u64, Admitted> },
}

impl Order {
    fn new(lockstep: Option<Lockstep>, updates_before: u64) -> Self {
        match lockstep {
            None => Self::Arrival(None),
            Some(lockstep) => {
                let next = updates_before.saturating_mul(lockstep.trajectories_per_batch.into());
                Self::Lockstep { lockstep, next, waiting: BTreeMap::new() }
            }
        }
    }

    fn insert(&mut self, admitted: Admitted) {
        match self {
            Self::Arrival(slot) => *slot = Some(Box::new(admitted)),
            Self::Lockstep { lockstep, waiting, .. } => {
                let position = lockstep.position(admitted.ticket.actor(), admitted.ticket.sequence());
                waiting.insert(position, admitted);
            }
        }
    }

    fn next(&mut self) -> Option<Admitted> {
        match self {
            Self::Arrival(slot) => slot.take().map(|admitted| *admitted),
            Self::Lockstep { next, waiting, .. } => {
                let admitted = waiting.remove(next)?;
                *next += 1;
                Some(admitted)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::demand::WeightsDemand;
    use crate::handover::ledger::Ledger;
    use impala_common::ids::{ActorIndex, Sequence, WeightsVersion};
    use impala_common::trajectory::{Trajectory, TrajectoryParts, TrajectoryShape};
    use impala_env::Outcome;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, sync_channel};

    struct Bench {
        queue: mpsc::Sender<Admitted>,
        staged: Receiver<StagedBatch>,
        ledger: Arc<Ledger>,
        gate: PolicyLagGate,
        batcher: Batcher,
    }

    fn bench(lockstep: Option<Lockstep>) -> Bench {
        let (queue, receiver) = mpsc::channel(16);
        let (sender, staged) = sync_channel(16);
        let gate = PolicyLagGate::new(3);
        let batcher = Batcher {
            queue: receiver,
            staged: sender,
            gate: gate.clone(),
            trajectories_per_batch: 2,
            lockstep,
            updates_before: 0,
            stop: CancellationToken::new(),
        };
        Bench { queue, staged, ledger: Arc::default(), gate, batcher }
    }

    impl Bench {
        /// The reward of the trajectory tells its actor and sequence.
        fn push(&self, actor: u32, sequence: u64, version: u64) {
            let shape = TrajectoryShape { unroll_length: 1, environments: 1, observation_len: 1, action_count: 2 };
            let parts = TrajectoryParts {
                sequence: Sequence(sequence),
                weights_version: WeightsVersion(version),
                observations: vec![0.0; 2],
                actions: vec![0],
                behaviour_log_probs: vec![-0.5],
                rewards: vec![(actor * 10) as f32 + sequence as f32],
                outcomes: vec![Outcome::Continues],
                ..TrajectoryParts::default()
            };
            let trajectory = Trajectory::try_new(shape, parts).unwrap();
            let (replies, _) = mpsc::channel(1);
            let demand = Arc::new(WeightsDemand::new(tokio::sync::watch::channel(None).1));
            let ticket = Ticket::new(ActorIndex(actor), Sequence(sequence), self.ledger.clone(), replies, demand);
            self.queue.try_send(Admitted { trajectory, ticket }).unwrap();
        }

        /// Runs the batcher over what was pushed and gives the rewards of each batch.
        fn batches(self) -> (Vec<Vec<f32>>, Arc<Ledger>) {
            drop(self.queue);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            self.batcher.run(runtime.handle());
            let rewards =
                |staged: StagedBatch| staged.batch.trajectories().iter().flat_map(|t| t.rewards.clone()).collect();
            (self.staged.try_iter().map(rewards).collect(), self.ledger)
        }
    }

    #[test]
    fn batches_fill_in_the_order_of_arrival_and_stale_trajectories_are_refused() {
        let bench = bench(None);
        bench.gate.advance(WeightsVersion(10));
        bench.push(1, 0, 10);
        bench.push(0, 0, 6);
        bench.push(0, 1, 7);
        bench.push(1, 1, 10);
        let (batches, ledger) = bench.batches();
        assert_eq!(batches, [[10.0, 1.0]]);
        let account = ledger.account();
        // The trained ones are decided by the trainer; here their tickets and the unfinished batch were dropped.
        assert_eq!((account.refused_stale, account.refused_shutdown), (1, 3));
    }

    #[test]
    fn lockstep_trains_in_the_order_of_sequence_and_actor() {
        let bench = bench(Some(Lockstep { actors: 2, trajectories_per_batch: 2 }));
        bench.push(1, 0, 0);
        bench.push(1, 1, 1);
        bench.push(0, 0, 0);
        bench.push(0, 1, 1);
        assert_eq!(bench.batches().0, [[0.0, 10.0], [1.0, 11.0]]);
    }
}
