//! The device's step against the host's. On burn's CPU backend, or, with `IMPALA_TEST_DEVICE=wgpu` and the feature `wgpu`,
//! on the GPU backend.

use super::*;
use crate::learn::initialise::initial_parameters;
use crate::learn::optim::{Divisor, OptimiserKind};
use crate::learn::perceptron::Perceptron;
use crate::learn::step::host::HostStep;
use crate::learn::step::tests::{batch, batch_of, config, large_batch, parts};
use crate::learn::step::{Correction, StepReport};
use crate::learn::vtrace::{VtraceClipping, VtraceInputs, VtraceReturns};
use burn::tensor::TensorData;
use impala_common::trajectory::TrajectoryParts;
use impala_env::Outcome;
use impala_policy::activation::Activation;
use impala_policy::network::PolicyHead;
use serde_json::Value;

const TOLERANCE: f32 = 2e-5;

/// The device under test.
pub(in crate::learn::step) fn device() -> ComputeDevice {
    let choice = std::env::var("IMPALA_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
    ComputeDevice::open(choice.parse().unwrap()).unwrap()
}

fn spec(hidden: &[usize], activation: Activation) -> NetworkSpec {
    NetworkSpec {
        observation_len: 3,
        hidden: hidden.to_vec(),
        activation,
        head: PolicyHead::single(2),
        normalises: false,
    }
}

fn parameters(spec: &NetworkSpec) -> Vec<f32> {
    let mut parameters = initial_parameters(spec, 5);
    parameters.iter_mut().enumerate().for_each(|(i, p)| *p += 0.1 * ((i % 5) as f32 - 2.0));
    parameters
}

fn both(spec: &NetworkSpec, config: StepConfig) -> (HostStep<Perceptron>, DeviceStep) {
    let parameters = parameters(spec);
    let on_device = DeviceStep::new(spec, &parameters, config, &device());
    (HostStep::new(Perceptron::new(spec), &spec.head, parameters, config), on_device)
}

fn assert_close(expected: &[f32], actual: &[f32], what: &str) {
    assert_eq!(expected.len(), actual.len(), "{what}");
    let worst = expected.iter().zip(actual).map(|(e, a)| (e - a).abs() / e.abs().max(1.0)).fold(0.0, f32::max);
    assert!(worst <= TOLERANCE, "{what}: differ by {worst:e}");
}

fn numbers(report: &StepReport) -> Vec<f32> {
    let StepReport { losses, ratios, values, gradient_norm, update_norm, noise: _ } = *report;
    let values = [values.squared_error, values.error_variance, values.target_variance, values.squared_target];
    let values = values.map(|number| number as f32);
    [
        &[losses.total, losses.policy, losses.baseline, losses.entropy, gradient_norm, update_norm][..],
        &[ratios.effective, ratios.clipped, ratios.approximate_kl],
        &values,
    ]
    .concat()
}

/// Runs both for some steps and compares everything after each.
fn assert_parity(spec: &NetworkSpec, config: StepConfig, batch: &Batch, steps: usize) {
    let (mut host, mut device) = both(spec, config);
    for step in 0..steps {
        let expected = host.run(batch, &InputScale::default(), 1e-2, 1.0).unwrap();
        let actual = device.run(batch, &InputScale::default(), 1e-2, 1.0).unwrap();
        let what = format!("{:?}, {}, step {step}", spec.hidden, spec.activation);
        assert_close(&numbers(&expected), &numbers(&actual), &format!("{what}: losses"));
        assert_close(host.gradient(), device.gradient(), &format!("{what}: gradient"));
        assert_close(host.parameters(), device.parameters(), &format!("{what}: parameters"));
    }
}

#[test]
fn networks_of_any_depth_and_both_activations_agree_with_the_host() {
    for activation in Activation::ALL {
        for hidden in [&[][..], &[5], &[5, 4, 6]] {
            assert_parity(&spec(hidden, activation), config(), &batch(), 2);
        }
    }
}

#[test]
fn every_optimiser_agrees_with_the_host() {
    let (decay, epsilon) = (0.9, 1e-3);
    for optimiser in [
        OptimiserKind::RmsProp { decay, momentum: 0.0, epsilon },
        OptimiserKind::RmsProp { decay, momentum: 0.5, epsilon },
        OptimiserKind::RmsPropTorch { decay, momentum: 0.5, epsilon },
        OptimiserKind::Adam { beta1: 0.9, beta2: 0.999, epsilon },
    ] {
        let config = StepConfig { optimiser, gradient_norm_max: 0.3, ..config() };
        assert_parity(&spec(&[5, 4], Activation::Tanh), config, &batch(), 4);
    }
}

#[test]
fn every_clipping_and_no_correction_agree_with_the_host() {
    let plain = VtraceClipping { rho_bar: 1.0, c_bar: 1.0, lambda: 1.0, pg_rho_bar: 1.0 };
    for clipping in [
        plain,
        VtraceClipping { lambda: 0.6, ..plain },
        VtraceClipping { lambda: 0.0, ..plain },
        VtraceClipping { rho_bar: 3.0, c_bar: 0.4, pg_rho_bar: 1.7, ..plain },
    ] {
        assert_parity(&spec(&[5], Activation::Tanh), StepConfig { clipping, ..config() }, &batch(), 1);
    }
    let spec = spec(&[5], Activation::Tanh);
    assert_parity(&spec, StepConfig { correction: Correction::None, ..config() }, &batch(), 1);
    assert_parity(&spec, StepConfig { discount: 0.0, reward_clip: Some(0.3), ..config() }, &batch(), 1);
}

#[test]
fn a_sum_over_rows_in_parts_agrees_with_the_host() {
    // 110 columns make 1,222 rows: two parts, several truncated steps, rows to be filled up.
    let batch = large_batch(110);
    let finals = batch.trajectories()[0].final_observations.len() / 3;
    assert!(finals > 2 && !(11 * 110 + finals).is_multiple_of(128));
    assert_parity(&spec(&[5, 4], Activation::Tanh), config(), &batch, 2);
}

#[test]
fn batches_of_changing_sizes_agree_with_the_host_in_few_shapes() {
    for noise_columns in [None, Some(8)] {
        let (spec, config) = (spec(&[5, 4], Activation::Tanh), StepConfig { noise_columns, ..config() });
        let (mut host, mut device) = both(&spec, config);
        for columns in [3, 1, 64, 5, 17, 4] {
            let batch = large_batch(columns);
            let scale = noise_columns.map_or(1.0, |noise| (columns as f32 / noise as f32).sqrt());
            let (expected, actual) = (
                host.run(&batch, &InputScale::default(), 1e-2, scale).unwrap(),
                device.run(&batch, &InputScale::default(), 1e-2, scale).unwrap(),
            );
            assert_close(&numbers(&expected), &numbers(&actual), &format!("{columns} columns: losses"));
            assert_close(host.gradient(), device.gradient(), &format!("{columns} columns: gradient"));
            assert_close(host.parameters(), device.parameters(), &format!("{columns} columns: parameters"));
        }
    }
    let sizes = |noise_columns| [3, 4, 5, 17].map(|b| StepConfig { noise_columns, ..config() }.filled_columns(b));
    assert_eq!((sizes(None), sizes(Some(8))), ([3, 4, 5, 17], [4, 4, 8, 32]));
}

#[test]
fn every_divisor_agrees_with_the_host() {
    for divisor in [Divisor::Present, Divisor::Largest] {
        let config = StepConfig { divisor, ..config() };
        assert_parity(&spec(&[5, 4], Activation::Tanh), config, &batch(), 6);
    }
}

#[test]
fn unroll_lengths_may_differ_and_one_step_is_enough() {
    let spec = spec(&[5], Activation::Tanh);
    let (mut host, mut device) = both(&spec, config());
    let single = TrajectoryParts {
        observations: parts().observations.view().f32()[..12].to_vec().into(),
        actions: vec![1_u8, 0].into(),
        behaviour_log_probs: vec![-0.7, -0.4],
        rewards: vec![1.0, 0.5],
        outcomes: vec![Outcome::Terminated, Outcome::Continues],
        ..TrajectoryParts::default()
    };
    let single = batch_of(1, 2, single);
    for batch in [batch(), single, batch()] {
        let (expected, actual) = (
            host.run(&batch, &InputScale::default(), 1e-2, 1.0).unwrap(),
            device.run(&batch, &InputScale::default(), 1e-2, 1.0).unwrap(),
        );
        assert_close(&numbers(&expected), &numbers(&actual), "losses");
    }
    assert_close(host.parameters(), device.parameters(), "parameters");
}

#[test]
fn numbers_that_are_not_finite_leave_everything_as_it_was() {
    let spec = spec(&[5], Activation::Tanh);
    let adam = OptimiserKind::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-3 };
    let unbounded = VtraceClipping { rho_bar: f32::MAX, c_bar: f32::MAX, lambda: 1.0, pg_rho_bar: f32::MAX };
    let config = StepConfig { optimiser: adam, clipping: unbounded, ..config() };
    let mut device = DeviceStep::new(&spec, &parameters(&spec), config, &device());
    let before = device.parameters().to_vec();
    assert_close(&parameters(&spec), &before, "parameters");

    // Ratios without end.
    let broken = batch_of(3, 2, TrajectoryParts { behaviour_log_probs: vec![-1e9; 6], ..parts() });
    let error = device.run(&broken, &InputScale::default(), 0.1, 1.0).unwrap_err().to_string();
    assert!(error.contains("lower --learning-rate"), "{error}");
    assert_eq!(device.parameters(), before);
    device.run(&batch(), &InputScale::default(), f32::INFINITY, 1.0).unwrap_err();
    assert_eq!(device.parameters(), before);

    // Moments and their count are what they were, too: the next update is the first.
    let mut host = HostStep::new(Perceptron::new(&spec), &spec.head, before, config);
    host.run(&batch(), &InputScale::default(), 0.1, 1.0).unwrap();
    device.run(&batch(), &InputScale::default(), 0.1, 1.0).unwrap();
    assert_close(host.parameters(), device.parameters(), "parameters after the failures");
}

#[test]
fn an_update_under_way_is_reported_by_the_next() {
    let spec = spec(&[5], Activation::Tanh);
    let (mut host, mut device) = both(&spec, config());
    assert_eq!(device.finish(), Ok(None));
    assert_eq!(device.advance(&batch(), &InputScale::default(), 1e-2, 1.0), Ok(None));
    let first = host.run(&batch(), &InputScale::default(), 1e-2, 1.0).unwrap();
    let reported = device.advance(&batch(), &InputScale::default(), 1e-2, 1.0).unwrap().unwrap();
    assert_close(&numbers(&first), &numbers(&reported), "first report");
    let second = host.run(&batch(), &InputScale::default(), 1e-2, 1.0).unwrap();
    assert_close(host.parameters(), device.parameters(), "parameters before the second report");
    assert_close(&numbers(&second), &numbers(&device.finish().unwrap().unwrap()), "second report");
    assert_eq!(device.finish(), Ok(None));

    // A failure is told late, by a call that then does nothing, and has changed nothing.
    let before = device.parameters().to_vec();
    device.advance(&batch(), &InputScale::default(), f32::NAN, 1.0).unwrap();
    assert_eq!(device.parameters(), before);
    device.advance(&batch(), &InputScale::default(), 1e-2, 1.0).unwrap_err();
    assert_eq!(device.parameters(), before);
    device.run(&batch(), &InputScale::default(), 1e-2, 1.0).unwrap();
    assert_ne!(device.parameters(), before);
}

#[test]
fn vtrace_agrees_with_the_reference_and_with_the_host() {
    let file: Value = serde_json::from_str(include_str!("../../../../tests/data/vtrace_cases.json")).unwrap();
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let number = |key: &str| case[key].as_f64().unwrap() as f32;
        let clipping = VtraceClipping {
            rho_bar: number("rho_bar"),
            c_bar: number("c_bar"),
            lambda: number("lambda_"),
            pg_rho_bar: number("pg_rho_bar"),
        };
        let (steps, columns) = (case["T"].as_u64().unwrap() as usize, case["B"].as_u64().unwrap() as usize);
        let inputs = &case["inputs"];
        let [discounts, rewards, values, bootstrap] =
            ["discounts", "rewards", "values", "bootstrap_value"].map(|key| flat(&inputs[key]));
        let actions = flat(&inputs["actions"]);
        let behaviour = log_probs(&flat(&inputs["behaviour_logits"]), &actions);
        let target = log_probs(&flat(&inputs["target_logits"]), &actions);

        let device = device().plain().clone();
        let tensor = |numbers: &[f32]| Tensor::from_data(TensorData::new(numbers.to_vec(), [steps, columns]), &device);
        let next_values = [&values[columns..], &bootstrap].concat();
        let tensors = vtrace::VtraceTensors {
            log_ratios: tensor(&target) - tensor(&behaviour),
            discounts: tensor(&discounts),
            rewards: tensor(&rewards),
            values: tensor(&values),
            next_values: tensor(&next_values),
        };
        let actual = vtrace::vtrace(&tensors, &clipping, &Scan::new(steps, &device));
        let (vs, advantages) = (actual.vs.into_data(), actual.pg_advantages.into_data());
        let (vs, advantages) = (floats(&vs), floats(&advantages));

        let expected_vs = flat(&case["expected"]["vs"]);
        let scale = expected_vs.iter().fold(1.0_f32, |m, x| m.max(x.abs()));
        let check = |what: &str, actual: &[f32], expected: &[f32]| {
            assert_eq!(actual.len(), expected.len(), "{name}: {what}");
            let worst = actual.iter().zip(expected).map(|(a, e)| (a - e).abs() / scale).fold(0.0, f32::max);
            assert!(worst <= 1e-5, "{name}: {what} is off by {worst:e} of {scale}");
        };
        check("vs", vs, &expected_vs);
        check("advantages", advantages, &flat(&case["expected"]["pg_advantages_paper"]));

        let inputs = VtraceInputs {
            columns,
            behaviour_log_probs: &behaviour,
            target_log_probs: &target,
            discounts: &discounts,
            rewards: &rewards,
            values: &values,
            bootstrap_values: &bootstrap,
        };
        let mut host = VtraceReturns::default();
        crate::learn::vtrace::vtrace(&inputs, &clipping, &mut host);
        check("vs of the host", vs, &host.vs);
        check("advantages of the host", advantages, &host.pg_advantages);
    }
}

fn flat(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().expect("a number") as f32],
    }
}

/// `logits` `[.., A]`, one action a row.
fn log_probs(logits: &[f32], actions: &[f32]) -> Vec<f32> {
    let rows = logits.chunks_exact(logits.len() / actions.len());
    let log_prob = |(row, action): (&[f32], &f32)| {
        let sum: f64 = row.iter().map(|l| f64::from(*l).exp()).sum();
        (f64::from(row[*action as usize]) - sum.ln()) as f32
    };
    rows.zip(actions).map(log_prob).collect()
}
