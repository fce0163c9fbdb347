//! Trajectories between the processes: to bytes, over loopback and back.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use impala_benches::loopback::LoopbackLearner;
use impala_benches::workloads::{batch_config, numbered, trajectory};
use impala_common::wire::{pb, trajectory_from_pb};
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

criterion_group!(benches, wire, loopback);
criterion_main!(benches);
