//! The way from the service to the trainer: many tasks put trajectories in, the trainer takes whole batches out. A thin shell
//! around the [`Batcher`]: a mutex, a condition variable for the trainer, and places that stop the reading when they run out.
//!
//! Receipts go out when a batch is taken, before the work: the next trajectories are on their way meanwhile. Where the
//! trainer waits already, whoever brings the last trajectory takes the batch in its stead and sends the receipts, so that
//! they do not wait for the trainer's thread to wake.
//!
//! Where the size of a batch follows the actors, no batch waits for long: an actor that was counted on may have died, or be held
//! up. After [`PATIENCE`] times the usual time between two batches the trainer takes what is there.

use crate::handover::admission::{Admitted, StagedBatch};
use crate::handover::batcher::{Batcher, SettledBatch, Stale, Taken};
use crate::handover::episodes::SavedEpisodes;
use impala_common::ids::{Incarnation, WeightsVersion};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How often the mean time between two batches the trainer waits for the last trajectories of one.
const PATIENCE: u32 = 3;
/// It waits so long at least: processes that share a core may be held up for some milliseconds.
const PATIENCE_MIN: Duration = Duration::from_millis(20);
/// And so long at most, a stall that a person still bears. With a lag of 4 updates it is enough for actors that need 80 s for a
/// trajectory: of slower ones each makes batches of its own, and the lag grows.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// And so long for the first batch, when nothing is known of the pace.
const PATIENCE_FIRST: Duration = Duration::from_secs(2);
/// A time between two batches counts as at most so many means, and [`PATIENCE_FIRST`]: a pause, in which nobody was here, says
/// nothing of the pace, but one that has become slower is followed.
const PAUSE_FROM: u32 = 8;
/// Batches that the mean looks back on.
const PACE_BATCHES: u32 = 8;
/// What a wait without a bound is cut up into.
const LONG: Duration = Duration::from_secs(3600);

/// Admitted trajectories, until they are trained or refused.
#[derive(Debug)]
pub struct BatchQueue {
    state: Mutex<State>,
    handed_over: Condvar,
    places: Semaphore,
}

#[derive(Debug)]
struct State {
    /// None after the end.
    batcher: Option<Batcher>,
    /// What a checkpoint keeps of a deterministic run's episodes, after the end.
    last_episodes: Option<SavedEpisodes>,
    trainer: Trainer,
    pace: Pace,
}

/// The time between two batches.
#[derive(Debug, Default)]
struct Pace {
    newest: Option<Instant>,
    mean: Option<Duration>,
}

impl Pace {
    /// The trainer has a batch.
    fn mark(&mut self, now: Instant) {
        let Some(newest) = self.newest.replace(now) else { return };
        let most = (self.mean.unwrap_or_default() * PAUSE_FROM).clamp(PATIENCE_FIRST, PATIENCE_MAX);
        let since = now.duration_since(newest).min(most);
        self.mean = Some(self.mean.map_or(since, |mean| (mean * (PACE_BATCHES - 1) + since) / PACE_BATCHES));
    }

    fn patience(&self) -> Duration {
        self.mean.map_or(PATIENCE_FIRST, |mean| (mean * PATIENCE).clamp(PATIENCE_MIN, PATIENCE_MAX))
    }
}

/// What the trainer is about, as seen from here.
#[derive(Debug)]
enum Trainer {
    Works,
    /// It waits; older weights than these may not make the trajectories after its next batch.
    Waits(WeightsVersion),
    /// Somebody takes a batch for it.
    IsServed,
    /// Its next batch.
    Has(SettledBatch),
}

impl BatchQueue {
    /// A queue for so many trajectories at a time.
    pub fn new(batcher: Batcher, places: usize) -> Self {
        let state =
            State { batcher: Some(batcher), last_episodes: None, trainer: Trainer::Works, pace: Pace::default() };
        Self { state: Mutex::new(state), handed_over: Condvar::new(), places: Semaphore::new(places) }
    }

    /// Puts a trajectory in; waits while the queue is full. After the end it is dropped, and so refused.
    pub async fn put(&self, admitted: Admitted) {
        let Ok(place) = self.places.acquire().await else { return };
        place.forget();
        let (stale, served) = {
            let mut state = self.lock();
            let State { batcher: Some(batcher), trainer, .. } = &mut *state else { return };
            let stale = batcher.insert(admitted);
            (stale, served(batcher, trainer))
        };
        if let Some(stale) = stale {
            self.places.add_permits(1);
            stale.refuse();
        }
        self.serve(served);
    }

    /// Hands over what was taken for a trainer that waits.
    fn serve(&self, served: Option<(Taken, WeightsVersion)>) {
        if let Some((taken, oldest)) = served {
            let settled = self.settle(taken, oldest);
            self.lock().trainer = settled.map_or(Trainer::Works, Trainer::Has);
            self.handed_over.notify_one();
        }
    }

    /// Waits for a batch, whose receipts are sent: they ask for weights that are `oldest` or newer. Nothing after the end.
    pub fn take(&self, oldest: WeightsVersion) -> Option<StagedBatch> {
        let mut state = self.lock();
        loop {
            // Also where there are too few: what has become too old by the last update is not to wait for them.
            let taken = state.batcher.as_mut()?.take();
            if !taken.is_empty() {
                drop(state);
                if let Some(settled) = self.settle(taken, oldest) {
                    self.lock().pace.mark(Instant::now());
                    return Some(settled.stage());
                }
                state = self.lock();
                continue;
            }
            state.trainer = Trainer::Waits(oldest);
            state = self.wait(state)?;
            if let Trainer::Has(settled) = std::mem::replace(&mut state.trainer, Trainer::Works) {
                state.pace.mark(Instant::now());
                drop(state);
                return Some(settled.stage());
            }
        }
    }

    /// Waits until there may be a batch; nothing after the end. When patience ends, the rest of one is done without.
    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> Option<MutexGuard<'a, State>> {
        let patience = match state.batcher.as_ref()?.can_do_without_the_rest() {
            true => state.pace.patience(),
            false => LONG,
        };
        let waits = |state: &mut State| matches!(state.trainer, Trainer::Waits(_)) && state.batcher.is_some();
        let waited = self.handed_over.wait_timeout_while(state, patience, waits);
        let is_served = |state: &mut State| matches!(state.trainer, Trainer::IsServed);
        let waited = self.handed_over.wait_while(waited.expect("no holder of the queue panics").0, is_served);
        let mut state = waited.expect("no holder of the queue panics");
        if let State { trainer: Trainer::Waits(_), batcher: Some(batcher), .. } = &mut *state {
            batcher.do_without_the_rest();
        }
        Some(state)
    }

    /// A batch if there is one now: for who must not wait on a thread, as in a simulation.
    pub fn try_take(&self, oldest: WeightsVersion) -> Option<StagedBatch> {
        let taken = self.lock().batcher.as_mut()?.take();
        self.settle(taken, oldest).map(SettledBatch::stage)
    }

    /// The end: what is still here is refused, and so is what comes later. The trainer gets no more batches.
    pub fn close(&self) {
        let left = {
            let mut state = self.lock();
            let left = state.batcher.take();
            state.last_episodes = left.as_ref().and_then(Batcher::save_episodes);
            left
        };
        self.places.close();
        self.handed_over.notify_one();
        // Its tickets are decided outside of the lock.
        drop(left);
    }

    /// A process has gone, and its last trajectory was put before this.
    pub fn leave(&self, incarnation: Incarnation) {
        let served = {
            let mut state = self.lock();
            let State { batcher: Some(batcher), trainer, .. } = &mut *state else { return };
            batcher.leave(incarnation);
            // Without it what is here may be enough.
            served(batcher, trainer)
        };
        self.serve(served);
    }

    /// What a checkpoint keeps of a deterministic run's episodes, as of the batch that was taken last: until the trainer asks
    /// for the next one, that is its own. Also after the end.
    pub fn episodes(&self) -> Option<SavedEpisodes> {
        let state = self.lock();
        state.batcher.as_ref().map_or_else(|| state.last_episodes.clone(), Batcher::save_episodes)
    }

    /// Decides what was taken out; gives the batch, if there is one.
    fn settle(&self, taken: Taken, oldest: WeightsVersion) -> Option<SettledBatch> {
        self.places.add_permits(taken.len());
        let Taken { batch, stale } = taken;
        stale.into_iter().for_each(Stale::refuse);
        batch.map(|batch| batch.settle(oldest))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the queue panics")
    }
}

/// Takes what there is for a trainer that waits, if it is enough; to be decided outside of the lock.
fn served(batcher: &mut Batcher, trainer: &mut Trainer) -> Option<(Taken, WeightsVersion)> {
    match *trainer {
        Trainer::Waits(oldest) if batcher.has_enough() => {
            *trainer = Trainer::IsServed;
            Some((batcher.take(), oldest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::admission::{PolicyLagGate, Reply};
    use crate::handover::batch_size::{BatchSize, FollowPlan};
    use crate::handover::batcher::tests::admitted;
    use crate::handover::ledger::{Disposition, Ledger};
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use tokio::sync::mpsc;

    struct Bench {
        queue: Arc<BatchQueue>,
        ledger: Arc<Ledger>,
        replies: (mpsc::Sender<Reply>, mpsc::Receiver<Reply>),
        gate: PolicyLagGate,
    }

    /// Two trajectories a batch, three places.
    fn bench() -> Bench {
        let gate = PolicyLagGate::new(3);
        let queue = Arc::new(BatchQueue::new(Batcher::new(BatchSize::Fixed(2), gate.clone(), None, 0), 3));
        Bench { queue, ledger: Arc::default(), replies: mpsc::channel(16), gate }
    }

    impl Bench {
        async fn put(&self, sequence: u64, version: u64) {
            self.put_of(0, sequence, version).await;
        }

        async fn put_of(&self, actor: u32, sequence: u64, version: u64) {
            self.queue.put(admitted(actor, sequence, version, &self.ledger, &self.replies.0)).await;
        }

        fn receipt(&mut self) -> (u64, Disposition, u64) {
            match self.replies.1.try_recv() {
                Ok(Reply::Receipt { sequence, disposition, oldest }) => (sequence.0, disposition, oldest.0),
                other => panic!("expected a receipt, got {other:?}"),
            }
        }

        /// A trainer that takes a batch, in a thread that may or may not wait by now.
        fn trainer(&self) -> std::thread::JoinHandle<Option<StagedBatch>> {
            let queue = self.queue.clone();
            std::thread::Builder::new().name("trainer".into()).spawn(move || queue.take(WeightsVersion(7))).unwrap()
        }

        /// Returns when the trainer of this bench waits.
        fn until_it_waits(&self) {
            let until = Instant::now() + Duration::from_secs(60);
            while !matches!(self.queue.lock().trainer, Trainer::Waits(_)) {
                assert!(Instant::now() < until, "the trainer does not wait");
                std::thread::yield_now();
            }
        }
    }

    #[tokio::test]
    async fn whoever_completes_a_batch_sends_the_receipts_of_a_trainer_that_waits() {
        let mut bench = bench();
        let trainer = bench.trainer();
        bench.until_it_waits();
        bench.put(0, 0).await;
        assert_eq!(bench.ledger.account().trained, 0);
        bench.put(1, 0).await;
        // Before the trainer has had to do anything.
        assert_eq!([bench.receipt(), bench.receipt()], [(0, Disposition::Trained, 7), (1, Disposition::Trained, 7)]);
        assert_eq!(trainer.join().unwrap().unwrap().batch.trajectories().len(), 2);
    }

    #[tokio::test]
    async fn a_trainer_goes_on_waiting_where_what_came_has_become_too_old() {
        let mut bench = bench();
        let trainer = bench.trainer();
        bench.until_it_waits();
        bench.put(0, 0).await;
        bench.gate.advance(WeightsVersion(4));
        bench.put(1, 4).await;
        assert_eq!(bench.receipt(), (0, Disposition::Stale, 1));
        bench.until_it_waits();
        bench.put(2, 4).await;
        assert_eq!([bench.receipt(), bench.receipt()], [(1, Disposition::Trained, 7), (2, Disposition::Trained, 7)]);
        assert_eq!(trainer.join().unwrap().unwrap().batch.trajectories().len(), 2);
    }

    #[tokio::test]
    async fn a_trainer_that_comes_back_takes_what_is_there_and_refuses_what_has_become_too_old() {
        let mut bench = bench();
        bench.put(0, 0).await;
        bench.put(1, 4).await;
        bench.put(2, 4).await;
        bench.gate.advance(WeightsVersion(4));
        let staged = bench.queue.take(WeightsVersion(3)).unwrap();
        assert_eq!(bench.receipt(), (0, Disposition::Stale, 1));
        assert_eq!(bench.receipt(), (1, Disposition::Trained, 3));
        assert_eq!(staged.batch.trajectories().len(), 2);
        // The places are free again.
        for sequence in 3..6 {
            bench.put(sequence, 4).await;
        }
    }

    /// Four actors with one trajectory each, of which an update takes two.
    fn following(bench: &mut Bench) {
        let plan = FollowPlan { lag_target: 2.0, in_flight_max: 1, least: 1, most: 8 };
        let batcher = Batcher::new(BatchSize::following(plan), bench.gate.clone(), None, 0);
        bench.queue = Arc::new(BatchQueue::new(batcher, 16));
    }

    #[tokio::test]
    async fn a_batch_that_follows_the_actors_is_not_held_up_by_one_that_left_or_that_does_not_come() {
        let mut bench = bench();
        following(&mut bench);
        for actor in 0..4 {
            bench.put_of(actor, 0, 0).await;
        }
        let trained = |staged: Option<StagedBatch>| staged.unwrap().batch.trajectories().len();
        assert_eq!([0, 1].map(|_| trained(bench.queue.take(WeightsVersion(0)))), [2, 2]);
        // One comes; two of the others leave while the trainer waits for one more.
        let trainer = bench.trainer();
        bench.put_of(0, 1, 0).await;
        [1, 2].into_iter().for_each(|actor| bench.queue.leave(Incarnation(actor)));
        assert_eq!(trained(trainer.join().unwrap()), 1);
        // Of four that came one comes again; nobody says that the others will not.
        for actor in 0..4 {
            bench.put_of(actor, 2, 0).await;
        }
        assert_eq!([0, 1].map(|_| trained(bench.queue.take(WeightsVersion(0)))), [2, 2]);
        bench.put_of(0, 3, 0).await;
        assert_eq!(trained(bench.queue.take(WeightsVersion(0))), 1);
        assert_eq!(bench.ledger.account().trained, 10);
    }

    #[test]
    fn patience_is_some_times_the_usual_time_between_two_batches_within_bounds() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.patience(), PATIENCE_FIRST);
        (0..100).for_each(|i| pace.mark(start + i * Duration::from_millis(100)));
        let patience = pace.patience().as_secs_f64();
        assert!((patience - 0.3).abs() < 0.01, "{patience}");
        // An hour without actors is no pace.
        pace.mark(start + Duration::from_secs(3600));
        assert!(pace.patience() < PATIENCE_FIRST);
        // Batches that have become slower, with 64 actors that need 80 s each, are.
        (1..50).for_each(|i| pace.mark(start + Duration::from_secs(3600) + i * Duration::from_secs(5)));
        let patience = pace.patience().as_secs_f64();
        assert!((patience - 15.0).abs() < 0.5, "{patience}");
        (1..50).for_each(|i| pace.mark(start + Duration::from_secs(7200) + i * Duration::from_secs(50)));
        assert_eq!(pace.patience(), PATIENCE_MAX);
        (0..200).for_each(|_| pace.mark(start + Duration::from_secs(9650)));
        assert_eq!(pace.patience(), PATIENCE_MIN);
    }

    #[tokio::test]
    async fn a_full_queue_lets_nobody_in_until_a_batch_is_taken() {
        let bench = bench();
        for sequence in 0..3 {
            bench.put(sequence, 0).await;
        }
        let mut waiting = Box::pin(bench.put(3, 0));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        bench.queue.take(WeightsVersion(0)).unwrap();
        waiting.await;
        drop(bench.queue.take(WeightsVersion(0)).unwrap());
        assert_eq!(bench.ledger.account().trained, 4);
    }

    #[tokio::test]
    async fn the_episodes_of_a_deterministic_run_are_there_after_the_end() {
        let mut bench = bench();
        assert_eq!(bench.queue.episodes(), None);
        let lockstep = Some(impala_common::agreement::Lockstep { actors: 1, trajectories_per_batch: 2 });
        bench.queue = Arc::new(BatchQueue::new(Batcher::new(BatchSize::Fixed(2), bench.gate.clone(), lockstep, 0), 3));
        for sequence in 0..3 {
            bench.put(sequence, 0).await;
        }
        drop(bench.queue.take(WeightsVersion(0)).unwrap());
        let episodes = bench.queue.episodes();
        assert!(episodes.is_some());
        bench.queue.close();
        assert_eq!(bench.queue.episodes(), episodes);
    }

    #[tokio::test]
    async fn the_end_refuses_what_is_left_and_wakes_the_trainer() {
        let bench = bench();
        let trainer = bench.trainer();
        bench.put(0, 0).await;
        bench.queue.close();
        assert!(trainer.join().unwrap().is_none());
        bench.put(1, 0).await;
        assert_eq!(bench.ledger.account().refused_shutdown, 2);
        assert!(bench.queue.take(WeightsVersion(0)).is_none());
    }
}
