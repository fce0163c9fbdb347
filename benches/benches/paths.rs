//! Single paths of the system, each alone on one core: environment, acting, wire, weights, V-trace, learner step.

use clap::Parser;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use impala_actor::rollout::{RollPlan, Roller};
use impala_actor::weights::Weights;
use impala_common::ids::{ActorIndex, Sequence, WeightsVersion};
use impala_common::snapshot::{Decoder, NumberFormat, Words, encode};
use impala_common::trajectory::Trajectory;
use impala_common::wire::{pb, trajectory_from_pb};
use impala_learner::batch::Batch;
use impala_learner::config::Config;
use impala_learner::config::settings::GivenSettings;
use impala_learner::device::ComputeDevice;
use impala_learner::initialise::initial_parameters;
use impala_learner::step::LearnerStep;
use impala_learner::vtrace::{VtraceClipping, VtraceInputs, VtraceReturns, vtrace};
use std::hint::black_box;
use std::sync::Arc;

/// glibc's allocator costs a learner step up to half its speed; the programs use this one too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: GivenSettings,
}

fn config(flags: &[&str]) -> Config {
    let flags = Flags::parse_from([&["bench"], flags].concat());
    Config::resolve(flags.settings, None).expect("the bench's own flags are sound")
}

fn roller(config: &Config) -> (Roller, Arc<Weights>) {
    let network = config.network();
    let parameters = initial_parameters(&network, config.seed);
    let roller = Roller::new(RollPlan {
        environment: config.environment,
        network,
        unroll_length: config.unroll_length,
        environments: config.environments_per_actor,
        seed: config.seed,
        actor_index: ActorIndex(0),
    });
    (roller, Arc::new(Weights { version: WeightsVersion(0), parameters }))
}

fn trajectory(config: &Config) -> Trajectory {
    let (mut roller, weights) = roller(config);
    roller.unroll(Sequence(0), &weights).expect("initial weights are finite")
}

/// Environment steps with the policy's forward pass, sampling and recording.
fn acting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("acting");
    for environments in ["8", "64"] {
        let batch = environments;
        let config =
            config(&["--unroll-length", "20", "--environments-per-actor", environments, "--batch-size", batch]);
        let (mut roller, weights) = roller(&config);
        group.throughput(Throughput::Elements((config.unroll_length * config.environments_per_actor) as u64));
        group.bench_function(format!("20x{environments}"), |bencher| {
            bencher.iter(|| roller.unroll(Sequence(0), &weights));
        });
    }
    group.finish();
}

/// A trajectory to protobuf's fields and back, checked.
fn wire(criterion: &mut Criterion) {
    let config = config(&["--unroll-length", "20", "--environments-per-actor", "64", "--batch-size", "64"]);
    let trajectory = trajectory(&config);
    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Elements(trajectory.shape().frames() as u64));
    group.bench_function("trajectory 20x64", |bencher| {
        bencher.iter(|| trajectory_from_pb(&pb::Trajectory::from(black_box(&trajectory)), trajectory.shape()));
    });
    group.finish();
}

/// Weights of about 5,000 and 1,000,000 parameters, encoded as a delta to the version before and decoded.
fn weights(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("weights");
    for hidden in ["64,64", "1000,1000"] {
        let network = config(&["--hidden", hidden]).network();
        let before = initial_parameters(&network, 1);
        let after: Vec<f32> = before.iter().map(|p| p * 1.001).collect();
        group.throughput(Throughput::Bytes(4 * before.len() as u64));
        for format in [NumberFormat::F32, NumberFormat::F16, NumberFormat::Bf16] {
            let name = format.encoding(true);
            let base = Words::round(format, &before);
            group.bench_function(format!("encode {name} {hidden}"), |bencher| {
                bencher.iter(|| {
                    let words = Words::round(format, black_box(&after));
                    encode(WeightsVersion(1), &words, Some((WeightsVersion(0), &base)))
                });
            });
            let full = encode(WeightsVersion(0), &base, None);
            let delta = encode(WeightsVersion(1), &Words::round(format, &after), Some((WeightsVersion(0), &base)));
            group.bench_function(format!("decode {name} {hidden}"), |bencher| {
                let held = || {
                    let mut decoder = Decoder::new(before.len());
                    decoder.decode(&full).expect("our own snapshot");
                    decoder
                };
                bencher.iter_batched(held, |mut decoder| decoder.decode(&delta), BatchSize::LargeInput);
            });
        }
    }
    group.finish();
}

fn vtrace_host(criterion: &mut Criterion) {
    let (steps, columns) = (20, 256);
    let array = |offset: f32| vec![offset; steps * columns];
    let (behaviour, target, discounts, rewards, values) =
        (array(-0.7), array(-0.6), array(0.99), array(0.1), array(1.0));
    let bootstrap = vec![1.0; columns];
    let clipping = VtraceClipping { rho_bar: 1.0, c_bar: 1.0, lambda: 1.0, pg_rho_bar: 1.0 };
    let inputs = VtraceInputs {
        columns,
        behaviour_log_probs: &behaviour,
        target_log_probs: &target,
        discounts: &discounts,
        rewards: &rewards,
        values: &values,
        bootstrap_values: &bootstrap,
    };
    let mut returns = VtraceReturns::default();
    let mut group = criterion.benchmark_group("vtrace");
    group.throughput(Throughput::Elements((steps * columns) as u64));
    group.bench_function("20x256", |bencher| bencher.iter(|| vtrace(black_box(&inputs), &clipping, &mut returns)));
    group.finish();
}

/// One whole update on the CPU.
fn learner_step(criterion: &mut Criterion) {
    // The pool is made once a process; one thread is the learner's default.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("nobody has made the pool before");
    let mut group = criterion.benchmark_group("learner step");
    for (hidden, unroll, columns, activation) in [
        ("64,64", "10", "8", "tanh"),
        ("64,64", "20", "64", "tanh"),
        ("64,64", "20", "256", "tanh"),
        ("64,64", "20", "256", "relu"),
        ("128,128", "20", "256", "tanh"),
        ("256,256", "20", "256", "tanh"),
    ] {
        let config = config(&[
            "--hidden",
            hidden,
            "--activation",
            activation,
            "--unroll-length",
            unroll,
            "--environments-per-actor",
            columns,
            "--batch-size",
            columns,
        ]);
        let network = config.network();
        let parameters = initial_parameters(&network, 1);
        let mut step = LearnerStep::new(network, parameters, config.step(), ComputeDevice::cpu());
        let batch = Batch::join(&[trajectory(&config)]);
        group.throughput(Throughput::Elements(batch.frames() as u64));
        group.bench_function(format!("{hidden} {activation} {unroll}x{columns}"), |bencher| {
            bencher.iter(|| step.run(&batch, 1e-6));
        });
    }
    group.finish();
}

criterion_group!(benches, acting, wire, weights, vtrace_host, learner_step);
criterion_main!(benches);
