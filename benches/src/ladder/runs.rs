//! Rows of whole runs: throughput, scaling over processes, memory.

use super::parts::{actor_name, learner_name};
use super::{Plan, Throughput};
use crate::cluster::{self, RunPlan};
use crate::figures::{Sample, Target, Unit, value};
use crate::machine;
use crate::memory::MemoryReport;
use crate::note;
use std::time::Duration;

const END_TO_END: &str = "trained frames, end to end";

impl Throughput {
    fn run(&self, plan: &Plan, time: Duration) -> RunPlan {
        let flags = [
            ("--unroll-length", self.unroll_length),
            ("--environments-per-actor", self.environments_per_actor),
            ("--batch-size", self.batch_size),
            ("--in-flight-max", self.in_flight_max),
        ];
        let flags = flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.to_string()]);
        // Finer than for people, so that little is lost at both ends of the steady state.
        let flags = flags.chain(["--report-interval".into(), "0.05".into()]).chain(self.flags.clone()).collect();
        RunPlan { program: plan.program.clone(), actors: self.actors, flags, time }
    }

    fn describe(&self) -> String {
        let Self { actors, environments_per_actor, batch_size, unroll_length, in_flight_max, flags } = self;
        let flags = flags.iter().map(|flag| format!(" {flag}")).collect::<String>();
        format!(
            "{actors} actors x {environments_per_actor} environments, {unroll_length}x{batch_size}, window {in_flight_max}{flags}"
        )
    }
}

pub(super) fn end_to_end(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let throughput = &plan.throughput;
    let report = cluster::run(&throughput.run(plan, plan.run_time))?;
    let name = format!("{END_TO_END}: {}", throughput.describe());
    Ok(vec![
        Sample::new(name, Unit::FramesPerSecond, report.frames_per_second).with_target(Some(Target::AtLeast(500e3))),
        Sample::new("end to end: mean policy lag", Unit::Updates, report.policy_lag),
        Sample::new("end to end: trajectories refused or lost", Unit::Share, report.refused),
        Sample::new(
            "end to end: processor time of the learner",
            Unit::NanosecondsPerFrame,
            1e9 * report.learner_processor,
        ),
        Sample::new(
            "end to end: processor time of all actors",
            Unit::NanosecondsPerFrame,
            1e9 * report.actors_processor,
        ),
        Sample::new("end to end: processor time left idle or to others", Unit::Share, report.idle),
    ])
}

/// What all cores could do if they only acted and learned, each as fast as alone, in the right proportion.
pub(super) fn share_of_ceiling(samples: &[Sample]) -> Vec<Sample> {
    // Only for the network and the batch that the learner's row trains, which stand in the name of the run.
    let is_that_of_the_parts = |name: &str| {
        name.contains("20x256") && !["--hidden", "--activation", "--environment"].iter().any(|flag| name.contains(flag))
    };
    let mut runs = samples.iter().filter(|sample| sample.name.starts_with(END_TO_END));
    let run = runs.find(|run| is_that_of_the_parts(&run.name));
    let learner = value(samples, &learner_name("64,64", "tanh"));
    let environments = run.and_then(|run| run.name.split(" actors x ").nth(1)?.split(' ').next()?.parse().ok());
    let actor = environments.and_then(|environments| value(samples, &actor_name(environments)));
    let (Some(run), Some(learner), Some(actor)) = (run, learner, actor) else { return Vec::new() };
    let cores = machine::cores();
    let ceiling = cores as f64 / (1.0 / learner + 1.0 / actor);
    let name = format!("composed ceiling, {cores} cores / (1/learner + 1/actor)");
    vec![
        Sample::new("processor time of the learner's step alone", Unit::NanosecondsPerFrame, 1e9 / learner),
        Sample::new("processor time of the actor alone", Unit::NanosecondsPerFrame, 1e9 / actor),
        Sample::new(name, Unit::FramesPerSecond, ceiling),
        Sample::new("end to end: share of the composed ceiling", Unit::Share, run.value / ceiling)
            .with_target(Some(Target::AtLeast(0.75))),
    ]
}

/// A way to add actors.
struct Scaling {
    /// For people.
    name: &'static str,
    /// N for a number of actors.
    environments_per_actor: fn(usize) -> usize,
    /// B
    batch_size: usize,
}

/// T is 20 and the window 1 in all of them.
const SCALING: [Scaling; 3] = [
    // The usual update, cut into ever smaller trajectories: every one of them costs a receipt and a version of the weights.
    Scaling { name: "256 environments in all, 20x256", environments_per_actor: |actors| 256 / actors, batch_size: 256 },
    // An update large enough that the usual trajectory is left when 64 actors share it.
    Scaling {
        name: "4096 environments in all, 20x4096",
        environments_per_actor: |actors| 4096 / actors,
        batch_size: 4096,
    },
    // Usual trajectories, each an update by itself; all actors are sent every version.
    Scaling { name: "64 environments each, 20x64", environments_per_actor: |_| 64, batch_size: 64 },
];

impl Scaling {
    fn prefix(&self) -> String {
        format!("scaling, {}, window 1: ", self.name)
    }
}

pub(super) fn scaling(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for scaling in &SCALING {
        for actors in plan.scaling_actors.iter().copied().filter(|actors| 256_usize.is_multiple_of(*actors)) {
            let name = format!("{}{actors} {}", scaling.prefix(), if actors == 1 { "actor" } else { "actors" });
            note(&format!("  {name}"));
            let throughput = Throughput {
                actors,
                environments_per_actor: (scaling.environments_per_actor)(actors),
                batch_size: scaling.batch_size,
                unroll_length: 20,
                in_flight_max: 1,
                // Many actors with small batches are many updates behind; that is not what is measured here.
                flags: vec!["--policy-lag-max".into(), "10000".into()],
            };
            let report = cluster::run(&throughput.run(plan, plan.scaling_time))?;
            samples.push(Sample::new(name, Unit::FramesPerSecond, report.frames_per_second));
        }
    }
    Ok(samples)
}

/// The slowest run with more actors than cores against the fastest with as many or fewer.
pub(super) fn cost_of_many_actors(samples: &[Sample]) -> Vec<Sample> {
    let cores = machine::cores();
    let share = |scaling: &Scaling| {
        let prefix = scaling.prefix();
        let runs = samples.iter().filter_map(|sample| {
            let actors: usize = sample.name.strip_prefix(&prefix)?.split(' ').next()?.parse().ok()?;
            Some((actors, sample.value))
        });
        let (many, few): (Vec<_>, Vec<_>) = runs.partition(|(actors, _)| *actors > cores);
        let few = few.into_iter().map(|(_, rate)| rate).max_by(f64::total_cmp)?;
        let many = many.into_iter().map(|(_, rate)| rate).min_by(f64::total_cmp)?;
        let name = format!("{prefix}slowest with more actors than cores over fastest without");
        Some(Sample::new(name, Unit::Share, many / few).with_target(Some(Target::AtLeast(0.9))))
    };
    SCALING.iter().filter_map(share).collect()
}

pub(super) fn memory(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let report = cluster::run(&plan.throughput.run(plan, plan.memory_time))?;
    let rows = |process: &str, memory: MemoryReport, bound: f64| {
        let name = |what: &str| format!("memory of {process}: {what}");
        let target = Some(Target::AtMost(bound));
        let mut rows = vec![
            Sample::new(name("peak"), Unit::Megabytes, memory.peak).with_target(target),
            Sample::new(name("resident at the start"), Unit::Megabytes, memory.start),
            Sample::new(name("resident at the end"), Unit::Megabytes, memory.end).with_target(target),
        ];
        // Of less than a minute the slope is noise.
        if plan.memory_time.as_secs() >= 60 {
            rows.push(Sample::new(name("slope"), Unit::MegabytesPerMinute, memory.slope));
        }
        rows
    };
    Ok([rows("the learner", report.learner_memory, 150.0), rows("an actor", report.actor_memory, 30.0)].concat())
}
