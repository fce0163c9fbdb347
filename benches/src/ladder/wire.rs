//! Rows of what passes between the processes: trajectories one way, weights the other.

use super::Plan;
use crate::figures::{Sample, Target, Unit};
use crate::loopback::{LoopbackActor, LoopbackLearner};
use crate::timing::rate;
use crate::workloads::{HIDDEN_10M, UNROLL_LENGTH, batch_config, consecutive_versions, numbered, trajectory};
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::{Decoder, Encoding, Words, encode};
use impala_common::wire::{pb, trajectory_from_pb};
use prost::Message;
use std::time::{Duration, Instant};

/// N of the trajectories.
const ENVIRONMENTS: usize = 64;
const FRAMES: usize = UNROLL_LENGTH * ENVIRONMENTS;

pub(super) fn codec(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let trajectory = trajectory(&batch_config(ENVIRONMENTS, &[]));
    let bytes = pb::Trajectory::from(&trajectory).encode_to_vec();
    let encode = rate(plan.seconds, FRAMES, || {
        std::hint::black_box(pb::Trajectory::from(&trajectory).encode_to_vec());
    });
    let decode = rate(plan.seconds, FRAMES, || {
        let message = pb::Trajectory::decode(&bytes[..]).expect("our own message");
        std::hint::black_box(trajectory_from_pb(&message, trajectory.shape())).expect("our own trajectory");
    });
    let row = |what, value| {
        Sample::new(
            format!("trajectory {UNROLL_LENGTH}x{ENVIRONMENTS}: {what}, one core"),
            Unit::FramesPerSecond,
            value,
        )
    };
    Ok(vec![row("encode", encode), row("decode and check", decode)])
}

pub(super) fn path(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let row = |(connections, in_flight_max, target): (u32, &str, Option<Target>)| {
        let config = batch_config(ENVIRONMENTS, &["--in-flight-max", in_flight_max]);
        let trajectory = trajectory(&config);
        let learner = LoopbackLearner::start(&config)?;
        let actors: Vec<LoopbackActor> = (0..connections).map(|name| learner.join(name)).collect::<Result<_, _>>()?;
        // Trajectories are made beforehand, as many as some 100 MB hold; the first round is warm-up.
        let round = 1500 / u64::from(connections);
        let (mut pushed, mut timed, mut rounds) = (0, Duration::ZERO, 0);
        while rounds < 2 || timed.as_secs_f64() < plan.seconds {
            let made: Vec<_> = actors.iter().map(|_| numbered(&trajectory, pushed, round)).collect();
            pushed += round;
            let started = Instant::now();
            std::thread::scope(|scope| {
                for (actor, trajectories) in actors.iter().zip(made) {
                    scope.spawn(|| actor.push(trajectories));
                }
            });
            if rounds > 0 {
                timed += started.elapsed();
            }
            rounds += 1;
        }
        let frames = (pushed - round) * u64::from(connections) * FRAMES as u64;
        let name = format!(
            "trajectory path alone, {UNROLL_LENGTH}x{ENVIRONMENTS}, {connections} connections, window {in_flight_max}"
        );
        Ok(Sample::new(name, Unit::FramesPerSecond, frames as f64 / timed.as_secs_f64()).with_target(target))
    };
    [(2, "16", Some(Target::AtLeast(8e6))), (2, "1", None)].into_iter().map(row).collect()
}

pub(super) fn weights(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let [before, after] = consecutive_versions(HIDDEN_10M);
    let rows = Encoding::ALL.map(|encoding| weights_in(encoding, plan, &before, &after));
    Ok(rows.concat())
}

fn weights_in(encoding: Encoding, plan: &Plan, before: &[f32], after: &[f32]) -> Vec<Sample> {
    let (format, megabytes) = (encoding.format(), 4.0 * after.len() as f64 / 1e6);
    let [old, new] = [before, after].map(|parameters| Words::round(format, parameters, 0));
    let (v0, v1) = (WeightsVersion(0), WeightsVersion(1));
    let base = |version, words| encoding.is_delta().then_some((version, words));
    let there = encode(v1, &new, base(v0, &old));
    let back = encode(v0, &old, base(v1, &new));
    let encoding_rate = rate(plan.seconds, 1, || {
        std::hint::black_box(encode(v1, &Words::round(format, after, 0), base(v0, &old)));
    });
    // There and back again, so that a delta always finds its base.
    let mut decoder = Decoder::new(after.len());
    decoder.decode(&encode(v0, &old, None)).expect("our own snapshot");
    let mut is_there = false;
    let mut decoded = Vec::new();
    let decoding_rate = rate(plan.seconds, 1, || {
        is_there = !is_there;
        decoded = decoder.decode(if is_there { &there } else { &back }).expect("our own snapshot");
    });
    let exact = if is_there { after } else { before };
    let largest = exact.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let error = decoded.iter().zip(exact).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs()));
    let name = |what: &str| format!("weights, {:.1} M parameters, {encoding}: {what}", after.len() as f64 / 1e6);
    vec![
        Sample::new(name("encode, one core"), Unit::MegabytesPerSecond, megabytes * encoding_rate),
        Sample::new(name("decode, one core"), Unit::MegabytesPerSecond, megabytes * decoding_rate),
        Sample::new(name("size as f32 over payload"), Unit::Ratio, 1e6 * megabytes / there.payload.len() as f64),
        Sample::new(name("largest error over largest parameter"), Unit::Share, f64::from(error / largest)),
    ]
}

pub(super) fn publish(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for hidden in ["64,64", HIDDEN_10M] {
        let versions = consecutive_versions(hidden);
        for encoding in [Encoding::F32, Encoding::F16Delta, Encoding::Bf16Delta] {
            let milliseconds = publishing(hidden, encoding, &versions, plan)?;
            let parameters = match versions[0].len() {
                few @ ..100_000 => format!("{:.1} k", few as f64 / 1e3),
                many => format!("{:.1} M", many as f64 / 1e6),
            };
            let name = format!("publish to visible on an actor, {parameters} parameters, {encoding}");
            samples.push(Sample::new(name, Unit::Milliseconds, milliseconds));
        }
    }
    Ok(samples)
}

/// Median time from the trainer's leaving a version to the actor's seeing it.
fn publishing(hidden: &str, encoding: Encoding, versions: &[Vec<f32>; 2], plan: &Plan) -> anyhow::Result<f64> {
    let config = batch_config(ENVIRONMENTS, &["--hidden", hidden, "--weights-encoding", encoding.name()]);
    let learner = LoopbackLearner::start(&config)?;
    let mut actor = learner.join(0)?;
    let (mut times, mut total) = (Vec::new(), Duration::ZERO);
    // The first versions go in full or before the encoding is known to be wanted.
    const WARM_UP: u64 = 3;
    for (version, parameters) in (0..).zip(versions.iter().cycle()) {
        let started = Instant::now();
        learner.slot().put(WeightsVersion(version), parameters);
        actor.wait_for_weights(WeightsVersion(version));
        if version >= WARM_UP {
            total += started.elapsed();
            times.push(started.elapsed());
        }
        if total.as_secs_f64() >= plan.seconds && times.len() >= 3 {
            break;
        }
    }
    times.sort_unstable();
    Ok(1e3 * times[times.len() / 2].as_secs_f64())
}
