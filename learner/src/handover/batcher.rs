//! How admitted trajectories become batches: in the order of arrival, or in the order of a deterministic run; and which
//! episodes go with each. A plain state machine, driven by whoever holds it; no thread, no clock and no channel is in here.

use crate::handover::admission::{Admitted, PolicyLagGate, StagedBatch, Ticket};
use crate::handover::batch_size::BatchSize;
use crate::handover::episodes::{EpisodeRecorder, SavedEpisodes, Source};
use crate::handover::ledger::Disposition;
use crate::handover::tally::Age;
use crate::learn::batch::Batch;
use bytes::Bytes;
use impala_common::agreement::Lockstep;
use impala_common::ids::{ActorIndex, Incarnation, WeightsVersion};
use impala_common::trajectory::{Episode, RolloutTime, Trajectory};
use std::collections::{BTreeMap, VecDeque};

/// Gathers batches.
#[derive(Debug)]
pub struct Batcher {
    size: BatchSize,
    gate: PolicyLagGate,
    order: Order,
    /// Next to be trained, first in front.
    ready: VecDeque<Admitted>,
    /// The time that went into every trajectory since the batch before: refused ones too.
    actors: RolloutTime,
    episodes: EpisodeRecorder,
}

/// What [`Batcher::take`] found.
#[derive(Debug, Default)]
pub struct Taken {
    /// A whole batch, if there was one.
    pub batch: Option<WholeBatch>,
    /// Trajectories that have become too old, to be refused.
    pub stale: Vec<Stale>,
}

/// A trajectory that is too old, without its data.
#[derive(Debug)]
pub struct Stale {
    ticket: Ticket,
    version: WeightsVersion,
    age: Age,
}

/// The trajectories of one update, to be decided.
#[derive(Debug)]
pub struct WholeBatch {
    trajectories: Vec<Admitted>,
    /// The version that they are trained at.
    current: WeightsVersion,
    actors: RolloutTime,
    episodes: Vec<Episode>,
}

/// The trajectories of one update with their actors, not yet put side by side: that takes time which only the trainer has.
#[derive(Debug)]
pub struct SettledBatch {
    trajectories: Vec<(ActorIndex, Trajectory)>,
    actors: RolloutTime,
    episodes: Vec<Episode>,
}

/// Decides which trajectory is next.
#[derive(Debug)]
enum Order {
    Arrival,
    Lockstep { lockstep: Lockstep, next: u64, waiting: BTreeMap<u64, Admitted> },
}

impl Batcher {
    /// An empty one. `lockstep` is the order of a deterministic run; first come, first trained without it. `updates_before`
    /// were done by the learner that a run is resumed from.
    pub fn new(size: BatchSize, gate: PolicyLagGate, lockstep: Option<Lockstep>, updates_before: u64) -> Self {
        let order = match lockstep {
            None => Order::Arrival,
            Some(lockstep) => {
                let next = updates_before.saturating_mul(lockstep.trajectories_per_batch.into());
                Order::Lockstep { lockstep, next, waiting: BTreeMap::new() }
            }
        };
        let (actors, episodes) = (RolloutTime::default(), EpisodeRecorder::default());
        Self { size, gate, order, ready: VecDeque::new(), actors, episodes }
    }

    /// Goes on with the episodes that a checkpoint of a deterministic run kept.
    #[must_use]
    pub fn with_episodes(self, saved: Option<&SavedEpisodes>) -> Self {
        Self { episodes: saved.map(EpisodeRecorder::resume).unwrap_or_default(), ..self }
    }

    /// Takes a trajectory in; gives it back if it is too old already: its actor is not to wait for a batch to hear that.
    pub fn insert(&mut self, admitted: Admitted) -> Option<Stale> {
        self.actors += admitted.trajectory.time();
        // In the order of arrival also those that are refused: their episodes are as long and as good as others.
        if matches!(self.order, Order::Arrival) {
            self.size.arrived(admitted.ticket.incarnation());
            self.episodes.record(Source::process(admitted.ticket.incarnation()), &admitted.trajectory);
        }
        match &mut self.order {
            Order::Arrival if !self.gate.admits(admitted.trajectory.weights_version) => {
                return Some(Stale::new(admitted, self.gate.current()));
            }
            Order::Arrival => self.ready.push_back(admitted),
            Order::Lockstep { lockstep, next, waiting } => {
                let position = lockstep.position(admitted.ticket.actor(), admitted.ticket.sequence());
                waiting.insert(position, admitted);
                while let Some(admitted) = waiting.remove(next) {
                    *next += 1;
                    self.ready.push_back(admitted);
                }
            }
        }
        None
    }

    /// Whether there are enough trajectories for a batch, should none of them have become too old.
    pub fn has_enough(&self) -> bool {
        self.ready.len() >= self.size.trajectories()
    }

    /// The last trajectories of a batch are not waited for any longer, if the size may follow: the actors of those that are here
    /// are all that count, until others come again.
    pub fn do_without_the_rest(&mut self) {
        let present = self.ready.iter().map(|admitted| admitted.ticket.incarnation()).collect();
        self.size.only(&present, self.ready.len());
    }

    /// Whether it makes sense to do without the rest.
    pub fn can_do_without_the_rest(&self) -> bool {
        matches!(self.size, BatchSize::Follows(_))
    }

    /// Takes a batch of trajectories that are young enough now out, and whatever is too old. A deterministic run trains
    /// everything: its lag is fixed by construction.
    pub fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        if matches!(self.order, Order::Arrival) {
            let is_stale = |admitted: &Admitted| !self.gate.admits(admitted.trajectory.weights_version);
            // Nearly always none.
            if self.ready.iter().any(is_stale) {
                let (stale, ready): (VecDeque<_>, _) = std::mem::take(&mut self.ready).into_iter().partition(is_stale);
                self.ready = ready;
                let current = self.gate.current();
                taken.stale = stale.into_iter().map(|admitted| Stale::new(admitted, current)).collect();
            }
        }
        if self.has_enough() {
            let trajectories: Vec<_> = self.ready.drain(..self.size.trajectories()).collect();
            if matches!(self.order, Order::Lockstep { .. }) {
                // What is early is not to be seen: that depends on the moment.
                for Admitted { trajectory, ticket } in &trajectories {
                    self.episodes.record(Source::place(ticket.actor()), trajectory);
                }
            }
            let (actors, episodes) = (std::mem::take(&mut self.actors), self.episodes.take());
            taken.batch = Some(WholeBatch { trajectories, current: self.gate.current(), actors, episodes });
        }
        taken
    }

    /// A process has gone, and its last trajectory came before this. A deterministic run ends by it, and its results are not
    /// to depend on the moment.
    pub fn leave(&mut self, incarnation: Incarnation) {
        if matches!(self.order, Order::Arrival) {
            self.size.left(incarnation);
            self.episodes.leave(Source::process(incarnation));
        }
    }

    /// What a checkpoint keeps of the episodes, as of the last batch that was taken: in a deterministic run.
    pub fn save_episodes(&self) -> Option<SavedEpisodes> {
        matches!(self.order, Order::Lockstep { .. }).then(|| self.episodes.save())
    }
}

impl Taken {
    /// Trajectories that are not held here any more.
    pub fn len(&self) -> usize {
        self.stale.len() + self.batch.as_ref().map_or(0, |batch| batch.trajectories.len())
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Stale {
    fn new(Admitted { trajectory, ticket }: Admitted, current: WeightsVersion) -> Self {
        Self { version: trajectory.weights_version, age: age(&trajectory, current), ticket }
    }

    /// Refuses it. Its actor waits for newer weights than it had, else one whose weights are held up would make one refused
    /// trajectory after the other.
    pub fn refuse(self) {
        let ticket = self.ticket.asking_for(WeightsVersion(self.version.0.saturating_add(1)));
        ticket.aged(self.age).settle(Disposition::Stale);
    }
}

/// How old a trajectory is at the version `current`.
fn age(trajectory: &Trajectory, current: WeightsVersion) -> Age {
    let (version, time) = (trajectory.weights_version, trajectory.time());
    let (lag, frames) = (version.lag_behind(current), trajectory.shape().frames() as u64);
    Age { lag, time: time.total(), blocked: time.blocked(), version, frames }
}

impl WholeBatch {
    /// Decides its trajectories: sends the receipts, which ask for weights that are `oldest` or newer. Takes no time.
    pub fn settle(self, oldest: WeightsVersion) -> SettledBatch {
        let Self { trajectories, current, actors, episodes } = self;
        let settle = |Admitted { trajectory, ticket }: Admitted| {
            let actor = ticket.actor();
            ticket.asking_for(oldest).aged(age(&trajectory, current)).settle(Disposition::Trained);
            (actor, trajectory)
        };
        SettledBatch { trajectories: trajectories.into_iter().map(settle).collect(), actors, episodes }
    }
}

impl SettledBatch {
    /// Puts the trajectories side by side.
    pub fn stage(self) -> StagedBatch {
        let Self { trajectories, actors, episodes } = self;
        let states = trajectories.iter().filter_map(|(actor, trajectory)| {
            // Copied: it is a slice of the received message, which would stay in memory as long as it.
            Some((*actor, Bytes::copy_from_slice(trajectory.actor_state()?)))
        });
        let actor_states = states.collect();
        let batch = Batch::new(trajectories.into_iter().map(|(_, trajectory)| trajectory).collect());
        StagedBatch { batch, actors, actor_states, episodes }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::handover::admission::Reply;
    use crate::handover::ledger::Ledger;
    use crate::handover::tally::{ActorTally, Laggards};
    use impala_common::ids::{ActorIndex, Sequence};
    use impala_common::trajectory::{Trajectory, TrajectoryParts, TrajectoryShape};
    use impala_env::Outcome;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    /// A trajectory whose reward tells its actor and sequence.
    pub(crate) fn admitted(
        actor: u32,
        sequence: u64,
        version: u64,
        ledger: &Arc<Ledger>,
        replies: &mpsc::Sender<Reply>,
    ) -> Admitted {
        let shape = TrajectoryShape::plain(1, 1, 1, 2);
        let parts = TrajectoryParts {
            sequence: Sequence(sequence),
            weights_version: WeightsVersion(version),
            observations: vec![0.0; 2].into(),
            actions: vec![0_u8].into(),
            behaviour_log_probs: vec![-0.5],
            rewards: vec![(actor * 10) as f32 + sequence as f32],
            outcomes: vec![Outcome::Continues],
            ..TrajectoryParts::default()
        };
        let trajectory = Trajectory::try_new(shape, parts).unwrap();
        Admitted {
            trajectory,
            ticket: Ticket::new(
                ActorIndex(actor),
                Incarnation(actor.into()),
                Sequence(sequence),
                ledger.clone(),
                replies.clone(),
            ),
        }
    }

    /// Two trajectories a batch.
    struct Bench {
        batcher: Batcher,
        gate: PolicyLagGate,
        ledger: Arc<Ledger>,
        replies: (mpsc::Sender<Reply>, mpsc::Receiver<Reply>),
    }

    fn bench(lockstep: Option<Lockstep>, updates_before: u64) -> Bench {
        let gate = PolicyLagGate::new(3);
        let batcher = Batcher::new(BatchSize::Fixed(2), gate.clone(), lockstep, updates_before);
        Bench { batcher, gate, ledger: Arc::default(), replies: mpsc::channel(16) }
    }

    impl Bench {
        fn insert(&mut self, actor: u32, sequence: u64, version: u64) -> Option<Stale> {
            self.batcher.insert(admitted(actor, sequence, version, &self.ledger, &self.replies.0))
        }

        /// The rewards of the next batch, if there is one.
        fn take(&mut self) -> Option<Vec<f32>> {
            let Taken { batch, stale } = self.batcher.take();
            stale.into_iter().for_each(Stale::refuse);
            let staged = batch?.settle(WeightsVersion(5)).stage();
            Some(staged.batch.trajectories().iter().flat_map(|trajectory| trajectory.rewards.clone()).collect())
        }
    }

    #[test]
    fn batches_fill_in_the_order_of_arrival() {
        let mut bench = bench(None, 0);
        for (actor, sequence) in [(1, 0), (0, 0), (0, 1)] {
            assert!(bench.insert(actor, sequence, 0).is_none());
        }
        assert!(bench.batcher.has_enough());
        assert_eq!(bench.take(), Some(vec![10.0, 0.0]));
        assert!(!bench.batcher.has_enough());
        assert_eq!(bench.take(), None);
        bench.insert(1, 1, 0);
        assert_eq!(bench.take(), Some(vec![1.0, 11.0]));
        assert_eq!(bench.ledger.account().trained, 4);
        let receipt =
            Reply::Receipt { sequence: Sequence(0), disposition: Disposition::Trained, oldest: WeightsVersion(5) };
        assert_eq!(bench.replies.1.try_recv(), Ok(receipt));
    }

    #[test]
    fn the_lag_is_exact_when_a_batch_is_taken_and_the_stale_are_refused_at_once() {
        let mut bench = bench(None, 0);
        bench.gate.advance(WeightsVersion(10));
        bench.insert(0, 0, 6).expect("four updates behind").refuse();
        let told = bench.replies.1.try_recv();
        let expected =
            Reply::Receipt { sequence: Sequence(0), disposition: Disposition::Stale, oldest: WeightsVersion(7) };
        assert_eq!(told, Ok(expected));
        bench.insert(0, 1, 7);
        bench.insert(1, 0, 9);
        bench.insert(1, 1, 10);
        bench.gate.advance(WeightsVersion(11));
        assert_eq!(bench.take(), Some(vec![10.0, 11.0]));
        assert_eq!(bench.ledger.account().refused_stale, 2);
        // Too few are left: what is too old goes all the same.
        bench.insert(0, 2, 8);
        bench.insert(1, 2, 11);
        bench.gate.advance(WeightsVersion(12));
        assert_eq!(bench.take(), None);
        assert_eq!(bench.ledger.account().refused_stale, 3);
        bench.insert(0, 3, 12);
        assert_eq!(bench.take(), Some(vec![12.0, 3.0]));
    }

    #[test]
    fn what_is_decided_counts_with_its_age_among_its_actors() {
        let mut bench = bench(None, 0);
        let tally = Arc::new(ActorTally::default());
        bench.gate.advance(WeightsVersion(9));
        // Two updates behind and trained, then four and refused, at once and when the next batch is taken.
        for (sequence, version) in [(0, 7), (1, 7), (2, 5), (3, 6)] {
            let mut admitted = admitted(0, sequence, version, &bench.ledger, &bench.replies.0);
            admitted.ticket.count_in(tally.clone());
            if let Some(stale) = bench.batcher.insert(admitted) {
                stale.refuse();
            }
            if sequence == 1 {
                assert!(bench.take().is_some());
            }
        }
        bench.gate.advance(WeightsVersion(10));
        assert_eq!(bench.take(), None);
        let found = Laggards::among([("a", tally.as_ref())].into_iter()).worst;
        assert_eq!((found[0].policy_lag_mean, found[0].refused), (3.0, 0.5));
    }

    #[test]
    fn lockstep_trains_in_the_order_of_sequence_and_actor() {
        let lockstep = Lockstep { actors: 2, trajectories_per_batch: 2 };
        let mut bench = bench(Some(lockstep), 0);
        bench.insert(1, 0, 0);
        bench.insert(1, 1, 1);
        assert!(!bench.batcher.has_enough());
        bench.insert(0, 0, 0);
        assert_eq!(bench.take(), Some(vec![0.0, 10.0]));
        // No age is too old here.
        bench.gate.advance(WeightsVersion(90));
        bench.insert(0, 1, 1);
        assert_eq!(bench.take(), Some(vec![1.0, 11.0]));
    }

    /// As [`admitted`], but the one step ends its episode.
    fn ending(bench: &Bench, actor: u32, sequence: u64, version: u64) -> Admitted {
        let Admitted { trajectory, ticket } = admitted(actor, sequence, version, &bench.ledger, &bench.replies.0);
        let (shape, mut parts) = (trajectory.shape().clone(), trajectory.into_parts());
        parts.outcomes = vec![Outcome::Terminated];
        Admitted { trajectory: Trajectory::try_new(shape, parts).unwrap(), ticket }
    }

    /// Returns of the episodes that go with the next batch.
    fn counted(bench: &mut Bench) -> Option<Vec<f32>> {
        let batch = bench.batcher.take().batch?;
        let episodes = batch.settle(WeightsVersion(5)).stage().episodes;
        Some(episodes.iter().map(|episode| episode.episode_return).collect())
    }

    #[test]
    fn episodes_of_refused_trajectories_count_too_and_an_actor_that_leaves_holds_up_none() {
        let mut bench = bench(None, 0);
        bench.gate.advance(WeightsVersion(10));
        // Too old at once, and by the time when a batch is taken.
        let stale = ending(&bench, 3, 0, 6);
        bench.batcher.insert(stale).expect("too old").refuse();
        for (actor, sequence, version) in [(1, 0, 7), (1, 1, 10), (2, 0, 10)] {
            let admitted = ending(&bench, actor, sequence, version);
            assert!(bench.batcher.insert(admitted).is_none());
        }
        bench.gate.advance(WeightsVersion(11));
        // The one of actor 3 that began after its first still runs.
        assert_eq!(counted(&mut bench), Some(vec![30.0]));
        bench.batcher.leave(Incarnation(3));
        bench.insert(2, 1, 11);
        assert_eq!(counted(&mut bench), None);
        let admitted = ending(&bench, 1, 2, 11);
        assert!(bench.batcher.insert(admitted).is_none());
        assert_eq!(counted(&mut bench), Some(vec![10.0, 11.0, 12.0, 20.0]));
        assert_eq!(bench.batcher.save_episodes(), None);
    }

    #[test]
    fn lockstep_counts_the_episodes_of_the_batches_that_are_taken_and_of_no_others() {
        let lockstep = Lockstep { actors: 2, trajectories_per_batch: 2 };
        let run = |early: &[(u32, u64)], late: &[(u32, u64)]| {
            let mut bench = bench(Some(lockstep), 0);
            let insert = |bench: &mut Bench, (actor, sequence)| {
                let admitted = ending(bench, actor, sequence, sequence);
                bench.batcher.insert(admitted);
            };
            early.iter().for_each(|position| insert(&mut bench, *position));
            let first = (counted(&mut bench), bench.batcher.save_episodes());
            // It ends the run; what it ran is in the checkpoint.
            bench.batcher.leave(Incarnation(1));
            late.iter().for_each(|position| insert(&mut bench, *position));
            (first, counted(&mut bench), bench.batcher.save_episodes())
        };
        let result = run(&[(0, 0), (1, 0)], &[(0, 1), (1, 1)]);
        assert_eq!(run(&[(1, 1), (1, 0), (0, 0)], &[(0, 1)]), result);
        let ((first, saved), second, _) = result;
        assert_eq!((first, second), (Some(vec![0.0]), Some(vec![1.0, 10.0, 11.0])));
        let saved = saved.unwrap();
        saved.validate(2, 1).unwrap();
        // A resumed run counts what the whole one did.
        let mut resumed = bench(Some(lockstep), 1);
        resumed.batcher = resumed.batcher.with_episodes(Some(&saved));
        for actor in [1, 0] {
            let admitted = ending(&resumed, actor, 1, 1);
            resumed.batcher.insert(admitted);
        }
        assert_eq!(counted(&mut resumed), Some(vec![1.0, 10.0, 11.0]));
    }

    #[test]
    fn a_resumed_order_goes_on_after_the_trained_batches() {
        let lockstep = Lockstep { actors: 2, trajectories_per_batch: 2 };
        let mut bench = bench(Some(lockstep), 3);
        bench.insert(1, 3, 3);
        bench.insert(0, 3, 3);
        assert_eq!(bench.take(), Some(vec![3.0, 13.0]));
    }
}
