use super::host::scale_rewards;
use super::*;
use crate::learn::initialise::initial_parameters;
use crate::learn::loss::{LossInputs, TargetPolicy, loss};
use crate::learn::model::{ActorCritic, floats};
use crate::learn::vtrace::VtraceReturns;
use burn::tensor::{Tensor, TensorData};
use impala_env::Outcome;
use impala_policy::activation::Activation;

fn spec(activation: Activation) -> NetworkSpec {
    NetworkSpec { observation_len: 3, hidden: vec![5, 4], activation, action_count: 2 }
}

pub(super) fn config() -> StepConfig {
    StepConfig {
        correction: Correction::Vtrace,
        clipping: VtraceClipping { rho_bar: 1.0, c_bar: 1.0, lambda: 0.95, pg_rho_bar: 1.0 },
        costs: LossCosts { baseline: 0.5, entropy: 0.01 },
        discount: 0.9,
        reward_scale: 0.5,
        reward_clip: None,
        gradient_norm_max: 1e9,
        optimiser: OptimiserKind::RmsProp { decay: 0.9, momentum: 0.0, epsilon: 0.1 },
    }
}

/// Two columns of three steps; one terminated, one truncated.
pub(super) fn batch() -> Batch {
    let observation = |i: usize| ((i * 7 % 11) as f32 - 5.0) * 0.2;
    Batch {
        unroll_length: 3,
        columns: 2,
        observation_len: 3,
        observations: (0..27).map(observation).collect(),
        actions: vec![0, 1, 1, 0, 0, 1],
        behaviour_log_probs: vec![-0.7, -0.4, -1.2, -0.6, -0.9, -0.1],
        rewards: vec![1.0, -0.5, 2.0, 0.3, 0.7, 1.5],
        outcomes: [0, 0, 1, 2, 0, 0].map(|o| Outcome::from_u8(o).unwrap()).to_vec(),
        truncated: vec![3],
        weights_versions: vec![],
        episodes: vec![],
    }
}

/// The CPU's own step.
fn host(learner: &LearnerStep) -> &HostStep {
    match &learner.engine {
        Engine::Host(step) => step,
        Engine::Device(_) => panic!("a learner on the CPU"),
    }
}

fn learner(activation: Activation, config: StepConfig) -> LearnerStep {
    // Biases and heads away from zero, so that no derivative vanishes by accident.
    let mut parameters = initial_parameters(&spec(activation), 5);
    parameters.iter_mut().enumerate().for_each(|(i, p)| *p += 0.1 * ((i % 5) as f32 - 2.0));
    LearnerStep::new(spec(activation), parameters, config, ComputeDevice::cpu())
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
    let batch = batch();
    let (logits, values) = forward(&spec(activation), parameters, &batch.observations);
    let returns = &host(learner).scratch.returns;
    let costs = config.costs;
    let terms = (0..batch.frames()).map(|i| {
        let row = &logits[2 * i..2 * i + 2];
        let log_sum = (row[0].exp() + row[1].exp()).ln();
        let entropy: f64 = row.iter().map(|l| -(l - log_sum).exp() * (l - log_sum)).sum();
        let policy = -f64::from(returns.pg_advantages[i]) * (row[usize::from(batch.actions[i])] - log_sum);
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
    scale_rewards(&batch(), &config, &[4.0], &mut rewards, &mut discounts);
    assert_eq!(rewards, [0.5, -0.25, 1.0, 0.15 + 0.9 * 4.0, 0.35, 0.75]);
    assert_eq!(discounts, [0.9, 0.9, 0.0, 0.0, 0.9, 0.9]);
    let clipped = StepConfig { reward_clip: Some(0.3), ..config };
    scale_rewards(&batch(), &clipped, &[4.0], &mut rewards, &mut discounts);
    assert_eq!(rewards, [0.3, -0.25, 0.3, 0.15 + 0.9 * 4.0, 0.3, 0.3]);

    // Through the whole step: another final observation changes the truncated step's target and none behind it.
    let mut first = learner(Activation::Tanh, config);
    first.run(&batch(), 0.0).unwrap();
    let mut changed = batch();
    changed.observations[24..].copy_from_slice(&[3.0, -3.0, 3.0]);
    let mut second = learner(Activation::Tanh, config);
    second.run(&changed, 0.0).unwrap();
    let (a, b) = (&host(&first).scratch.returns.vs, &host(&second).scratch.returns.vs);
    assert_ne!(a[3], b[3]);
    assert_ne!(a[1], b[1]);
    assert_eq!([a[0], a[2], a[4], a[5]], [b[0], b[2], b[4], b[5]]);
}

#[test]
fn without_correction_the_behaviour_policy_does_not_matter() {
    let config = StepConfig { correction: Correction::None, ..config() };
    let mut first = learner(Activation::Tanh, config);
    first.run(&batch(), 0.1).unwrap();
    let mut other = batch();
    other.behaviour_log_probs.fill(-5.0);
    let mut second = learner(Activation::Tanh, config);
    second.run(&other, 0.1).unwrap();
    assert_eq!(first.parameters(), second.parameters());
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

/// A batch of many blocks, the last of which is smaller.
pub(super) fn large_batch(columns: usize) -> Batch {
    let steps = 10;
    let frames = steps * columns;
    let number = |i: usize| ((i * 29 % 101) as f32 - 50.0) / 50.0;
    let mut outcomes = vec![Outcome::Continues; frames];
    let truncated: Vec<usize> = (5..frames).step_by(97).collect();
    truncated.iter().for_each(|i| outcomes[*i] = Outcome::Truncated);
    Batch {
        unroll_length: steps,
        columns,
        observation_len: 3,
        observations: (0..(frames + columns + truncated.len()) * 3).map(number).collect(),
        actions: (0..frames).map(|i| (i % 2) as u8).collect(),
        behaviour_log_probs: (0..frames).map(|i| -0.4 - 0.1 * (i % 7) as f32).collect(),
        rewards: (0..frames).map(|i| number(i + 3)).collect(),
        outcomes,
        truncated,
        weights_versions: vec![],
        episodes: vec![],
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let with_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut learner = learner(Activation::Tanh, config());
        let reports: Vec<_> = (0..3).map(|_| pool.install(|| learner.run(&large_batch(1500), 1e-3).unwrap())).collect();
        (reports, learner.parameters().to_vec())
    };
    assert!(with_threads(1) == with_threads(3), "the number of threads decides the result");
}

#[test]
fn blocks_add_up_to_the_gradient_of_automatic_differentiation() {
    for activation in Activation::ALL {
        let mut learner = learner(activation, config());
        let parameters = learner.parameters().to_vec();
        let batch = large_batch(1500);
        learner.run(&batch, 0.0).unwrap();

        let device = ComputeDevice::cpu();
        let model = ActorCritic::load(&spec(activation), &parameters, &device);
        let rows = batch.rows();
        let constant = |values: &[f32], width| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [rows, width]), device.tensors())
        };
        let outputs = model.forward(constant(&batch.observations, 3));
        let joined = Tensor::cat(vec![outputs.logits, outputs.values], 1);
        let data = joined.clone().inner().into_data();
        let VtraceReturns { vs, pg_advantages } = &host(&learner).scratch.returns;
        let policy = TargetPolicy::new(floats(&data), 2, &batch.actions);
        let (actions, frames) = (&batch.actions[..], batch.frames());
        let inputs = LossInputs { policy: &policy, outputs: floats(&data), actions, vs, pg_advantages, frames };
        let (_, output_gradient) = loss(&inputs, config().costs);
        let surrogate = (joined * constant(&output_gradient, 3)).sum();
        let mut expected = Vec::new();
        model.flat_gradient(&mut surrogate.backward(), &mut expected);
        let worst = learner.gradient().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{activation}: gradients differ by {worst:e}");
    }
}
