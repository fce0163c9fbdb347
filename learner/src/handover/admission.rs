//! The gate between the network and the trainer: tickets that make sure every arrived trajectory is decided exactly once,
//! and the bound on policy lag.

use crate::handover::ledger::{Disposition, Ledger};
use crate::handover::run_state::Finish;
use crate::handover::tally::{ActorTally, Age};
use crate::handover::weights::Delivery;
use crate::learn::batch::Batch;
use bytes::Bytes;
use impala_common::evaluation::Assignment;
use impala_common::ids::{ActorIndex, Incarnation, Sequence, WeightsVersion};
use impala_common::trajectory::{Episode, RolloutTime, Trajectory};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What goes back to an actor on its trajectory stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The stream is open, and its actor is sent its weights so.
    Opened(Delivery),
    /// The actor could not read its weights and holds none any more.
    WeightsDamaged,
    /// A trajectory is decided; its place in the actor's window is free.
    Receipt {
        /// Number of the trajectory that is answered.
        sequence: Sequence,
        /// What became of it.
        disposition: Disposition,
        /// The next trajectory is to be made with this version or a newer one; it is published, or will be without another
        /// trajectory.
        oldest: WeightsVersion,
    },
    /// The actor is to play this beside its rollout.
    Evaluate(Arc<Assignment>),
    /// Training is over.
    Finish(Finish),
    /// The stream named no registration that could open it; the stream ends.
    UnknownSession,
    /// The actor broke the contract; the stream ends.
    Violation(String),
}

/// A trajectory on its way to the trainer.
#[derive(Debug)]
pub struct Admitted {
    /// The data.
    pub trajectory: Trajectory,
    /// The duty to decide it.
    pub ticket: Ticket,
}

/// A batch whose trajectories are decided: it is about to be trained.
#[derive(Debug)]
pub struct StagedBatch {
    /// The data.
    pub batch: Batch,
    /// The time that went into every trajectory that was taken from the queue since the batch before: refused ones too.
    pub actors: RolloutTime,
    /// The state of each actor after its trajectory, in their order; in deterministic runs.
    pub actor_states: Vec<(ActorIndex, Bytes)>,
    /// The episodes that count since the batch before, in the order in which they began.
    pub episodes: Vec<Episode>,
}

/// The duty to decide one arrived trajectory. Dropped undecided, it counts as refused at shutdown: nothing else drops one.
#[derive(Debug)]
pub struct Ticket {
    actor: ActorIndex,
    incarnation: Incarnation,
    sequence: Sequence,
    ledger: Arc<Ledger>,
    replies: mpsc::Sender<Reply>,
    window: Option<OwnedSemaphorePermit>,
    /// Older weights may not make the actor's next trajectory.
    oldest: WeightsVersion,
    /// Where its actor's trajectories are counted, and how old this one is; of those that came to the trainer or its gate.
    tally: Option<Arc<ActorTally>>,
    age: Option<Age>,
    since: Instant,
    is_settled: bool,
}

impl Ticket {
    /// A ticket for a trajectory that the ledger has seen arrive.
    pub fn new(
        actor: ActorIndex,
        incarnation: Incarnation,
        sequence: Sequence,
        ledger: Arc<Ledger>,
        replies: mpsc::Sender<Reply>,
    ) -> Self {
        let (oldest, window, tally, age) = (WeightsVersion(0), None, None, None);
        let since = Instant::now();
        Self { actor, incarnation, sequence, ledger, replies, window, oldest, tally, age, since, is_settled: false }
    }

    /// The trajectory's place in the actor's window, free again when it is decided.
    pub fn hold(&mut self, place: OwnedSemaphorePermit) {
        self.window = Some(place);
    }

    /// Counts it among its actor's trajectories when it is decided.
    pub fn count_in(&mut self, tally: Arc<ActorTally>) {
        self.tally = Some(tally);
    }

    /// The actor that made the trajectory.
    pub fn actor(&self) -> ActorIndex {
        self.actor
    }

    /// The actor's process.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Position among the actor's trajectories.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Older weights than these, which are published or will be without another trajectory, may not make the actor's next
    /// one.
    #[must_use]
    pub fn asking_for(self, oldest: WeightsVersion) -> Self {
        let mut ticket = self;
        ticket.oldest = oldest;
        ticket
    }

    /// How old the trajectory is now that it is about to be decided.
    #[must_use]
    pub fn aged(self, age: Age) -> Self {
        let mut ticket = self;
        ticket.age = Some(age);
        ticket
    }

    /// Decides the trajectory: counts it and sends the receipt. An invalid one has none: its stream ends with the reason.
    pub fn settle(mut self, disposition: Disposition) {
        self.decide(disposition);
    }

    fn decide(&mut self, disposition: Disposition) {
        self.is_settled = true;
        self.ledger.settle(disposition);
        if let (Some(tally), Some(age)) = (&self.tally, self.age) {
            tally.record(disposition, age, self.since);
        }
        // Before the receipt: the actor may use the place as soon as it reads that.
        self.window = None;
        if disposition == Disposition::Invalid {
            return;
        }
        let (sequence, oldest) = (self.sequence, self.oldest);
        // The channel holds more than an actor's window; a failed send means that the actor is gone.
        let _ = self.replies.try_send(Reply::Receipt { sequence, disposition, oldest });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_settled {
            self.decide(Disposition::Shutdown);
        }
    }
}

/// Bounds the age of what is trained.
#[derive(Clone, Debug)]
pub struct PolicyLagGate {
    current: Arc<AtomicU64>,
    lag_max: u64,
}

impl PolicyLagGate {
    /// A gate at version 0.
    pub fn new(lag_max: u64) -> Self {
        Self { current: Arc::default(), lag_max }
    }

    /// The trainer has reached `version`.
    pub fn advance(&self, version: WeightsVersion) {
        self.current.store(version.0, Ordering::Release);
    }

    /// The version that the trainer has reached.
    pub fn current(&self) -> WeightsVersion {
        WeightsVersion(self.current.load(Ordering::Acquire))
    }

    /// Whether a trajectory made with `version` is young enough.
    pub fn admits(&self, version: WeightsVersion) -> bool {
        version.lag_behind(self.current()) <= self.lag_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_decided_exactly_once() {
        let ledger = Arc::new(Ledger::default());
        let (replies, mut receipts) = mpsc::channel(4);
        let ticket =
            |sequence| Ticket::new(ActorIndex(0), Incarnation(9), Sequence(sequence), ledger.clone(), replies.clone());
        ticket(0).settle(Disposition::Trained);
        drop(ticket(1));
        let account = ledger.account();
        assert_eq!((account.trained, account.refused_shutdown), (1, 1));
        let receipt = |sequence, disposition| Reply::Receipt {
            sequence: Sequence(sequence),
            disposition,
            oldest: WeightsVersion(0),
        };
        assert_eq!(receipts.try_recv(), Ok(receipt(0, Disposition::Trained)));
        assert_eq!(receipts.try_recv(), Ok(receipt(1, Disposition::Shutdown)));
        ticket(2).asking_for(WeightsVersion(7)).settle(Disposition::Trained);
        let Ok(Reply::Receipt { oldest, .. }) = receipts.try_recv() else { panic!("no receipt") };
        assert_eq!(oldest, WeightsVersion(7));
    }

    #[test]
    fn the_gate_counts_updates() {
        let gate = PolicyLagGate::new(2);
        gate.advance(WeightsVersion(5));
        assert!(gate.admits(WeightsVersion(3)));
        assert!(!gate.admits(WeightsVersion(2)));
        assert!(gate.admits(WeightsVersion(6)));
    }
}
