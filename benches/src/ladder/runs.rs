//! Rows of whole runs: throughput, scaling over processes, memory.

use super::parts::{actor_name, learner_name};
use super::{Plan, Throughput};
use crate::cluster::{self, RunPlan, Until};
use crate::figures::{Sample, Target, Unit, value};
use crate::machine;
use crate::memory::MemoryReport;
use crate::note;

const END_TO_END: &str = "trained frames, end to end";

impl Throughput {
    fn run(&self, plan: &Plan, until: Until) -> RunPlan {
        let flags = [
            ("--unroll-length", self.unroll_length),
            ("--environments-per-actor", self.environments_per_actor),
            ("--batch-size", self.batch_size),
            ("--in-flight-max", self.in_flight_max),
        ];
        let flags = flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.to_string()]);
        // Finer than for people, so that little is lost at both ends of the steady state.
        let flags = flags.chain(["--report-interval".into(), "0.05".into()]).chain(self.flags.clone()).collect();
        RunPlan { program: plan.program.clone(), actors: self.actors, flags, until }
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
    let report = cluster::run(&throughput.run(plan, Until::Frames(plan.frames)))?;
    let name = format!("{END_TO_END}: {}", throughput.describe());
    Ok(vec![
        Sample::new(name, Unit::FramesPerSecond, report.frames_per_second).with_target(Some(Target::AtLeast(500e3))),
        Sample::new("end to end: mean policy lag", Unit::Updates, report.policy_lag),
        Sample::new("end to end: trajectories refused or lost", Unit::Share, report.refused),
    ])
}

/// What all cores could do if they only acted and learned, each as fast as alone, in the right proportion.
pub(super) fn share_of_ceiling(samples: &[Sample]) -> Vec<Sample> {
    let run = samples.iter().find(|sample| sample.name.starts_with(END_TO_END));
    let learner = value(samples, &learner_name("64,64", "tanh"));
    // The number of environments stands in the name of the run.
    let environments = run.and_then(|run| run.name.split(" actors x ").nth(1)?.split(' ').next()?.parse().ok());
    let actor = environments.and_then(|environments| value(samples, &actor_name(environments)));
    let (Some(run), Some(learner), Some(actor)) = (run, learner, actor) else { return Vec::new() };
    let cores = machine::cores();
    let ceiling = cores as f64 / (1.0 / learner + 1.0 / actor);
    let name = format!("composed ceiling, {cores} cores / (1/learner + 1/actor)");
    vec![
        Sample::new(name, Unit::FramesPerSecond, ceiling),
        Sample::new("end to end: share of the composed ceiling", Unit::Share, run.value / ceiling)
            .with_target(Some(Target::AtLeast(0.75))),
    ]
}

/// Total environments of the row in which they are constant; also B.
const ENVIRONMENTS_IN_ALL: usize = 256;
/// Environments of each actor in the other row; also B: each update is one trajectory.
const ENVIRONMENTS_EACH: usize = 64;

fn scaling_name(kind: &str, actors: usize) -> String {
    format!("scaling, {kind}: {actors} actor processes")
}

const KIND_IN_ALL: &str = "256 environments in all, 20x256, window 1";
const KIND_EACH: &str = "64 environments each, 20x64, window 1";

pub(super) fn scaling(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (kind, environments, batch_size) in [
        (KIND_IN_ALL, (|actors| ENVIRONMENTS_IN_ALL / actors) as fn(usize) -> usize, ENVIRONMENTS_IN_ALL),
        (KIND_EACH, |_| ENVIRONMENTS_EACH, ENVIRONMENTS_EACH),
    ] {
        for actors in plan.scaling_actors.iter().copied().filter(|actors| ENVIRONMENTS_IN_ALL.is_multiple_of(*actors)) {
            let name = scaling_name(kind, actors);
            note(&format!("  {name}"));
            let throughput = Throughput {
                actors,
                environments_per_actor: environments(actors),
                batch_size,
                unroll_length: 20,
                in_flight_max: 1,
                // Many actors with small batches are many updates behind; that is not what is measured here.
                flags: vec!["--policy-lag-max".into(), "10000".into()],
            };
            let report = cluster::run(&throughput.run(plan, Until::Frames(plan.scaling_frames)))?;
            samples.push(Sample::new(name, Unit::FramesPerSecond, report.frames_per_second));
        }
    }
    Ok(samples)
}

/// The slowest run with more actors than cores against the fastest with as many or fewer.
pub(super) fn cost_of_many_actors(samples: &[Sample]) -> Vec<Sample> {
    let cores = machine::cores();
    let share = |kind: &str| {
        let prefix = scaling_name(kind, 0);
        let prefix = prefix.split("0 actor").next().unwrap_or_default().to_owned();
        let runs = samples.iter().filter_map(|sample| {
            let actors: usize = sample.name.strip_prefix(&prefix)?.split(' ').next()?.parse().ok()?;
            Some((actors, sample.value))
        });
        let (many, few): (Vec<_>, Vec<_>) = runs.partition(|(actors, _)| *actors > cores);
        let few = few.into_iter().map(|(_, rate)| rate).max_by(f64::total_cmp)?;
        let many = many.into_iter().map(|(_, rate)| rate).min_by(f64::total_cmp)?;
        let name = format!("scaling, {kind}: slowest with more actors than cores over fastest without");
        Some(Sample::new(name, Unit::Share, many / few).with_target(Some(Target::AtLeast(0.9))))
    };
    [KIND_IN_ALL, KIND_EACH].into_iter().filter_map(share).collect()
}

pub(super) fn memory(plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let report = cluster::run(&plan.throughput.run(plan, Until::Time(plan.memory_time)))?;
    let rows = |process: &str, memory: MemoryReport, bound: f64| {
        let name = |what: &str| format!("memory of {process}: {what}");
        let target = Some(Target::AtMost(bound));
        vec![
            Sample::new(name("peak"), Unit::Megabytes, memory.peak).with_target(target),
            Sample::new(name("resident at the start"), Unit::Megabytes, memory.start),
            Sample::new(name("resident at the end"), Unit::Megabytes, memory.end).with_target(target),
            Sample::new(name("slope"), Unit::MegabytesPerMinute, memory.slope),
        ]
    };
    Ok([rows("the learner", report.learner_memory, 150.0), rows("an actor", report.actor_memory, 30.0)].concat())
}
