//! Rows of single parts on one core: environment, actor, yardstick, learner step, V-trace.

use super::Plan;
use crate::figures::{Sample, Target, Unit, value};
use crate::timing::rate;
use crate::workloads::{Correction, Learning, Stepping, UNROLL_LENGTH, batch_config, roller};
use crate::yardstick::Yardstick;
use impala_common::ids::Sequence;
use impala_env::seed::{self, Purpose};
use impala_learner::learn::initialise::initial_parameters;
use rand::RngExt;

/// B of the learner's rows.
const BATCH_SIZE: usize = 256;

/// Networks of the learner's and the yardstick's rows, and the target of a learner's step, frames/s.
const NETWORKS: [(&str, &str, Option<f64>); 4] = [
    ("64,64", "tanh", Some(650_000.0)),
    ("128,128", "tanh", Some(240_000.0)),
    ("256,256", "tanh", Some(100_000.0)),
    ("64,64", "relu", None),
];

fn at_least(bound: f64) -> Option<Target> {
    Some(Target::AtLeast(bound))
}

/// Name of the figure that the ceiling is composed of.
pub(super) fn actor_name(environments: usize) -> String {
    let plural = if environments == 1 { "" } else { "s" };
    format!("actor alone, {environments} environment{plural}, one core")
}

/// Name of the figure that the ceiling is composed of.
pub(super) fn learner_name(hidden: &str, activation: &str) -> String {
    format!("learner step alone, {hidden} {activation}, {UNROLL_LENGTH}x{BATCH_SIZE}, one core")
}

fn yardstick_name(hidden: &str, activation: &str) -> String {
    format!("hand-written forward and backward, {hidden} {activation}, {UNROLL_LENGTH}x{BATCH_SIZE}, one core")
}

pub(super) fn environment(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let row = |(environments, target): (usize, Option<Target>)| {
        let mut stepping = Stepping::new(&impala_env::builtin().kinds()[0], environments);
        let value = rate(plan.seconds, stepping.frames(), || stepping.unroll());
        let name = format!("environment alone, {environments} at once, random actions, one core");
        Sample::new(name, Unit::FramesPerSecond, value).with_target(target)
    };
    Ok([(64, at_least(30e6)), (1, None)].map(row).to_vec())
}

pub(super) fn actor(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    // The throughput configuration's own number of environments is needed for the ceiling.
    let mut sizes = vec![64, 1, 8, 256, plan.throughput.environments_per_actor];
    sizes.sort_unstable();
    sizes.dedup();
    let row = |environments: usize| {
        let config = batch_config(environments, &[]);
        let (mut roller, weights) = roller(&config);
        let value = rate(plan.seconds, UNROLL_LENGTH * environments, || {
            roller.unroll(Sequence(0), &weights).expect("initial weights are finite");
        });
        let target = if environments == 64 { at_least(2e6) } else { None };
        Sample::new(actor_name(environments), Unit::FramesPerSecond, value).with_target(target)
    };
    Ok(sizes.into_iter().map(row).collect())
}

pub(super) fn yardstick(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let row = |(hidden, activation, _): (&str, &str, _)| {
        let config = batch_config(BATCH_SIZE, &["--hidden", hidden, "--activation", activation]);
        let spec = config.network();
        let parameters = initial_parameters(&spec, config.task.seed);
        let frames = UNROLL_LENGTH * BATCH_SIZE;
        let mut rng = seed::rng(1, Purpose::Initialisation);
        let mut draws = |len: usize| -> Vec<f32> { (0..len).map(|_| rng.random::<f32>() - 0.5).collect() };
        let (observations, output_gradients) =
            (draws(frames * spec.observation_len), draws(frames * (spec.head.outputs() + 1)));
        let mut yardstick = Yardstick::new(&spec);
        let mut gradient = Vec::new();
        let value = rate(plan.seconds, frames, || {
            yardstick.gradient(&parameters, &observations, &output_gradients, &mut gradient);
        });
        Sample::new(yardstick_name(hidden, activation), Unit::FramesPerSecond, value)
    };
    Ok(NETWORKS.map(row).to_vec())
}

pub(super) fn learner(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let row = |(hidden, activation, target): (&str, &str, Option<f64>)| {
        let mut learning = Learning::new(&batch_config(BATCH_SIZE, &["--hidden", hidden, "--activation", activation]));
        let value = rate(plan.seconds, learning.frames(), || learning.step());
        Sample::new(learner_name(hidden, activation), Unit::FramesPerSecond, value)
            .with_target(target.map(Target::AtLeast))
    };
    Ok(NETWORKS.map(row).to_vec())
}

pub(super) fn share_of_yardstick(samples: &[Sample]) -> Vec<Sample> {
    let share = |(hidden, activation, _): (&str, &str, _)| {
        let learner = value(samples, &learner_name(hidden, activation))?;
        let yardstick = value(samples, &yardstick_name(hidden, activation))?;
        let name = format!("learner step, {hidden} {activation}: share of the hand-written passes");
        Some(Sample::new(name, Unit::Share, learner / yardstick))
    };
    NETWORKS.into_iter().filter_map(share).collect()
}

pub(super) fn vtrace(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let mut correction = Correction::new();
    let value = rate(plan.seconds, Correction::FRAMES, || correction.run());
    Ok(vec![Sample::new("V-trace alone, 20x256, one core", Unit::FramesPerSecond, value)])
}
