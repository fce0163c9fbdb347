//! The paper's ablation in small (Espeholt et al. 2018, section 5.2.2): with actors that lag far behind on purpose, V-trace
//! learns where uncorrected updates do not. One process, no network, fixed lag: actor and learner library by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::Parser;
use impala_actor::rollout::{RollPlan, Roller};
use impala_actor::weights::Weights;
use impala_common::ids::{Sequence, WeightsVersion};
use impala_learner::config::Config;
use impala_learner::config::settings::GivenSettings;
use impala_learner::handover::progress::Progress;
use impala_learner::learn::batch::Batch;
use impala_learner::learn::compute::ComputeDevice;
use impala_learner::learn::initialise::initial_parameters;
use impala_learner::learn::step::LearnerStep;
use std::collections::VecDeque;
use std::sync::Arc;

/// Updates by which every policy is behind.
const LAG: usize = 40;
const FRAMES: u64 = 120_000;
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: GivenSettings,
}

#[test]
fn with_stale_actors_vtrace_beats_uncorrected_updates() {
    let results = |correction| -> Vec<f64> { SEEDS.map(|seed| mean_return(correction, seed)).to_vec() };
    let (vtrace, none) = (results("vtrace"), results("none"));
    println!("mean return after {FRAMES} frames at lag {LAG}: vtrace {vtrace:.0?}, uncorrected {none:.0?}");
    let mean = |r: &[f64]| r.iter().sum::<f64>() / r.len() as f64;
    assert!(mean(&vtrace) > 1.5 * mean(&none), "vtrace {vtrace:?}, uncorrected {none:?}");
}

/// Mean return of the last 100 episodes after training with weights that are `LAG` updates old.
fn mean_return(correction: &str, seed: u64) -> f64 {
    let seed_text = seed.to_string();
    let flags = ["ablation", "--correction", correction, "--seed", &seed_text];
    let config = Config::resolve(Flags::parse_from(flags).settings, None, &impala_env::builtin()).unwrap();
    let network = config.network();
    let mut roller = Roller::new(RollPlan::of(&config.agreement(), config.environment().clone()));
    let parameters = initial_parameters(&network, seed);
    let mut history: VecDeque<_> = [weights(0, &parameters)].into();
    let mut step = LearnerStep::new(&network, parameters, config.step(), &ComputeDevice::cpu());
    let mut progress = Progress::new(f64::MAX);
    while progress.frames < FRAMES {
        let update = progress.updates;
        let trajectory = roller.unroll(Sequence(update), &history[0]).unwrap();
        let episodes = roller.ended_episodes().to_vec();
        let batch = Batch::new(vec![trajectory]);
        let frames = batch.frames() as u64;
        step.run(&batch, config.optimisation.learning_rate).unwrap();
        progress.record_update(frames, episodes.into_iter());
        history.push_back(weights(update + 1, step.parameters()));
        if history.len() > LAG + 1 {
            history.pop_front();
        }
    }
    progress.mean_return().unwrap()
}

fn weights(version: u64, parameters: &[f32]) -> Arc<Weights> {
    Arc::new(Weights { version: WeightsVersion(version), parameters: parameters.to_vec() })
}
