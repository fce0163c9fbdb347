//! The actor's parts on one core: environments, policy, and both with recording.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use impala_benches::workloads::{Stepping, UNROLL_LENGTH, batch_config, roller};
use impala_common::ids::Sequence;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::{self, Purpose};
use impala_learner::learn::initialise::initial_parameters;
use impala_policy::policy::{Decision, Policy};

/// glibc's allocator costs a learner step up to half its speed; the programs use this one too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Environments alone, stepped with actions drawn beforehand.
fn environment(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("environment");
    for kind in impala_env::builtin().kinds().iter().filter(|kind| kind.name().as_str() != "cartpole-v0") {
        let name = kind.name();
        for environments in [1, 64] {
            let mut stepping = Stepping::new(kind, environments);
            group.throughput(Throughput::Elements(stepping.frames() as u64));
            group.bench_function(format!("{name} {environments}"), |bencher| bencher.iter(|| stepping.unroll()));
        }
    }
    group.finish();
}

/// The forward pass with the choice of actions, and the forward pass alone.
fn policy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy");
    let config = batch_config(1, &[]);
    let network = config.network();
    let mut policy = Policy::new(&network);
    policy.set_parameters(&initial_parameters(&network, config.task.seed));
    let mut rng = seed::rng(1, Purpose::Policy { actor: 0 });
    for rows in [1, 8, 64, 256] {
        let observations = vec![0.1; rows * network.observation_len];
        let (mut actions, mut behaviour_log_probs) = (vec![0; rows], vec![0.0; rows]);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("act {rows}"), |bencher| {
            bencher.iter(|| {
                let decision =
                    Decision { actions: ArrayMut::U8(&mut actions), behaviour_log_probs: &mut behaviour_log_probs };
                policy.act(ArrayRef::F32(&observations), &[], &mut rng, decision);
            });
        });
        group.bench_function(format!("forward {rows}"), |bencher| {
            bencher.iter(|| policy.forward(ArrayRef::F32(&observations), rows).values[0]);
        });
    }
    group.finish();
}

/// Environment steps with the policy's forward pass, sampling and recording.
fn acting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("acting");
    for environments in [1, 8, 64, 256] {
        let (mut roller, weights) = roller(&batch_config(environments, &[]));
        group.throughput(Throughput::Elements((UNROLL_LENGTH * environments) as u64));
        group.bench_function(format!("{UNROLL_LENGTH}x{environments}"), |bencher| {
            bencher.iter(|| roller.unroll(Sequence(0), &weights));
        });
    }
    group.finish();
}

criterion_group!(benches, environment, policy, acting);
criterion_main!(benches);
