//! A run in simulated time: the real actors' rollers, the real batcher and the real learner step, in the order in which events
//! would come on a machine where each actor has a core. Only time is made up, from costs that were measured.
//!
//! An actor begins when it has its receipt, with the weights that were the newest when that left; its unroll and the message's
//! way take their time; the learner reads one message after the other, takes a batch when there is one and it is idle, sends
//! receipts, and publishes at the end of the update. Times of actors vary at random; everything is a function of the seed.

use impala_actor::rollout::{RollPlan, Roller};
use impala_actor::weights::Weights;
use impala_common::ids::{ActorIndex, Incarnation, Sequence, WeightsVersion};
use impala_common::trajectory::Trajectory;
use impala_learner::app::follow_plan;
use impala_learner::config::Config;
use impala_learner::handover::admission::{Admitted, PolicyLagGate, Reply, StagedBatch, Ticket};
use impala_learner::handover::batch_size::BatchSize;
use impala_learner::handover::batcher::{Batcher, Stale};
use impala_learner::handover::ledger::Ledger;
use impala_learner::handover::progress::Progress;
use impala_learner::learn::compute::ComputeDevice;
use impala_learner::learn::initialise::initial_parameters;
use impala_learner::learn::step::LearnerStep;
use impala_policy::evaluate::{self, EvaluationPlan, Series};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Episodes of a try to verify the policy.
const EPISODES: usize = 100;
/// Part of its mean by which the time of an unroll or a message varies, up or down.
const VARIATION: f64 = 0.1;

/// What things take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// An unroll.
    pub unroll: Duration,
    /// A trajectory's way to the learner and the receipt's way back, together, without anybody's work.
    pub way: Duration,
    /// The learner's work on a message, one after the other.
    pub message: Duration,
    /// An update, whatever its size.
    pub update: Duration,
    /// An update, for each column.
    pub column: Duration,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Actors at the beginning.
    pub actors: u32,
    /// Actors that come later, all at once.
    pub joining: u32,
    /// Frames trained after solving when they come.
    pub joining_after: u64,
}

/// What becomes of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// Frames and simulated time until the version that was verified.
    pub solved: Option<(u64, Duration)>,
    /// Tries to verify.
    pub tries: u32,
    /// Mean policy lag, updates.
    pub lag: f64,
    /// Mean effective sample size until the end, as a share of the frames.
    pub effective: f64,
    /// Frames trained.
    pub frames: u64,
    /// Of the mean returns after solving: the worst, and the share below the goal, by updates.
    pub after: Option<(f64, f64)>,
}

/// When, in nanoseconds; then the order in which events were made.
type Moment = (u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(usize),
    Updated,
}

struct Actor {
    roller: Roller,
    next: Sequence,
    made: Option<Trajectory>,
    replies: (mpsc::Sender<Reply>, mpsc::Receiver<Reply>),
}

struct Simulation<'a> {
    config: &'a Config,
    fleet: Fleet,
    costs: Costs,
    now: u64,
    events: BinaryHeap<Reverse<(Moment, Event)>>,
    count: u64,
    rng: StdRng,
    actors: Vec<Actor>,
    ledger: Arc<Ledger>,
    gate: PolicyLagGate,
    batcher: Batcher,
    reads_until: u64,
    weights: Arc<Weights>,
    /// Those of the update under way.
    next_weights: Option<Arc<Weights>>,
    step: LearnerStep,
    progress: Progress,
    effective: (f64, u64),
    result: Simulated,
    reports: (u64, u64, f64),
    next_try: u64,
}

/// Runs to the verified goal and `after` frames beyond it, or to the configured budget of frames.
///
/// # Errors
/// The numbers ran away, or the network does not fit the environment.
///
/// # Panics
/// If trajectories are not finite, or nothing more can happen: a bug.
pub fn simulate(config: &Config, fleet: Fleet, costs: Costs, after: u64) -> anyhow::Result<Simulated> {
    let network = config.network();
    let mut step = LearnerStep::new(
        &network,
        initial_parameters(&network, config.task.seed),
        config.step(),
        &ComputeDevice::cpu(),
    );
    let gate = PolicyLagGate::new(config.batching.policy_lag_max);
    let size = config.fixed_trajectories().map_or_else(|| BatchSize::following(follow_plan(config)), BatchSize::Fixed);
    let result = Simulated { solved: None, tries: 0, lag: 0.0, effective: 0.0, frames: 0, after: None };
    let simulation = Simulation {
        config,
        fleet,
        costs,
        now: 0,
        events: BinaryHeap::new(),
        count: 0,
        rng: StdRng::seed_from_u64(config.task.seed),
        actors: Vec::new(),
        ledger: Arc::default(),
        batcher: Batcher::new(size, gate.clone(), None, 0),
        gate,
        reads_until: 0,
        weights: Arc::new(Weights { version: WeightsVersion(0), parameters: step.parameters().to_vec() }),
        next_weights: None,
        step,
        progress: Progress::new(config.solved_return()),
        effective: (0.0, 0),
        result,
        reports: (0, 0, f64::INFINITY),
        next_try: 0,
    };
    simulation.run(after)
}

impl Simulation<'_> {
    fn run(mut self, after: u64) -> anyhow::Result<Simulated> {
        self.join(self.fleet.actors);
        loop {
            let Reverse(((at, _), event)) = self.events.pop().expect("every actor has a trajectory on its way");
            self.now = at;
            match event {
                Event::Arrives(actor) => self.read(actor),
                Event::Updated => {
                    self.weights = self.next_weights.take().expect("an update is under way");
                    self.gate.advance(self.weights.version);
                }
            }
            while self.next_weights.is_none() {
                let taken = self.batcher.take();
                taken.stale.into_iter().for_each(Stale::refuse);
                let Some(batch) = taken.batch else { break };
                self.update(batch.settle(self.gate.current()).stage())?;
                if self.is_over(after) {
                    return Ok(self.result());
                }
                let solved = self.result.solved.map(|(frames, _)| frames + self.fleet.joining_after);
                if solved.is_some_and(|from| self.progress.frames >= from) {
                    let joining = std::mem::take(&mut self.fleet.joining);
                    self.join(joining);
                }
            }
            // Whoever has a receipt goes on.
            for actor in 0..self.actors.len() {
                if self.actors[actor].replies.1.try_recv().is_ok() {
                    self.act(actor);
                }
            }
        }
    }

    /// So many more actors begin.
    fn join(&mut self, count: u32) {
        for _ in 0..count {
            let index = self.actors.len();
            let mut agreement = self.config.agreement();
            agreement.actor_index = ActorIndex(u32::try_from(index).expect("few actors"));
            let roller = Roller::new(RollPlan::of(&agreement, self.config.environment().clone()));
            let replies = mpsc::channel(self.config.rollout.in_flight_max + 1);
            self.actors.push(Actor { roller, next: Sequence(0), made: None, replies });
            self.act(index);
        }
    }

    fn varied(&mut self, time: Duration) -> u64 {
        let factor = 1.0 + VARIATION * (2.0 * self.rng.random::<f64>() - 1.0);
        (time.as_nanos() as f64 * factor) as u64
    }

    fn push(&mut self, after: u64, event: Event) {
        self.count += 1;
        self.events.push(Reverse(((self.now + after, self.count), event)));
    }

    /// The actor's next trajectory, with the weights that come with its receipt.
    fn act(&mut self, index: usize) {
        let time = self.varied(self.costs.unroll) + self.varied(self.costs.way);
        let actor = &mut self.actors[index];
        let made = actor.roller.unroll(actor.next, &self.weights).expect("finite weights make finite trajectories");
        actor.next = Sequence(actor.next.0 + 1);
        actor.made = Some(made);
        self.push(time, Event::Arrives(index));
    }

    /// The learner reads the actor's trajectory, after those that came before.
    fn read(&mut self, index: usize) {
        if self.reads_until > self.now {
            let wait = self.reads_until - self.now;
            return self.push(wait, Event::Arrives(index));
        }
        self.reads_until = self.now + self.costs.message.as_nanos() as u64;
        let actor = &mut self.actors[index];
        let trajectory = actor.made.take().expect("it is on its way");
        let id = u32::try_from(index).expect("few actors");
        let ticket = Ticket::new(
            ActorIndex(id),
            Incarnation(id.into()),
            trajectory.sequence,
            self.ledger.clone(),
            actor.replies.0.clone(),
        );
        if let Some(stale) = self.batcher.insert(Admitted { trajectory, ticket }) {
            stale.refuse();
        }
    }

    fn update(&mut self, staged: StagedBatch) -> anyhow::Result<()> {
        let StagedBatch { batch, episodes, .. } = staged;
        let current = self.gate.current();
        batch.weights_versions().for_each(|version| self.progress.lag.record(version.lag_behind(current)));
        let rate = self.config.learning_rate().at(self.progress.frames);
        let report = self.step.run(&batch, rate)?;
        self.effective.0 += f64::from(report.ratios.effective);
        self.effective.1 += 1;
        self.progress.record_update(batch.frames() as u64, episodes.into_iter());
        let parameters = self.step.parameters().to_vec();
        self.next_weights = Some(Arc::new(Weights { version: WeightsVersion(current.0 + 1), parameters }));
        let columns = u32::try_from(batch.columns())?;
        self.push((self.costs.update + self.costs.column * columns).as_nanos() as u64, Event::Updated);
        self.judge()
    }

    /// Whether the task is solved, and what the mean return is from then on.
    fn judge(&mut self) -> anyhow::Result<()> {
        let (frames, goal) = (self.progress.frames, self.config.solved_return());
        let Some(mean) = self.progress.mean_return().filter(|_| self.progress.episodes >= EPISODES as u64) else {
            return Ok(());
        };
        if self.result.solved.is_some() {
            let (count, below, worst) = self.reports;
            self.reports = (count + 1, below + u64::from(mean < goal), worst.min(mean));
            return Ok(());
        }
        if mean < goal || frames < self.next_try {
            return Ok(());
        }
        self.result.tries += 1;
        self.next_try = frames + self.config.goal.verify_every;
        let series = Series::Try(self.result.tries);
        let plan = EvaluationPlan { series, ..EvaluationPlan::new(EPISODES, self.config.task.seed) };
        let network = self.config.network();
        let played = evaluate::play(self.config.environment(), &network, self.step.parameters(), plan, &|| false)?;
        if played.mean() >= goal {
            self.result.solved = Some((frames, Duration::from_nanos(self.now)));
        }
        Ok(())
    }

    fn is_over(&self, after: u64) -> bool {
        let frames = self.progress.frames;
        match self.result.solved {
            Some((solved, _)) => frames >= solved + after,
            None => frames >= self.config.goal.frames_max,
        }
    }

    fn result(self) -> Simulated {
        let (count, below, worst) = self.reports;
        Simulated {
            lag: self.progress.lag.mean(),
            effective: self.effective.0 / self.effective.1.max(1) as f64,
            frames: self.progress.frames,
            after: (count > 0).then(|| (worst, below as f64 / count as f64)),
            ..self.result
        }
    }
}
