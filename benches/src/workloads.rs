//! What is measured: configurations, trajectories, batches and updates as a run of CartPole makes them. Criterion benches
//! and ladder share them; nothing here measures.

use clap::Parser;
use impala_actor::rollout::{RollPlan, Roller};
use impala_actor::weights::Weights;
use impala_common::ids::{Sequence, WeightsVersion};
use impala_common::trajectory::{Trajectory, TrajectoryParts};
use impala_env::array::ArrayRef;
use impala_env::seed::{self, Purpose};
use impala_env::{EnvironmentKind, StepBuffer, VectorEnvironment};
use impala_learner::config::Config;
use impala_learner::config::settings::GivenSettings;
use impala_learner::learn::batch::Batch;
use impala_learner::learn::compute::ComputeDevice;
use impala_learner::learn::initialise::initial_parameters;
use impala_learner::learn::step::LearnerStep;
use impala_learner::learn::vtrace::{VtraceClipping, VtraceInputs, VtraceReturns, vtrace};
use rand::RngExt;
use std::sync::Arc;

/// T of all workloads.
pub const UNROLL_LENGTH: usize = 20;
/// Hidden layers of the network with 10 million parameters.
pub const HIDDEN_10M: &str = "3160,3160";

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: GivenSettings,
}

/// The configuration that a learner makes of these flags, on one thread of the CPU.
///
/// # Panics
/// If the flags are not sound: they stand in this crate.
pub fn config(flags: &[&str]) -> Config {
    let flags = Flags::parse_from([&["bench", "--device", "cpu", "--learner-threads", "1"], flags].concat());
    Config::resolve(flags.settings, None, &impala_env::builtin()).expect("the bench's own flags are sound")
}

/// As [`config`], with so many environments that fill a batch by themselves.
pub fn batch_config(environments: usize, flags: &[&str]) -> Config {
    let (unroll_length, environments) = (UNROLL_LENGTH.to_string(), environments.to_string());
    let (unrolls, each) = (["--unroll-length", &unroll_length], ["--environments-per-actor", &environments]);
    config(&[&unrolls, &each, &["--batch-size", &environments], flags].concat())
}

/// Environments and policy of one actor, and the initial weights.
pub fn roller(config: &Config) -> (Roller, Arc<Weights>) {
    let parameters = initial_parameters(&config.network(), config.task.seed);
    let roller = Roller::new(RollPlan::of(&config.agreement(), config.environment().clone()));
    (roller, Arc::new(Weights { version: WeightsVersion(0), parameters }))
}

/// One unroll with the initial weights.
pub fn trajectory(config: &Config) -> Trajectory {
    let (mut roller, weights) = roller(config);
    roller.unroll(Sequence(0), &weights).expect("initial weights are finite")
}

/// Copies of a trajectory, numbered from `first` on.
pub fn numbered(trajectory: &Trajectory, first: u64, count: u64) -> Vec<Trajectory> {
    let copy = |sequence| {
        let parts = TrajectoryParts { sequence: Sequence(sequence), ..trajectory.clone().into_parts() };
        Trajectory::try_new(trajectory.shape().clone(), parts).expect("a copy is as valid as its original")
    };
    (first..first + count).map(copy).collect()
}

/// Environments alone, stepped with actions drawn beforehand.
pub struct Stepping {
    environment: Box<dyn VectorEnvironment>,
    actions: Vec<Vec<u8>>,
    next: usize,
    buffer: StepBuffer,
}

impl Stepping {
    /// Environments at the start of an episode. Under random actions an episode of CartPole takes some 22 steps, so that
    /// resets cost more here than in a trained run.
    pub fn new(kind: &EnvironmentKind, environments: usize) -> Self {
        let spec = kind.spec();
        let mut rng = seed::rng(1, Purpose::Policy { actor: 0 });
        let action_count = u8::try_from(spec.actions.choices()[0]).expect("the environments measured have few actions");
        // A prime number of rows, so that no period of the environments meets it.
        let mut row = |_| (0..environments).map(|_| rng.random_range(0..action_count)).collect();
        Self {
            environment: kind.make(impala_env::rngs(1, 0, environments)),
            actions: (0..1021).map(&mut row).collect(),
            next: 0,
            buffer: StepBuffer::new(spec, environments),
        }
    }

    /// T steps of all environments.
    pub fn unroll(&mut self) {
        for _ in 0..UNROLL_LENGTH {
            self.buffer.step(&mut *self.environment, ArrayRef::U8(&self.actions[self.next]));
            self.next = (self.next + 1) % self.actions.len();
        }
    }

    /// Environment steps of one [`unroll`](Self::unroll).
    pub fn frames(&self) -> usize {
        UNROLL_LENGTH * self.buffer.rewards.len()
    }
}

/// A learner and the batch that it trains on again and again.
pub struct Learning {
    step: LearnerStep,
    batch: Batch,
    learning_rate: f32,
}

impl Learning {
    /// At version 0, with a batch of one trajectory. Call it before anything else uses rayon: its pool is made with the
    /// configured threads once a process.
    ///
    /// # Panics
    /// If the initial weights are not finite: a bug.
    pub fn new(config: &Config) -> Self {
        let _ = rayon::ThreadPoolBuilder::new().num_threads(config.compute.learner_threads).build_global();
        let (mut roller, weights) = roller(config);
        let trajectory = roller.unroll(Sequence(0), &weights).expect("initial weights are finite");
        let parameters = weights.parameters.clone();
        let step = LearnerStep::new(&config.network(), parameters, config.step(), &ComputeDevice::cpu());
        Self { step, batch: Batch::new(vec![trajectory]), learning_rate: config.optimisation.learning_rate }
    }

    /// `T * B`
    pub fn frames(&self) -> usize {
        self.batch.frames()
    }

    /// One update.
    ///
    /// # Panics
    /// If the numbers run away, which one batch at the default learning rate does not bring about.
    pub fn step(&mut self) {
        self.step.run(&self.batch, self.learning_rate).expect("training on one batch stays finite");
    }

    /// The flat parameters.
    pub fn parameters(&mut self) -> &[f32] {
        self.step.parameters()
    }
}

/// The parameters before and after one real update, after some others: what a delta of the weights is made from.
pub fn consecutive_versions(hidden: &str) -> [Vec<f32>; 2] {
    /// RMSProp's mean of squares is far from its level in the first updates.
    const UPDATES_BEFORE: usize = 5;
    let mut learning = Learning::new(&batch_config(8, &["--hidden", hidden]));
    for _ in 0..UPDATES_BEFORE {
        learning.step();
    }
    let before = learning.parameters().to_vec();
    learning.step();
    [before, learning.parameters().to_vec()]
}

/// V-trace over `[T, 256]` numbers.
pub struct Correction {
    array: [Vec<f32>; 5],
    bootstrap: Vec<f32>,
    returns: VtraceReturns,
}

impl Correction {
    /// B
    const COLUMNS: usize = 256;

    /// Ratios around 1 and an episode's end now and then.
    pub fn new() -> Self {
        let mut rng = seed::rng(1, Purpose::Initialisation);
        let mut draws = |low: f32, high: f32| -> Vec<f32> {
            (0..Self::FRAMES).map(|_| low + (high - low) * rng.random::<f32>()).collect()
        };
        let (behaviour, target, rewards, values) =
            (draws(-0.8, -0.6), draws(-0.8, -0.6), draws(0.0, 0.1), draws(0.0, 5.0));
        let discounts = draws(0.0, 1.0).iter().map(|x| if *x < 0.05 { 0.0 } else { 0.99 }).collect();
        let array = [behaviour, target, discounts, rewards, values];
        Self { array, bootstrap: vec![1.0; Self::COLUMNS], returns: VtraceReturns::default() }
    }

    /// `T * B`
    pub const FRAMES: usize = UNROLL_LENGTH * Self::COLUMNS;

    /// Targets and advantages of the whole batch.
    pub fn run(&mut self) {
        let clipping = VtraceClipping { rho_bar: 1.0, c_bar: 1.0, lambda: 1.0, pg_rho_bar: 1.0 };
        let [behaviour_log_probs, target_log_probs, discounts, rewards, values] = &self.array;
        let inputs = VtraceInputs {
            columns: Self::COLUMNS,
            behaviour_log_probs,
            target_log_probs,
            discounts,
            rewards,
            values,
            bootstrap_values: &self.bootstrap,
        };
        vtrace(&inputs, &clipping, &mut self.returns);
    }
}

impl Default for Correction {
    fn default() -> Self {
        Self::new()
    }
}
