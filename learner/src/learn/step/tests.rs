use super::*;
use crate::learn::batch::Columns;
use crate::learn::initialise::initial_parameters;
use crate::learn::network::Network;
use crate::learn::vtrace::VtraceReturns;
use impala_common::trajectory::{Trajectory, TrajectoryParts, TrajectoryShape};
use impala_env::Outcome;
use impala_policy::activation::Activation;
use impala_policy::distribution::{Distribution, Frames, Memory};
use impala_policy::policy::{Decision, Policy};

fn spec(activation: Activation) -> NetworkSpec {
    NetworkSpec { observation_len: 3, hidden: vec![5, 4], activation, head: PolicyHead::single(2), normalises: false }
}

pub(super) fn config() -> StepConfig {
    StepConfig {
        correction: Correction::Vtrace,
        clipping: VtraceClipping { rho_bar: 1.0, c_bar: 1.0, lambda: 0.95, pg_rho_bar: 1.0 },
        costs: LossCosts { baseline: 0.5, entropy: 0.01 },
        discount: 0.9,
        reward_scale: 0.5,
        normalises_rewards: false,
        reward_clip: None,
        gradient_norm_max: 1e9,
        optimiser: OptimiserKind::RmsProp { decay: 0.9, momentum: 0.0, epsilon: 0.1 },
        divisor: Divisor::Largest,
        noise_columns: Some(2),
    }
}

/// A batch of one trajectory; observations are of length 3, actions 0 or 1.
pub(super) fn batch_of(unroll_length: usize, environments: usize, parts: TrajectoryParts) -> Batch {
    let shape = TrajectoryShape::plain(unroll_length, environments, 3, 2);
    Batch::new(vec![Trajectory::try_new(shape, parts).unwrap()])
}

/// Two columns of three steps; one terminated, one truncated.
pub(super) fn parts() -> TrajectoryParts {
    let observation = |i: usize| ((i * 7 % 11) as f32 - 5.0) * 0.2;
    TrajectoryParts {
        observations: (0..24).map(observation).collect(),
        final_observations: (24..27).map(observation).collect(),
        actions: vec![0_u8, 1, 1, 0, 0, 1].into(),
        behaviour_log_probs: vec![-0.7, -0.4, -1.2, -0.6, -0.9, -0.1],
        rewards: vec![1.0, -0.5, 2.0, 0.3, 0.7, 1.5],
        outcomes: [0, 0, 1, 2, 0, 0].map(|o| Outcome::from_u8(o).unwrap()).to_vec(),
        ..TrajectoryParts::default()
    }
}

pub(super) fn batch() -> Batch {
    batch_of(3, 2, parts())
}

fn gathered(batch: &Batch) -> Columns {
    let mut columns = Columns::default();
    batch.gather(0..batch.columns(), &mut columns);
    columns
}

/// Targets and advantages of the newest update, whose batch was one block.
fn returns(learner: &LearnerStep) -> VtraceReturns {
    let Engine::Host(step) = &learner.engine else { panic!("a learner on the CPU") };
    step.lock_memory()[0].objective.returns().clone()
}

fn learner(activation: Activation, config: StepConfig) -> LearnerStep {
    // Biases and heads away from zero, so that no derivative vanishes by accident.
    let mut parameters = initial_parameters(&spec(activation), 5);
    parameters.iter_mut().enumerate().for_each(|(i, p)| *p += 0.1 * ((i % 5) as f32 - 2.0));
    LearnerStep::new(&spec(activation), parameters, config, &ComputeDevice::cpu())
}

/// Logits and values of the network in plain double precision.
fn forward(spec: &NetworkSpec, parameters: &[f64], observations: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let layout = spec.layout();
    let linear = |layer: usize, x: &[f64]| -> Vec<f64> {
        let (weight, bias) =
            (&parameters[layout[2 * layer].range.clone()], &parameters[layout[2 * layer + 1].range.clone()]);
        (0..bias.len())
            .map(|o| bias[o] + x.iter().enumerate().map(|(i, x)| x * weight[i * bias.len() + o]).sum::<f64>())
            .collect()
    };
    let (mut logits, mut values) = (vec![], vec![]);
    for row in observations.chunks(spec.observation_len) {
        let mut x: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        for layer in 0..spec.hidden.len() {
            x = linear(layer, &x)
                .into_iter()
                .map(|x| match spec.activation {
                    Activation::Tanh => x.tanh(),
                    Activation::Relu => x.max(0.0),
                })
                .collect();
        }
        logits.extend(linear(spec.hidden.len(), &x));
        values.extend(linear(spec.hidden.len() + 1, &x));
    }
    (logits, values)
}

/// The loss at other parameters with targets and advantages held fixed, as its gradient is defined.
fn loss_at(learner: &LearnerStep, config: &StepConfig, activation: Activation, parameters: &[f64]) -> f64 {
    let batch = gathered(&batch());
    let (logits, values) = forward(&spec(activation), parameters, &batch.observations);
    let returns = returns(learner);
    let costs = config.costs;
    let terms = (0..batch.frames()).map(|i| {
        let row = &logits[2 * i..2 * i + 2];
        let log_sum = (row[0].exp() + row[1].exp()).ln();
        let entropy: f64 = row.iter().map(|l| -(l - log_sum).exp() * (l - log_sum)).sum();
        let policy = -f64::from(returns.pg_advantages[i]) * (row[usize::from(batch.actions.view().u8()[i])] - log_sum);
        let baseline = 0.5 * (f64::from(returns.vs[i]) - values[i]).powi(2);
        policy + f64::from(costs.baseline) * baseline - f64::from(costs.entropy) * entropy
    });
    terms.sum::<f64>() / batch.frames() as f64
}

#[test]
fn parameter_gradient_equals_finite_differences() {
    for activation in Activation::ALL {
        let mut learner = learner(activation, config());
        let before: Vec<f64> = learner.parameters().iter().map(|p| f64::from(*p)).collect();
        let report = learner.run(&batch(), 0.0).unwrap();
        assert!((loss_at(&learner, &config(), activation, &before) - f64::from(report.losses.total)).abs() < 1e-5);
        for i in 0..before.len() {
            let at = |delta: f64| {
                let mut parameters = before.clone();
                parameters[i] += delta;
                loss_at(&learner, &config(), activation, &parameters)
            };
            let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
            let actual = f64::from(learner.gradient()[i]);
            assert!((actual - expected).abs() < 1e-5, "{activation}, parameter {i}: {actual} is not {expected}");
        }
    }
}

#[test]
fn truncation_bootstraps_from_the_true_final_observation() {
    let config = config();
    let (mut rewards, mut discounts) = (vec![], vec![]);
    let scale = config.objective().returns;
    scale.apply(&gathered(&batch()), &[4.0], &mut rewards, &mut discounts);
    assert_eq!(rewards, [0.5, -0.25, 1.0, 0.15 + 0.9 * 4.0, 0.35, 0.75]);
    assert_eq!(discounts, [0.9, 0.9, 0.0, 0.0, 0.9, 0.9]);
    let clipped = ReturnScale { reward_clip: Some(0.3), ..scale };
    clipped.apply(&gathered(&batch()), &[4.0], &mut rewards, &mut discounts);
    assert_eq!(rewards, [0.3, -0.25, 0.3, 0.15 + 0.9 * 4.0, 0.3, 0.3]);

    // Through the whole step: another final observation changes the truncated step's target and none after it.
    let mut first = learner(Activation::Tanh, config);
    first.run(&batch(), 0.0).unwrap();
    let changed = batch_of(3, 2, TrajectoryParts { final_observations: vec![3.0, -3.0, 3.0].into(), ..parts() });
    let mut second = learner(Activation::Tanh, config);
    second.run(&changed, 0.0).unwrap();
    let (a, b) = (returns(&first).vs, returns(&second).vs);
    assert_ne!(a[3], b[3]);
    assert_ne!(a[1], b[1]);
    assert_eq!([a[0], a[2], a[4], a[5]], [b[0], b[2], b[4], b[5]]);
}

#[test]
fn without_correction_the_behaviour_policy_does_not_matter() {
    let config = StepConfig { correction: Correction::None, ..config() };
    let mut first = learner(Activation::Tanh, config);
    first.run(&batch(), 0.1).unwrap();
    let other = batch_of(3, 2, TrajectoryParts { behaviour_log_probs: vec![-5.0; 6], ..parts() });
    let mut second = learner(Activation::Tanh, config);
    second.run(&other, 0.1).unwrap();
    assert_eq!(first.parameters(), second.parameters());
}

/// Effective and clipped share of the batch in plain double precision.
fn ratio_shares(spec: &NetworkSpec, parameters: &[f32], batch: &Batch) -> [f64; 2] {
    let parameters: Vec<f64> = parameters.iter().map(|p| f64::from(*p)).collect();
    let batch = gathered(batch);
    let (logits, _) = forward(spec, &parameters, &batch.observations);
    let ratios = (0..batch.frames()).map(|i| {
        let row = &logits[2 * i..2 * i + 2];
        let log_sum = (row[0].exp() + row[1].exp()).ln();
        (row[usize::from(batch.actions.view().u8()[i])] - log_sum - f64::from(batch.behaviour_log_probs[i])).exp()
    });
    let ratios: Vec<f64> = ratios.collect();
    let (sum, squares) = (ratios.iter().sum::<f64>(), ratios.iter().map(|w| w * w).sum::<f64>());
    let clipped = ratios.iter().filter(|w| **w > 1.01).count() as f64;
    [sum * sum / (ratios.len() as f64 * squares), clipped / ratios.len() as f64]
}

#[test]
fn the_age_of_the_policies_and_the_size_of_the_update_are_told_whatever_corrects_them() {
    // One block, and many.
    for (batch, correction) in
        [(batch(), Correction::Vtrace), (batch(), Correction::None), (large_batch(1500), Correction::Vtrace)]
    {
        let mut learner = learner(Activation::Tanh, StepConfig { correction, ..config() });
        let before = learner.parameters().to_vec();
        let report = learner.run(&batch, 1e-2).unwrap();
        let [effective, clipped] = ratio_shares(&spec(Activation::Tanh), &before, &batch);
        assert!(effective < 0.99 && clipped > 0.0, "the batch is off-policy: {effective}, {clipped}");
        assert!((f64::from(report.ratios.effective) - effective).abs() < 1e-5, "{report:?}, not {effective}");
        assert!((f64::from(report.ratios.clipped) - clipped).abs() < 1e-6, "{report:?}, not {clipped}");
        let squares = before.iter().zip(learner.parameters()).map(|(b, a)| (f64::from(*a) - f64::from(*b)).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        assert!((f64::from(report.update_norm) / norm - 1.0).abs() < 1e-6, "{report:?}, not {norm}");
    }
}

#[test]
fn a_gradient_that_is_not_finite_leaves_the_parameters() {
    let mut learner = learner(Activation::Tanh, StepConfig { reward_scale: f32::MAX, ..config() });
    let before = learner.parameters().to_vec();
    let error = learner.run(&batch(), 0.1).unwrap_err().to_string();
    assert!(error.contains("lower --learning-rate"), "{error}");
    assert_eq!(learner.parameters(), before);

    let mut learner = self::learner(Activation::Tanh, config());
    learner.run(&batch(), f32::INFINITY).unwrap_err();
    assert_eq!(learner.parameters(), before);
}

/// Many columns; of many rows to a block, the last block is smaller.
pub(super) fn large_batch(columns: usize) -> Batch {
    let steps = 10;
    let frames = steps * columns;
    let number = |i: usize| ((i * 29 % 101) as f32 - 50.0) / 50.0;
    let mut outcomes = vec![Outcome::Continues; frames];
    (5..frames).step_by(97).for_each(|i| outcomes[i] = Outcome::Truncated);
    let finals = (5..frames).step_by(97).count();
    let parts = TrajectoryParts {
        observations: (0..(frames + columns) * 3).map(number).collect(),
        final_observations: (0..finals * 3).map(|i| number(i + 7)).collect(),
        actions: (0..frames).map(|i| (i % 2) as u8).collect(),
        behaviour_log_probs: (0..frames).map(|i| -0.4 - 0.1 * (i % 7) as f32).collect(),
        rewards: (0..frames).map(|i| number(i + 3)).collect(),
        outcomes,
        ..TrajectoryParts::default()
    };
    batch_of(steps, columns, parts)
}

#[test]
fn threads_do_not_change_a_bit() {
    // Many blocks of a small network, and so many parameters that optimiser and norm are split too.
    for (hidden, columns) in [(vec![5, 4], 1500), (vec![200, 200], 60)] {
        let spec = NetworkSpec { hidden, ..spec(Activation::Tanh) };
        let batch = large_batch(columns);
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let config = StepConfig { gradient_norm_max: 0.1, ..config() };
            let parameters = initial_parameters(&spec, 5);
            let mut learner = LearnerStep::new(&spec, parameters, config, &ComputeDevice::cpu());
            let reports: Vec<_> = (0..3).map(|_| pool.install(|| learner.run(&batch, 1e-3).unwrap())).collect();
            (reports, learner.parameters().to_vec())
        };
        let one = with_threads(1);
        let others = [2, 3].map(with_threads);
        assert!(others.iter().all(|other| *other == one), "{:?}: threads decide the result", spec.hidden);
    }
}

#[test]
fn columns_may_lie_in_one_trajectory_or_in_many() {
    let one = large_batch(300);
    let all = gathered(&one);
    // One trajectory for every three columns.
    let part = |first: usize| {
        let columns = |row: usize| row * 300 + first..row * 300 + first + 3;
        let finals = all.truncated.iter().zip(all.observations[11 * 300 * 3..].chunks(3));
        let of_part = finals.filter(|(position, _)| (first..first + 3).contains(&(*position % 300)));
        let parts = TrajectoryParts {
            observations: (0..11)
                .flat_map(|r| &all.observations[3 * columns(r).start..3 * columns(r).end])
                .copied()
                .collect(),
            final_observations: of_part.flat_map(|(_, observation)| observation).copied().collect(),
            actions: (0..10).flat_map(|r| &all.actions.view().u8()[columns(r)]).copied().collect(),
            behaviour_log_probs: (0..10).flat_map(|r| &all.behaviour_log_probs[columns(r)]).copied().collect(),
            rewards: (0..10).flat_map(|r| &all.rewards[columns(r)]).copied().collect(),
            outcomes: (0..10).flat_map(|r| &all.outcomes[columns(r)]).copied().collect(),
            ..TrajectoryParts::default()
        };
        batch_of(10, 3, parts).trajectories()[0].clone()
    };
    let many = Batch::new((0..300).step_by(3).map(part).collect());
    let run = |batch: &Batch| {
        let mut learner = learner(Activation::Tanh, config());
        (learner.run(batch, 1e-3), learner.parameters().to_vec())
    };
    let ((report, parameters), (expected, expected_parameters)) = (run(&many), run(&one));
    // Final observations come in another order, so sums over rows may round otherwise; they add nothing to a gradient.
    assert_eq!(report, expected);
    assert_eq!(parameters, expected_parameters);
}

#[test]
fn written_passes_give_the_gradient_of_automatic_differentiation() {
    for activation in Activation::ALL {
        for (hidden, columns) in [(vec![5, 4], 1500), (vec![], 40), (vec![37], 40), (vec![130, 17, 64], 40)] {
            let spec = NetworkSpec { hidden, ..spec(activation) };
            let mut parameters = initial_parameters(&spec, 5);
            parameters.iter_mut().enumerate().for_each(|(i, p)| *p += 0.02 * ((i % 5) as f32 - 2.0));
            let batch = large_batch(columns);
            let mut oracle = LearnerStep::general(&spec, parameters.clone(), config());
            let mut learner = LearnerStep::new(&spec, parameters, config(), &ComputeDevice::cpu());
            let (expected, actual) = (oracle.run(&batch, 1e-3).unwrap(), learner.run(&batch, 1e-3).unwrap());
            let what = format!("{activation}, {:?}", spec.hidden);
            assert!((expected.losses.total - actual.losses.total).abs() < 1e-5, "{what}: {expected:?}, {actual:?}");
            for (actual, expected) in [
                (learner.gradient().to_vec(), oracle.gradient().to_vec()),
                (learner.parameters().to_vec(), oracle.parameters().to_vec()),
            ] {
                assert_eq!(actual.len(), expected.len());
                let worst = actual.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-5, "{what}: differ by {worst:e}");
            }
        }
    }
}

/// Trajectories of every kind of policy but one choice, drawn by it: what is seen, allowed and done is that of an actor.
fn batch_for(head: &PolicyHead) -> (NetworkSpec, Batch) {
    let spec = NetworkSpec { head: head.clone(), ..spec(Activation::Tanh) };
    let made_up = crate::learn::made_up::made_up_batch(&spec, 4, 6);
    let trajectory = &made_up.trajectories()[0];
    let mut parts = trajectory.clone().into_parts();
    let mut policy = Policy::new(&spec);
    policy.set_parameters(&initial_parameters(&spec, 3));
    let mut rng = impala_env::seed::rng(1, impala_env::seed::Purpose::Policy { actor: 0 });
    // The first choice of each component is forbidden in every other frame.
    let mut allowed = 0;
    if let PolicyHead::MaskedChoices(choices) = head {
        let starts: Vec<usize> = choices.iter().scan(0, |end, n| Some(std::mem::replace(end, *end + n))).collect();
        let forbids = |i: usize| starts.contains(&(i % head.mask_len())) && (i / head.mask_len()).is_multiple_of(2);
        parts.masks.iter_mut().enumerate().for_each(|(i, mask)| *mask = u8::from(!forbids(i)));
        allowed = parts.masks.iter().filter(|mask| **mask == 1).count();
    }
    assert_eq!(allowed > 0, head.mask_len() > 0);
    let frames = trajectory.shape().frames();
    let observations = parts.observations.view().range(0..frames * spec.observation_len);
    let decision = Decision { actions: parts.actions.view_mut(), behaviour_log_probs: &mut parts.behaviour_log_probs };
    policy.act(observations, &parts.masks, &mut rng, decision);
    parts.rewards.iter_mut().enumerate().for_each(|(i, reward)| *reward = (i % 5) as f32 - 2.0);
    let batch = Batch::new(vec![Trajectory::try_new(trajectory.shape().clone(), parts).unwrap()]);
    (spec, batch)
}

fn heads() -> [PolicyHead; 4] {
    [
        PolicyHead::Choices(vec![2, 3]),
        PolicyHead::MaskedChoices(vec![3, 2]),
        PolicyHead::Gaussian(2),
        PolicyHead::SquashedGaussian(2),
    ]
}

#[test]
fn every_policy_has_the_gradient_of_its_loss() {
    for head in heads() {
        let (spec, batch) = batch_for(&head);
        let mut parameters = initial_parameters(&spec, 5);
        parameters.iter_mut().enumerate().for_each(|(i, p)| *p += 0.1 * ((i % 5) as f32 - 2.0));
        let costs = LossCosts { baseline: 0.5, entropy: 0.0 };
        // The gradient as it is, not that of a batch of another size.
        let config = StepConfig { costs, noise_columns: None, ..config() };
        let mut learner = LearnerStep::new(&spec, parameters.clone(), config, &ComputeDevice::cpu());
        learner.run(&batch, 0.0).unwrap();
        let returns = returns(&learner);
        let columns = gathered(&batch);
        // The loss at other parameters, with targets and advantages held fixed; entropies have tests of their own.
        let loss_at = |parameters: &[f32]| {
            let mut network = Perceptron::new(&spec);
            network.load(parameters);
            let mut outputs = Vec::new();
            network.forward(&columns.observations, &mut Default::default(), &mut outputs);
            let (rows, frames) = (columns.rows(), columns.frames());
            let distribution = Distribution::of(&head);
            let block = Frames { outputs: &outputs, rows, masks: &columns.masks, actions: columns.actions.view() };
            let (mut log_probs, mut entropies) = (vec![0.0; frames], vec![0.0; frames]);
            distribution.evaluate(&block, &mut Memory::default(), &mut log_probs, &mut entropies);
            let values = &outputs[head.parameters() * rows..];
            let term = |i: usize| {
                let policy = -f64::from(returns.pg_advantages[i]) * f64::from(log_probs[i]);
                policy + 0.25 * (f64::from(returns.vs[i]) - f64::from(values[i])).powi(2)
            };
            (0..frames).map(term).sum::<f64>() / frames as f64
        };
        for i in 0..parameters.len() {
            let at = |delta: f32| {
                let mut parameters = parameters.clone();
                parameters[i] += delta;
                (loss_at(&parameters), f64::from(parameters[i]))
            };
            let ((above, x_above), (below, x_below)) = (at(4e-3), at(-4e-3));
            let (expected, actual) = ((above - below) / (x_above - x_below), f64::from(learner.gradient()[i]));
            assert!(
                (actual - expected).abs() < 2e-4 + 1e-3 * expected.abs(),
                "{head:?}, {i}: {actual}, not {expected}"
            );
        }
    }
}

#[test]
fn every_policys_passes_give_the_gradient_of_automatic_differentiation() {
    for head in heads() {
        let (spec, batch) = batch_for(&head);
        let mut parameters = initial_parameters(&spec, 5);
        parameters.iter_mut().enumerate().for_each(|(i, p)| *p += 0.02 * ((i % 5) as f32 - 2.0));
        let mut oracle = LearnerStep::general(&spec, parameters.clone(), config());
        let mut learner = LearnerStep::new(&spec, parameters, config(), &ComputeDevice::cpu());
        let (expected, actual) = (oracle.run(&batch, 1e-3).unwrap(), learner.run(&batch, 1e-3).unwrap());
        assert!((expected.losses.total - actual.losses.total).abs() < 1e-5, "{head:?}: {expected:?}, {actual:?}");
        let worst = learner.gradient().iter().zip(oracle.gradient()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{head:?}: differ by {worst:e}");
    }
}

#[test]
fn the_time_of_an_update_has_a_place() {
    let mut learner = learner(Activation::Tanh, config());
    learner.run(&batch(), 1e-3).unwrap();
    let times = learner.times().unwrap();
    assert!(times.blocks > Duration::ZERO && times.load + times.sum + times.apply > Duration::ZERO);
}

/// Trajectories that the policy of these parameters draws, whose observations lie far from 0 and differ little.
fn batch_far_away(spec: &NetworkSpec, parameters: &[f32], seed: u64) -> Batch {
    let made_up = crate::learn::made_up::made_up_batch(spec, 4, 6);
    let shape = made_up.trajectories()[0].shape().clone();
    let mut parts = made_up.trajectories()[0].clone().into_parts();
    let mut rng = impala_env::seed::rng(seed, impala_env::seed::Purpose::Policy { actor: 0 });
    let scales = [1e-3, 1.0, 200.0];
    for (i, x) in parts.observations.view_mut().f32().iter_mut().enumerate() {
        *x = scales[i % 3] * (50.0 + rand::RngExt::random::<f32>(&mut rng));
    }
    let mut policy = Policy::new(spec);
    policy.set_parameters(parameters);
    let observations = parts.observations.view().range(0..shape.frames() * spec.observation_len);
    let decision = Decision { actions: parts.actions.view_mut(), behaviour_log_probs: &mut parts.behaviour_log_probs };
    policy.act(observations, &parts.masks, &mut rng, decision);
    parts.rewards.iter_mut().enumerate().for_each(|(i, reward)| *reward = 30.0 * (i % 5) as f32 - 2.0);
    Batch::new(vec![Trajectory::try_new(shape, parts).unwrap()])
}

#[test]
fn a_version_is_its_weights_with_its_statistics_and_its_ratio_to_itself_is_one() {
    for head in heads().into_iter().filter(|head| head.mask_len() == 0).chain([PolicyHead::single(2)]) {
        let spec = NetworkSpec { head: head.clone(), normalises: true, ..spec(Activation::Tanh) };
        let parameters = initial_parameters(&spec, 5);
        let trained = spec.trained().parameter_count();
        let config = StepConfig { normalises_rewards: true, ..config() };
        let mut learner = LearnerStep::new(&spec, parameters.clone(), config, &ComputeDevice::cpu());
        assert_eq!(learner.parameters(), parameters);
        for update in 0..4 {
            let version = learner.parameters().to_vec();
            let report = learner.run(&batch_far_away(&spec, &version, update), 1e-2).unwrap();
            let RatioStatistics { effective, approximate_kl, .. } = report.ratios;
            assert_eq!((effective, approximate_kl), (1.0, 0.0), "{head:?}, update {update}");
            assert_ne!(learner.parameters()[..trained], version[..trained]);
            let (mean, scale) = learner.parameters()[trained..].split_at(3);
            // Uniform over a range of one and of 200 times as much: a deviation of 1 / sqrt(12).
            assert!(
                (mean[1] - 50.5).abs() < 0.2 && (scale[1] / 12.0_f32.sqrt() - 1.0).abs() < 0.2,
                "{mean:?}, {scale:?}"
            );
            assert!((scale[2] * 200.0 / scale[1] - 1.0).abs() < 0.4 && scale[0] > 1000.0, "{scale:?}");
        }
        assert_eq!((learner.parameters().len(), learner.gradient().len()), (trained + 6, trained));
    }
}

#[test]
fn normalised_batches_are_the_same_to_every_engine() {
    let spec = NetworkSpec { normalises: true, ..spec(Activation::Tanh) };
    let parameters = initial_parameters(&spec, 5);
    let config = StepConfig { normalises_rewards: true, ..config() };
    let mut host = LearnerStep::new(&spec, parameters.clone(), config, &ComputeDevice::cpu());
    let mut others = [
        LearnerStep::general(&spec, parameters.clone(), config),
        LearnerStep::new(&spec, parameters, config, &device::tests::device()),
    ];
    for update in 0..3 {
        let batch = batch_far_away(&spec, host.parameters(), update);
        let expected = host.run(&batch, 1e-2).unwrap();
        for other in &mut others {
            let actual = match update {
                // As the trainer does, who gets a report at once where the next rewards depend on it.
                0 | 2 => other.advance(&batch, 1e-2).unwrap().unwrap(),
                _ => other.run(&batch, 1e-2).unwrap(),
            };
            assert!((expected.losses.total - actual.losses.total).abs() < 1e-4, "{expected:?}, {actual:?}");
            let pairs = host.parameters().iter().zip(other.parameters());
            let worst = pairs.map(|(a, b)| (a - b).abs() / a.abs().max(1.0)).fold(0.0, f32::max);
            assert!(worst < 1e-4, "differ by {worst:e}");
        }
    }
}
