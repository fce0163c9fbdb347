//! A whole run of real processes on this machine: `impala learner` and `impala actor`s, over loopback, for a time. The
//! figures come from the run's own `metrics.csv`. Only public flags are used, so that it runs other releases' programs too.

use crate::memory::{MemoryReport, MemoryTrace};
use crate::{machine, note, processor};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time between two looks at the processes.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Time that a learner has to listen, and that it has after its budget to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Budget of frames that no run uses up.
const FRAMES_MAX: &str = "281474976710656";
/// Share of the time before the steady state, in which processes start, join and warm up.
const WARM_UP: f64 = 0.2;
/// Share of the planned time that the steady state must last at least: where many actors join slowly, less is left of it
/// than the warm-up leaves.
const STEADY_MIN: f64 = 0.5;
/// A run without that much steady state is repeated with twice the time, up to so many times the planned one.
const STRETCH_MAX: u32 = 16;

/// What to run.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// The `impala` program.
    pub program: PathBuf,
    /// Actor processes.
    pub actors: usize,
    /// Flags of the learner besides those that this module sets.
    pub flags: Vec<String>,
    /// Length of the run; the steady state is measured over the last four fifths of it.
    pub time: Duration,
}

/// What a run showed in its steady state: all actors connected, the warm-up over.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Frames trained a second.
    pub frames_per_second: f64,
    /// Mean over the whole run, updates.
    pub policy_lag: f64,
    /// Share of arrived trajectories that were refused or lost, over the whole run.
    pub refused: f64,
    /// Processor time of the learner's process, seconds a trained frame.
    pub learner_processor: f64,
    /// Of all actor processes together.
    pub actors_processor: f64,
    /// Share of all cores' time that learner and actors did not use.
    pub idle: f64,
    /// Memory of the learner's process.
    pub learner_memory: MemoryReport,
    /// Of the first actor's process.
    pub actor_memory: MemoryReport,
}

/// Runs learner and actors for the planned time, or longer where all actors need longer to join.
///
/// # Errors
/// A process cannot be started or fails, or not even a long run has a steady state; the message has the learner's last
/// words.
pub fn run(plan: &RunPlan) -> anyhow::Result<RunReport> {
    let program = &plan.program;
    ensure!(program.exists(), "{} does not exist: run `cargo build --release` first", program.display());
    let mut stretch = 1;
    loop {
        let time = plan.time * stretch;
        if let Some(report) = attempt(plan, time)? {
            return Ok(report);
        }
        let actors = plan.actors;
        ensure!(
            stretch < STRETCH_MAX,
            "in {time:?} the run had no steady state of {:?} with all {actors} actors: measure fewer actors, or longer",
            plan.time.mul_f64(STEADY_MIN)
        );
        note(&format!("  {time:?} leave too little steady state with {actors} actors: again, twice as long"));
        stretch *= 2;
    }
}

/// One run of so much time; `None` where too little of it was steady.
fn attempt(plan: &RunPlan, time: Duration) -> anyhow::Result<Option<RunReport>> {
    let directory = tempfile::tempdir()?;
    let mut run = Run::start(plan, time, &directory)?;
    let watched = run.watch_over(time)?;
    let csv = directory.path().join("runs");
    let csv = std::fs::read_dir(&csv)?.next().context("the run left no directory")??.path().join("metrics.csv");
    let rows: Vec<Row> = csv::Reader::from_path(csv)?.deserialize().collect::<Result<_, _>>()?;
    let Some((first, last)) = steady_state(&rows, plan.actors, time) else { return Ok(None) };
    let steady = last.seconds - first.seconds;
    if steady < STEADY_MIN * plan.time.as_secs_f64() {
        return Ok(None);
    }
    let frames_per_second = (last.frames - first.frames) as f64 / steady;
    let [learner, actors] = watched.cores_used(first.seconds, last.seconds);
    let refused = (last.refused + last.lost) as f64 / (last.produced as f64).max(1.0);
    let [learner_memory, actor_memory] = watched.memory;
    Ok(Some(RunReport {
        frames_per_second,
        policy_lag: last.policy_lag_mean_updates,
        refused,
        learner_processor: learner / frames_per_second,
        actors_processor: actors / frames_per_second,
        idle: 1.0 - (learner + actors) / machine::cores() as f64,
        learner_memory,
        actor_memory,
    }))
}

/// What the processes took.
struct Watched {
    /// Of the learner and of the first actor.
    memory: [MemoryReport; 2],
    /// Seconds since the learner's start, and the processor time of the learner and of all actors until then.
    processor: Vec<(f64, [f64; 2])>,
}

impl Watched {
    /// Processor time a second of the learner and of all actors between two moments; 0 where the system does not tell.
    fn cores_used(&self, from: f64, to: f64) -> [f64; 2] {
        let mut within = self.processor.iter().filter(|(seconds, _)| (from..=to).contains(seconds));
        let (Some((began, before)), Some((ended, after))) = (within.next(), within.next_back()) else {
            return [0.0; 2];
        };
        [0, 1].map(|process| (after[process] - before[process]) / (ended - began))
    }
}

/// The processes at work. Dropped, it ends them.
struct Run {
    learner: Child,
    /// Of the learner.
    started: Instant,
    actors: Vec<Child>,
    learner_log: PathBuf,
}

impl Run {
    fn start(plan: &RunPlan, time: Duration, directory: &TempDir) -> anyhow::Result<Self> {
        let log = |name: &str| directory.path().join(name);
        let learner_log = log("learner.log");
        let mut command = impala(&plan.program, &learner_log)?;
        command
            .args(["learner", "--quiet", "--listen", "127.0.0.1:0", "--log-format", "json"])
            // A mean return that nobody reaches and frames that nobody makes: the time ends the run.
            .args(["--solved-return", "1e9", "--frames-max", FRAMES_MAX])
            .args(["--time-max", &time.as_secs_f64().to_string(), "--runs-dir"])
            .arg(log("runs"))
            .args(&plan.flags)
            .stdin(Stdio::null());
        let learner = command.spawn().with_context(|| format!("cannot start {}", plan.program.display()))?;
        let mut run = Self { learner, started: Instant::now(), actors: Vec::new(), learner_log };
        let address = run.address()?;
        for index in 0..plan.actors {
            let index = index.to_string();
            let mut command = impala(&plan.program, &log(&format!("actor-{index}.log")))?;
            command.args(["actor", "--exit-with-parent", "--learner", &address, "--name", &index, "--index", &index]);
            // The pipe closes when this process ends, however it ends, and the actor ends with it.
            run.actors.push(command.stdin(Stdio::piped()).spawn().context("cannot start an actor")?);
        }
        Ok(run)
    }

    /// Waits until the learner says where it listens.
    fn address(&mut self) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&self.learner_log)?;
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut ready = lines.filter(|line| line["message"] == "learner ready");
            if let Some(address) = ready.next().and_then(|line| line["address"].as_str().map(str::to_owned)) {
                return Ok(address);
            }
            if self.learner.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("the learner did not begin: {}", text.trim());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Samples memory and processor time until the learner ends.
    fn watch_over(&mut self, time: Duration) -> anyhow::Result<Watched> {
        let pids = [self.learner.id(), self.actors.first().map_or(0, Child::id)];
        let mut traces = pids.map(MemoryTrace::new);
        let mut processor = Vec::new();
        let deadline = self.started + time + PATIENCE;
        let status = loop {
            if let Some(status) = self.learner.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "the learner does not end");
            traces.iter_mut().for_each(MemoryTrace::sample);
            let actors = self.actors.iter().filter_map(|actor| processor::seconds(actor.id())).sum();
            if let Some(learner) = processor::seconds(self.learner.id()) {
                processor.push((self.started.elapsed().as_secs_f64(), [learner, actors]));
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        // 3 is the honest end of a run that solves nothing; releases before it was one of its own gave 1.
        if !matches!(status.code(), Some(0 | 1 | 3)) {
            let log = std::fs::read_to_string(&self.learner_log)?;
            bail!("the learner ended with {status}: {}", log.lines().last().unwrap_or_default());
        }
        Ok(Watched { memory: traces.map(|trace| trace.report()), processor })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.learner.kill();
        let _ = self.learner.wait();
        // The learner has told them; those that have not heard end here.
        let deadline = Instant::now() + Duration::from_secs(2);
        for actor in &mut self.actors {
            while matches!(actor.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            let _ = actor.kill();
            let _ = actor.wait();
        }
    }
}

/// The program with nothing of this process's settings, its output in a file.
fn impala(program: &Path, log: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    let ours = |name: &str| name.starts_with("IMPALA_") || name == "RUST_LOG";
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.stdout(Stdio::null()).stderr(File::create(log)?);
    Ok(command)
}

/// The columns of `metrics.csv` that are read here.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
struct Row {
    seconds: f64,
    frames: u64,
    policy_lag_mean_updates: f64,
    actors_connected: usize,
    produced: u64,
    refused: u64,
    lost: u64,
}

/// The first row after the warm-up with all actors, and the last one before the end.
fn steady_state(rows: &[Row], actors: usize, time: Duration) -> Option<(Row, Row)> {
    // The last row is written at the end of the shut-down.
    let mut running = rows[..rows.len().saturating_sub(1)].to_vec();
    // Where an update takes longer than a report, only the first row with its frames tells when it ended.
    running.dedup_by_key(|row| row.frames);
    let all_connected = |row: &&Row| row.actors_connected == actors;
    let is_warm = |row: &&Row| row.seconds >= WARM_UP * time.as_secs_f64();
    let first = running.iter().filter(all_connected).find(is_warm)?;
    Some((*first, *running.iter().rfind(all_connected)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seconds: f64, frames: u64, actors_connected: usize) -> Row {
        Row { seconds, frames, policy_lag_mean_updates: 2.5, actors_connected, produced: 100, refused: 1, lost: 0 }
    }

    #[test]
    fn warm_up_joining_and_shut_down_do_not_count() {
        let joining = [row(0.1, 0, 1), row(0.5, 200, 2), row(1.0, 300, 1)];
        let steady = [row(2.0, 400, 2), row(3.0, 900, 2), row(3.5, 900, 2)];
        let rows = [&joining[..], &steady, &[row(5.0, 1000, 0)]].concat();
        let steady =
            |actors| steady_state(&rows, actors, Duration::from_secs(5)).map(|(a, b)| [a, b].map(|row| row.seconds));
        assert_eq!(steady(2), Some([2.0, 3.0]));
        assert_eq!(steady(3), None);
    }

    #[test]
    fn processor_time_counts_between_the_ends_of_the_steady_state() {
        let processor =
            vec![(0.5, [9.0, 0.0]), (1.0, [10.0, 1.0]), (2.0, [11.0, 1.5]), (3.0, [11.5, 2.0]), (3.5, [20.0, 9.0])];
        let watched = Watched { memory: [MemoryReport::default(); 2], processor };
        assert_eq!(watched.cores_used(1.0, 3.0), [0.75, 0.5]);
        assert_eq!(watched.cores_used(5.0, 6.0), [0.0; 2]);
    }
}
