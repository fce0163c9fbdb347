//! The ladder: from the parts of the system, each alone, to whole runs. Every row is measured in a process of its own, so
//! that none meets the allocator, the thread pool or the caches of another; those of one core are pinned to it where
//! `taskset` is to be had.

mod parts;
mod runs;
mod wire;

use crate::figures::Sample;
use crate::machine;
use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How much to measure and what to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For each figure of a single path.
    pub seconds: f64,
    /// The `impala` program.
    pub program: PathBuf,
    /// The throughput configuration.
    pub throughput: Throughput,
    /// Length of an end-to-end run.
    pub run_time: Duration,
    /// Length of each run of the scaling rows.
    pub scaling_time: Duration,
    /// Actor processes of the scaling rows.
    pub scaling_actors: Vec<usize>,
    /// Length of the run whose memory is watched.
    pub memory_time: Duration,
}

/// What the end-to-end run looks like.
#[derive(Clone, Debug)]
pub struct Throughput {
    /// Actor processes.
    pub actors: usize,
    /// N
    pub environments_per_actor: usize,
    /// B
    pub batch_size: usize,
    /// T
    pub unroll_length: usize,
    /// Window of each actor.
    pub in_flight_max: usize,
    /// Other flags of the learner.
    pub flags: Vec<String>,
}

/// Figures that are measured together.
pub struct Row {
    /// The name by which `--only` chooses it.
    pub name: &'static str,
    /// For people.
    pub about: &'static str,
    is_on_one_core: bool,
    measure: fn(&Plan) -> anyhow::Result<Vec<Sample>>,
    /// Figures that follow from those of this row and the rows before it.
    derive: fn(&[Sample]) -> Vec<Sample>,
}

/// All rows, in the order in which they are measured.
pub const ROWS: &[Row] = &[
    Row::on_one_core("environment", "environments alone", parts::environment),
    Row::on_one_core("actor", "environments, policy and recording", parts::actor),
    Row::on_one_core("yardstick", "hand-written forward and backward pass", parts::yardstick),
    Row::on_one_core("learner", "whole updates, and their share of the yardstick", parts::learner)
        .with_derived(parts::share_of_yardstick),
    Row::on_one_core("vtrace", "V-trace alone", parts::vtrace),
    Row::on_one_core("wire", "trajectories to bytes and back", wire::codec),
    Row::on_all_cores("path", "encode, gRPC over loopback, decode, admit", wire::path),
    Row::on_one_core("weights", "10 million parameters to bytes and back, in every encoding", wire::weights),
    Row::on_all_cores("publish", "from the trainer's hands to the actor's eyes", wire::publish),
    Row::on_all_cores(
        "end-to-end",
        "trained frames of real processes, and their share of the ceiling",
        runs::end_to_end,
    )
    .with_derived(runs::share_of_ceiling),
    Row::on_all_cores("scaling", "the same with 1 to 64 actor processes", runs::scaling)
        .with_derived(runs::cost_of_many_actors),
    Row::on_all_cores("memory", "resident memory of learner and actor over time", runs::memory),
];

impl Row {
    const fn on_one_core(
        name: &'static str,
        about: &'static str,
        measure: fn(&Plan) -> anyhow::Result<Vec<Sample>>,
    ) -> Self {
        Self { name, about, is_on_one_core: true, measure, derive: |_| Vec::new() }
    }

    const fn on_all_cores(
        name: &'static str,
        about: &'static str,
        measure: fn(&Plan) -> anyhow::Result<Vec<Sample>>,
    ) -> Self {
        Self { name, about, is_on_one_core: false, measure, derive: |_| Vec::new() }
    }

    const fn with_derived(mut self, derive: fn(&[Sample]) -> Vec<Sample>) -> Self {
        self.derive = derive;
        self
    }

    /// The row of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }

    /// Measures once, in this process.
    ///
    /// # Errors
    /// Whatever keeps the row from being measured.
    pub fn measure_here(&self, plan: &Plan) -> anyhow::Result<Vec<Sample>> {
        (self.measure)(plan)
    }

    /// Measures once in a process of its own: this program with `arguments` and the hidden flag that names the row. Adds
    /// what follows from the samples of the rows before it in the same repeat.
    ///
    /// # Errors
    /// The process cannot be started or fails.
    pub fn measure(&self, arguments: &[String], before: &[Sample]) -> anyhow::Result<Vec<Sample>> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let core = if self.is_on_one_core { machine::last_core() } else { None };
        let pinned = core.and_then(|core| {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &core]).arg(&program);
            // Whether it is there is known only after an attempt.
            Command::new("taskset").arg("--version").stdout(Stdio::null()).status().ok().map(|_| taskset)
        });
        let mut command = pinned.unwrap_or_else(|| Command::new(&program));
        let output = command.args(["--in-process", self.name]).args(arguments).stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot start {}", program.display()))?;
        ensure!(output.status.success(), "the row `{}` ended with {}", self.name, output.status);
        let measured: Vec<Sample> = serde_json::from_slice(&output.stdout).context("the row's own output")?;
        let derived = (self.derive)(&[before, &measured].concat());
        Ok([measured, derived].concat())
    }
}
