//! Learner steps on the GPU backend give the CPU's losses, gradient and parameters, from the outside; the cases by kind of
//! network, optimiser and clipping are the unit tests of `step/device`, which `make check-gpu` runs on the GPU too. Needs the
//! feature `wgpu` and a Vulkan adapter, be it a software one: `make check-gpu` provides both.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test, whose figures are worth reading")]

use burn::tensor::{Tensor, TensorData};
use impala_common::trajectory::{Trajectory, TrajectoryParts, TrajectoryShape};
use impala_env::Outcome;
use impala_learner::config::Config;
use impala_learner::fit::calibration::Workload;
use impala_learner::fit::device_choice::{faster, open};
use impala_learner::learn::batch::Batch;
use impala_learner::learn::compute::{ComputeDevice, DeviceChoice};
use impala_learner::learn::initialise::initial_parameters;
use impala_learner::learn::loss::LossCosts;
use impala_learner::learn::optim::{Divisor, OptimiserKind};
use impala_learner::learn::step::{Correction, LearnerStep, StepConfig, StepReport};
use impala_learner::learn::vtrace::VtraceClipping;
use impala_policy::activation::Activation;
use impala_policy::network::{NetworkSpec, PolicyHead};
use std::time::Duration;

const TOLERANCE: f32 = 1e-4;
const STEPS: usize = 3;

fn config() -> StepConfig {
    StepConfig {
        correction: Correction::Vtrace,
        clipping: VtraceClipping { rho_bar: 1.0, c_bar: 1.0, lambda: 1.0, pg_rho_bar: 1.0 },
        costs: LossCosts { baseline: 0.5, entropy: 0.003 },
        discount: 0.99,
        reward_scale: 0.1,
        normalises_rewards: false,
        reward_clip: None,
        gradient_norm_max: 0.5,
        optimiser: OptimiserKind::RmsProp { decay: 0.99, momentum: 0.0, epsilon: 1e-5 },
        divisor: Divisor::Largest,
        noise_columns: Some(8),
    }
}

/// T = 4, B = 3, with one terminated and three truncated steps, so that the rows are also filled up.
fn batch() -> Batch {
    let (steps, columns, width, finals) = (4, 3, 4, 3);
    let frames = steps * columns;
    let mut outcomes = vec![Outcome::Continues; frames];
    outcomes[4] = Outcome::Terminated;
    [2, 7, 9].into_iter().for_each(|i: usize| outcomes[i] = Outcome::Truncated);
    let number = |i: usize| ((i * 29 % 17) as f32 - 8.0) / 8.0;
    let shape = TrajectoryShape::plain(steps, columns, width, 2);
    let parts = TrajectoryParts {
        observations: (0..(frames + columns) * width).map(number).collect(),
        final_observations: (0..finals * width).map(|i| number((frames + columns) * width + i)).collect(),
        actions: (0..frames).map(|i| (i % 2) as u8).collect(),
        behaviour_log_probs: (0..frames).map(|i| -0.4 - 0.05 * i as f32).collect(),
        rewards: vec![1.0; frames],
        outcomes,
        ..TrajectoryParts::default()
    };
    Batch::new(vec![Trajectory::try_new(shape, parts).unwrap()])
}

fn steps(activation: Activation, device: ComputeDevice) -> Vec<(StepReport, Vec<f32>, Vec<f32>)> {
    let spec = NetworkSpec {
        observation_len: 4,
        hidden: vec![16, 8],
        activation,
        head: PolicyHead::single(2),
        normalises: false,
    };
    let mut learner = LearnerStep::new(&spec, initial_parameters(&spec, 1), config(), &device);
    let step = |_| {
        let report = learner.run(&batch(), 2e-3).unwrap();
        (report, learner.gradient().to_vec(), learner.parameters().to_vec())
    };
    (0..STEPS).map(step).collect()
}

#[test]
fn gpu_steps_equal_cpu_steps() {
    let gpu = ComputeDevice::open(DeviceChoice::Wgpu(None)).unwrap();
    println!("comparing {} with {}", gpu.name(), ComputeDevice::cpu().name());
    assert!(!gpu.is_cpu());
    println!("f16 in products: {}", gpu.plain().supports_dtype(burn::tensor::DType::F16));
    for activation in Activation::ALL {
        let expected = steps(activation, ComputeDevice::cpu());
        let actual = steps(activation, gpu.clone());
        for (step, ((cpu, cpu_gradient, cpu_parameters), (gpu, gpu_gradient, gpu_parameters))) in
            expected.iter().zip(&actual).enumerate()
        {
            let scalars = |r: &StepReport| {
                let losses = [r.losses.total, r.losses.policy, r.losses.baseline, r.losses.entropy];
                let ratios = [r.ratios.effective, r.ratios.clipped, r.ratios.approximate_kl];
                let values = [r.values.squared_error, r.values.error_variance, r.values.target_variance];
                let values = values.map(|number| number as f32);
                [&losses[..], &[r.gradient_norm, r.update_norm], &ratios, &values].concat()
            };
            close(&scalars(cpu), &scalars(gpu), &format!("{activation}, step {step}: losses"));
            close(cpu_gradient, gpu_gradient, &format!("{activation}, step {step}: gradient"));
            close(cpu_parameters, gpu_parameters, &format!("{activation}, step {step}: parameters"));
        }
    }
}

fn close(expected: &[f32], actual: &[f32], what: &str) {
    assert_eq!(expected.len(), actual.len(), "{what}");
    let worst = expected.iter().zip(actual).map(|(e, a)| (e - a).abs() / e.abs().max(1.0)).fold(0.0, f32::max);
    println!("{what}: worst difference {worst:e}");
    assert!(worst <= TOLERANCE, "{what}: differ by {worst:e}");
}

/// Large enough for every program that the backend tunes among.
#[test]
fn products_of_matrices_agree_with_the_cpu() {
    let gpu = ComputeDevice::open(DeviceChoice::Wgpu(None)).unwrap();
    for [rows, inner, columns] in
        [[64, 64, 64], [256, 256, 256], [1152, 64, 64], [64, 1152, 64], [1152, 256, 3], [512, 512, 512]]
    {
        let matrix = |rows: usize, columns: usize, device: &ComputeDevice| {
            let numbers: Vec<f32> = (0..rows * columns).map(|i| ((i * 29 % 101) as f32 - 50.0) / 50.0).collect();
            Tensor::<2>::from_data(TensorData::new(numbers, [rows, columns]), device.plain())
        };
        let product = |device: &ComputeDevice| {
            let data = matrix(rows, inner, device).matmul(matrix(inner, columns, device)).into_data();
            data.as_slice::<f32>().unwrap().to_vec()
        };
        let expected = product(&ComputeDevice::cpu());
        // Tuned in the first, taken as tuned in the second.
        for _ in 0..2 {
            close(&expected, &product(&gpu), &format!("{rows} x {inner} x {columns}"));
        }
    }
}

#[test]
fn the_measured_choice_names_both_devices() {
    let gpu = ComputeDevice::open(DeviceChoice::Wgpu(None)).unwrap();
    let config = Config::complete("".parse().unwrap(), &impala_env::builtin()).unwrap();
    // A software adapter compiles for long.
    let device = faster(&Workload::of(&config), 0, &gpu, |_| Duration::from_secs(600));
    println!("{}", device.note());
    assert!(device.note().contains(gpu.name()) && device.note().contains("cpu"), "{}", device.note());
    assert!(device.note().matches(" ms").count() == 2, "{}", device.note());
    // Software adapters are not even measured.
    if gpu.is_software() {
        let device = open(&config.compute, false, &Workload::of(&config)).unwrap();
        assert!(device.is_cpu() && device.note().contains("software renderer"), "{}", device.note());
    }
}

#[test]
fn an_adapter_that_does_not_exist_is_named() {
    let error = ComputeDevice::open(DeviceChoice::Wgpu(Some(99))).unwrap_err().to_string();
    println!("{error}");
    assert!(error.contains("--device wgpu:99") && error.contains("--device cpu"), "{error}");
}
