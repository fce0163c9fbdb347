//! Weights to bytes and back, of the default network and of one with 10 million parameters: two consecutive versions of a
//! real run.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use impala_benches::workloads::{HIDDEN_10M, consecutive_versions};
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::{Decoder, Encoding, Words, encode};
use std::hint::black_box;

/// glibc's allocator costs a learner step up to half its speed; the programs use this one too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounded and encoded as the publisher does it, decoded as the actor does it.
fn weights(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("weights");
    // Of the large network a sample is one call.
    group.sample_size(20);
    for hidden in ["64,64", HIDDEN_10M] {
        let [before, after] = consecutive_versions(hidden);
        group.throughput(Throughput::Bytes(4 * before.len() as u64));
        for encoding in Encoding::ALL {
            let format = encoding.format();
            let [old, new] = [&before, &after].map(|parameters| Words::round(format, parameters, 0));
            let (v0, v1) = (WeightsVersion(0), WeightsVersion(1));
            let base = |version, words| encoding.is_delta().then_some((version, words));
            group.bench_function(format!("encode {encoding} {hidden}"), |bencher| {
                bencher.iter(|| encode(v1, &Words::round(format, black_box(&after), 0), base(v0, &old)));
            });
            // There and back again, so that a delta always finds its base.
            let snapshots = [encode(v1, &new, base(v0, &old)), encode(v0, &old, base(v1, &new))];
            let mut decoder = Decoder::new(before.len());
            decoder.decode(&encode(v0, &old, None)).expect("our own snapshot");
            let mut next = snapshots.iter().cycle();
            group.bench_function(format!("decode {encoding} {hidden}"), |bencher| {
                bencher.iter(|| decoder.decode(next.next().expect("a cycle")).expect("our own snapshot"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, weights);
criterion_main!(benches);
