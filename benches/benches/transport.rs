//! What passes between the processes: trajectories to bytes, over loopback and back; weights to bytes and back.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use impala_benches::loopback::LoopbackLearner;
use impala_benches::workloads::{batch_config, config, numbered, trajectory};
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::{Decoder, NumberFormat, Words, encode};
use impala_common::wire::{pb, trajectory_from_pb};
use impala_learner::learn::initialise::initial_parameters;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// glibc's allocator costs a learner step up to half its speed; the programs use this one too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A trajectory to protobuf's fields and back, checked.
fn wire(criterion: &mut Criterion) {
    let trajectory = trajectory(&batch_config(64, &[]));
    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Elements(trajectory.shape().frames() as u64));
    group.bench_function("trajectory 20x64", |bencher| {
        bencher.iter(|| trajectory_from_pb(&pb::Trajectory::from(black_box(&trajectory)), trajectory.shape()));
    });
    group.finish();
}

/// One connection through the real link and service, from the rollout's hands to the receipt.
fn loopback(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loopback");
    for in_flight_max in ["1", "16"] {
        let config = batch_config(64, &["--in-flight-max", in_flight_max]);
        let trajectory = trajectory(&config);
        let learner = LoopbackLearner::start(&config).expect("a loopback port");
        let actor = learner.join(0).expect("its own learner accepts it");
        let mut pushed = 0;
        group.throughput(Throughput::Elements(trajectory.shape().frames() as u64));
        group.bench_function(format!("trajectory 20x64, window {in_flight_max}"), |bencher| {
            bencher.iter_custom(|count| {
                let (mut left, mut timed) = (count, Duration::ZERO);
                while left > 0 {
                    // As many as fit into some 40 MB.
                    let trajectories = numbered(&trajectory, pushed, left.min(1000));
                    pushed += trajectories.len() as u64;
                    left -= trajectories.len() as u64;
                    let started = Instant::now();
                    actor.push(trajectories);
                    timed += started.elapsed();
                }
                timed
            });
        });
    }
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

criterion_group!(benches, wire, loopback, weights);
criterion_main!(benches);
