//! The learner's parts on one core: batcher, V-trace, whole updates, and the hand-written passes beside them.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use impala_benches::workloads::{Correction, Learning, batch_config, config, numbered, trajectory};
use impala_common::ids::Incarnation;
use impala_common::trajectory::Episode;
use impala_learner::handover::episodes::{EpisodeRecorder, Source};
use impala_learner::handover::ledger::Account;
use impala_learner::handover::progress::Progress;
use impala_learner::learn::batch::{Batch, Columns};
use impala_learner::learn::compute::ComputeDevice;
use impala_learner::learn::initialise::initial_parameters;
use impala_learner::learn::step::LearnerStep;
use impala_learner::run::checkpoint::Checkpoint;
use impala_learner::run::recorded::RecordedSettings;
use std::collections::BTreeMap;

/// glibc's allocator costs a learner step up to half its speed; the programs use this one too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trajectories side by side in one batch.
fn batcher(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batcher");
    for (environments, trajectories) in [(256, 1), (64, 4), (4, 64)] {
        let batch = Batch::new(numbered(&trajectory(&batch_config(environments, &[])), 0, trajectories));
        let mut columns = Columns::default();
        group.throughput(Throughput::Elements(batch.frames() as u64));
        group.bench_function(format!("gather {trajectories} of 20x{environments}"), |bencher| {
            bencher.iter(|| batch.gather(0..batch.columns(), &mut columns));
        });
    }
    group.finish();
}

/// What the queue's lock is held for besides the batches: the episodes of a trajectory of the defaults.
fn episodes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("episodes");
    let trajectories = numbered(&trajectory(&config(&[])), 0, 128);
    group.throughput(Throughput::Elements(trajectories.len() as u64));
    group.bench_function("record 128 of 10x8", |bencher| {
        let record = |mut recorder: EpisodeRecorder| {
            trajectories.iter().for_each(|one| recorder.record(Source::process(Incarnation(1)), one));
            recorder
        };
        bencher.iter_batched(EpisodeRecorder::default, record, BatchSize::SmallInput);
    });
    group.finish();
}

fn vtrace(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vtrace");
    let mut correction = Correction::new();
    group.throughput(Throughput::Elements(Correction::FRAMES as u64));
    group.bench_function("20x256", |bencher| bencher.iter(|| correction.run()));
    group.finish();
}

/// One whole update on the CPU.
fn learner_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("learner step");
    for (hidden, unroll, columns, activation) in [
        ("64,64", "10", "8", "tanh"),
        ("64,64", "20", "64", "tanh"),
        ("64,64", "20", "256", "tanh"),
        ("64,64", "20", "256", "relu"),
        ("128,128", "20", "256", "tanh"),
        ("256,256", "20", "256", "tanh"),
    ] {
        let network = ["--hidden", hidden, "--activation", activation];
        let shape = ["--unroll-length", unroll, "--environments-per-actor", columns, "--batch-size", columns];
        let mut learning = Learning::new(&config(&[&network[..], &shape].concat()));
        group.throughput(Throughput::Elements(learning.frames() as u64));
        group.bench_function(format!("{hidden} {activation} {unroll}x{columns}"), |bencher| {
            bencher.iter(|| learning.step());
        });
    }
    group.finish();
}

/// What a checkpoint costs the trainer, that is the copy; and what its writer does with it, on a thread of its own.
fn checkpoint(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checkpoint");
    for hidden in ["64,64", "1024,1024"] {
        let config = config(&["--hidden", hidden]);
        let (network, settings) = (config.network(), RecordedSettings::of(&config));
        let parameters = initial_parameters(&network, 1);
        let mut step = LearnerStep::new(&network, parameters, config.step(), &ComputeDevice::cpu());
        let mut progress = Progress::new(475.0);
        let episode = Episode { episode_return: 100.0, length: 100 };
        // A learning curve of full length, as after millions of frames.
        (0..10_000).for_each(|_| progress.record_update(80, std::iter::once(episode)));
        let copy = |step: &mut LearnerStep| {
            Checkpoint::new(
                settings.clone(),
                step,
                progress.save_with_policy(),
                Account::default(),
                BTreeMap::default(),
            )
        };
        group.bench_function(format!("copy {hidden}"), |bencher| bencher.iter(|| copy(&mut step)));
        let checkpoint = copy(&mut step);
        group.bench_function(format!("encode {hidden}"), |bencher| bencher.iter(|| checkpoint.encode()));
    }
    group.finish();
}

criterion_group!(benches, batcher, episodes, vtrace, learner_step, checkpoint);
criterion_main!(benches);
