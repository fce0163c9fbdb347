//! What is compared: whole runs of `learner` and `actor` processes, the composed ceiling, sizes of the programs.

use super::Side;
use crate::cluster::{self, RunPlan, RunReport};
use crate::figures::{Sample, Unit, value};
use crate::machine;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::process::{Command, Stdio};

/// Figures that are measured together.
pub struct Row {
    /// For the command line.
    pub name: &'static str,
    /// For people.
    pub about: &'static str,
    /// Whether it is the same in every round, so that one is enough.
    pub is_constant: bool,
    pub(super) measure: fn(&Side) -> anyhow::Result<Vec<Sample>>,
}

/// All rows, in the order in which they are measured.
pub const ROWS: &[Row] = &[
    Row::new("defaults", "1 actor x 8 environments, 10x8: what `train` does without flags", defaults),
    Row::new("throughput", "2 actors x 128 environments, 20x256; memory", throughput),
    Row::new("ceiling", "learner step and actor alone on one core: what the throughput is a share of", ceiling),
    Row::new("many-actors", "256 environments over 64 actors, 20x256", many_actors),
    Row::new("large-batch", "4096 environments over 64 actors, 20x4096, and the best of 1, 4 and 16", large_batch),
    Row { is_constant: true, ..Row::new("sizes", "sizes of the programs", sizes) },
];

impl Row {
    const fn new(name: &'static str, about: &'static str, measure: fn(&Side) -> anyhow::Result<Vec<Sample>>) -> Self {
        Self { name, about, is_constant: false, measure }
    }
}

/// Processes and shapes of a whole run.
struct Shape {
    actors: usize,
    environments_per_actor: usize,
    unroll_length: usize,
    batch_size: usize,
    is_lag_bounded: bool,
}

const DEFAULTS: Shape =
    Shape { actors: 1, environments_per_actor: 8, unroll_length: 10, batch_size: 8, is_lag_bounded: true };
const THROUGHPUT: Shape =
    Shape { actors: 2, environments_per_actor: 128, unroll_length: 20, batch_size: 256, is_lag_bounded: true };

impl Shape {
    /// T is 20; many actors with small batches are many updates behind, which is not what is measured here.
    const fn shared(environments: usize, actors: usize) -> Self {
        Self {
            actors,
            environments_per_actor: environments / actors,
            unroll_length: 20,
            batch_size: environments,
            is_lag_bounded: false,
        }
    }

    fn run(&self, side: &Side) -> anyhow::Result<RunReport> {
        let flags = [
            ("--unroll-length", self.unroll_length),
            ("--environments-per-actor", self.environments_per_actor),
            ("--batch-size", self.batch_size),
        ];
        let flags = flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.to_string()]);
        let lag = ["--policy-lag-max", "10000"].iter().filter(|_| !self.is_lag_bounded);
        // Finer than for people, so that little is lost at both ends of the steady state.
        let fixed = ["--report-interval", "0.05"].iter().chain(lag).map(|flag| (*flag).to_owned());
        let flags = flags.chain(fixed).collect();
        let program = side.directory.join("impala");
        cluster::run(&RunPlan { program, actors: self.actors, flags, time: side.run_time })
    }
}

fn rate_and_costs(name: &str, report: &RunReport) -> Vec<Sample> {
    let cost = |what: &str, seconds: f64| {
        Sample::new(format!("{name}: processor time of {what}"), Unit::NanosecondsPerFrame, 1e9 * seconds)
    };
    vec![
        Sample::new(name, Unit::FramesPerSecond, report.frames_per_second),
        cost("the learner", report.learner_processor),
        cost("all actors", report.actors_processor),
        Sample::new(format!("{name}: mean policy lag"), Unit::Updates, report.policy_lag),
        Sample::new(format!("{name}: peak memory of the learner"), Unit::Megabytes, report.learner_memory.peak),
        Sample::new(format!("{name}: peak memory of an actor"), Unit::Megabytes, report.actor_memory.peak),
    ]
}

fn defaults(side: &Side) -> anyhow::Result<Vec<Sample>> {
    Ok(rate_and_costs("defaults, 1 actor x 8, 10x8", &DEFAULTS.run(side)?))
}

const THROUGHPUT_NAME: &str = "2 actors x 128, 20x256";

fn throughput(side: &Side) -> anyhow::Result<Vec<Sample>> {
    Ok(rate_and_costs(THROUGHPUT_NAME, &THROUGHPUT.run(side)?))
}

const CEILING_NAME: &str = "composed ceiling of it";

/// As the side's own `ladder` measures the parts, each in a process of its own.
fn ceiling(side: &Side) -> anyhow::Result<Vec<Sample>> {
    let program = side.directory.join("ladder");
    ensure!(program.exists(), "{} does not exist: run `cargo build --release --workspace` there", program.display());
    let directory = tempfile::tempdir()?;
    let json = directory.path().join("parts.json");
    let environments = THROUGHPUT.environments_per_actor.to_string();
    let output = Command::new(&program)
        .args(["--only", "actor,learner", "--repeats", "1", "--seconds", &side.seconds.to_string()])
        .args(["--environments-per-actor", &environments, "--json"])
        .arg(&json)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ended with {}: {}", program.display(), output.status, words.trim());
    let report: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    let figure = |name: &str| {
        let figures = report["figures"].as_array().into_iter().flatten();
        let mut named = figures.filter(|figure| figure["name"] == name).filter_map(|figure| figure["median"].as_f64());
        named.next().with_context(|| format!("the ladder of {} has no figure `{name}`", side.directory.display()))
    };
    let learner = figure("learner step alone, 64,64 tanh, 20x256, one core")?;
    let actor = figure(&format!("actor alone, {environments} environments, one core"))?;
    let ceiling = machine::cores() as f64 / (1.0 / learner + 1.0 / actor);
    Ok(vec![
        Sample::new("learner step alone, 20x256, one core", Unit::FramesPerSecond, learner),
        Sample::new("actor alone, 128 environments, one core", Unit::FramesPerSecond, actor),
        Sample::new(CEILING_NAME, Unit::FramesPerSecond, ceiling),
    ])
}

const MANY_NAME: &str = "256 environments over 64 actors, 20x256";

fn many_actors(side: &Side) -> anyhow::Result<Vec<Sample>> {
    Ok(rate_and_costs(MANY_NAME, &Shape::shared(256, 64).run(side)?))
}

/// Actor processes among which the best is looked for.
const FEW_ACTORS: [usize; 3] = [1, 4, 16];

fn large_batch(side: &Side) -> anyhow::Result<Vec<Sample>> {
    let name = |actors: usize| format!("4096 environments over {actors} actors, 20x4096");
    let mut samples = rate_and_costs(&name(64), &Shape::shared(4096, 64).run(side)?);
    let many = samples[0].value;
    let mut best = 0.0_f64;
    for actors in FEW_ACTORS {
        let rate = Shape::shared(4096, actors).run(side)?.frames_per_second;
        samples.push(Sample::new(name(actors), Unit::FramesPerSecond, rate));
        best = best.max(rate);
    }
    samples.push(Sample::new("4096 environments: 64 actors' share of the best of 1, 4, 16", Unit::Share, many / best));
    Ok(samples)
}

/// Figures of the same side and round over one another, as far as their rows were measured.
pub(super) fn shares(samples: &[Sample]) -> Vec<Sample> {
    let share = |name: &str, part: &str, whole: &str| {
        Some(Sample::new(name, Unit::Share, value(samples, part)? / value(samples, whole)?))
    };
    let shares = [
        share("2 actors x 128, 20x256: share of the composed ceiling", THROUGHPUT_NAME, CEILING_NAME),
        share("256 environments: 64 actors' share of 2 actors", MANY_NAME, THROUGHPUT_NAME),
    ];
    shares.into_iter().flatten().collect()
}

fn sizes(side: &Side) -> anyhow::Result<Vec<Sample>> {
    let size = |program: &str| {
        let path = side.directory.join(program);
        let bytes = std::fs::metadata(&path).with_context(|| format!("no size of {}", path.display()))?.len();
        Ok(Sample::new(format!("size of {program}"), Unit::Megabytes, bytes as f64 / 1e6))
    };
    ["impala", "impala-learner", "impala-actor"].map(size).into_iter().collect()
}
