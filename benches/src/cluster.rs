//! A whole run of real processes on this machine: `impala learner` and `impala actor`s, over loopback, until a number of
//! frames is trained or a time is over. The figures come from the run's own `metrics.csv`.

use crate::memory::{MemoryReport, MemoryTrace};
use crate::{machine, processor};
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

/// What to run.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// The `impala` program.
    pub program: PathBuf,
    /// Actor processes.
    pub actors: usize,
    /// Flags of the learner besides those that this module sets.
    pub flags: Vec<String>,
    /// The end.
    pub until: Until,
}

/// When a run is over.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// So many frames are trained; the first fifth of them is warm-up.
    Frames(u64),
    /// So much time has passed; the first fifth of it is warm-up.
    Time(Duration),
}

/// What a run showed in its steady state: all actors connected, the warm-up over.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Trained.
    pub frames_per_second: f64,
    /// Mean over the whole run, updates.
    pub policy_lag: f64,
    /// Share of arrived trajectories that were refused or lost, over the whole run.
    pub refused: f64,
    /// Processor time of the learner's process, seconds a trained frame, over the whole run.
    pub learner_processor: f64,
    /// Of all actor processes together.
    pub actors_processor: f64,
    /// Share of all cores' time that learner and actors did not use.
    pub idle: f64,
    /// Of the learner's process.
    pub learner_memory: MemoryReport,
    /// Of the first actor's process.
    pub actor_memory: MemoryReport,
}

/// Runs learner and actors to their end.
///
/// # Errors
/// A process cannot be started or fails, or the run is too short for a steady state; the message has the learner's last
/// words.
pub fn run(plan: &RunPlan) -> anyhow::Result<RunReport> {
    let program = &plan.program;
    ensure!(program.exists(), "{} does not exist: run `cargo build --release` first", program.display());
    let directory = tempfile::tempdir()?;
    let mut run = Run::start(plan, &directory)?;
    let watched = run.watch_over(plan)?;
    let csv = directory.path().join("runs");
    let csv = std::fs::read_dir(&csv)?.next().context("the run left no directory")??.path().join("metrics.csv");
    let (frames_per_second, last) = steady_state(&csv, plan)?;
    let Watched { memory: [learner_memory, actor_memory], processor: [learner, actors], seconds } = watched;
    let refused = (last.refused + last.lost) as f64 / (last.produced as f64).max(1.0);
    Ok(RunReport {
        frames_per_second,
        policy_lag: last.policy_lag_mean_updates,
        refused,
        learner_processor: learner / last.frames as f64,
        actors_processor: actors / last.frames as f64,
        idle: 1.0 - (learner + actors) / (seconds * machine::cores() as f64),
        learner_memory,
        actor_memory,
    })
}

/// What the processes took.
struct Watched {
    /// Of the learner and of the first actor.
    memory: [MemoryReport; 2],
    /// Of the learner and of all actors, seconds.
    processor: [f64; 2],
    /// Time in which they took it.
    seconds: f64,
}

/// The processes at work. Dropped, it ends them.
struct Run {
    learner: Child,
    actors: Vec<Child>,
    learner_log: PathBuf,
}

impl Run {
    fn start(plan: &RunPlan, directory: &TempDir) -> anyhow::Result<Self> {
        let log = |name: &str| directory.path().join(name);
        let learner_log = log("learner.log");
        let (frames_max, time_max) = match plan.until {
            Until::Frames(frames) => (frames, Duration::from_secs(1800)),
            Until::Time(time) => (1 << 48, time),
        };
        let mut command = impala(&plan.program, &learner_log)?;
        command
            .args(["learner", "--quiet", "--listen", "127.0.0.1:0", "--log-format", "json"])
            // A mean return that nobody reaches: only the budgets end the run.
            .args(["--solved-return", "1e9", "--frames-max", &frames_max.to_string()])
            .args(["--time-max", &time_max.as_secs_f64().to_string(), "--runs-dir"])
            .arg(log("runs"))
            .args(&plan.flags)
            .stdin(Stdio::null());
        let learner = command.spawn().with_context(|| format!("cannot start {}", plan.program.display()))?;
        let mut run = Self { learner, actors: Vec::new(), learner_log };
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
    fn watch_over(&mut self, plan: &RunPlan) -> anyhow::Result<Watched> {
        let pids = [self.learner.id(), self.actors.first().map_or(0, Child::id)];
        let mut traces = pids.map(MemoryTrace::new);
        let mut processor = [0.0; 2];
        let started = Instant::now();
        let mut seconds = 0.0;
        let deadline = match plan.until {
            Until::Frames(_) => Duration::from_secs(1800),
            Until::Time(time) => time,
        };
        let deadline = Instant::now() + deadline + PATIENCE;
        let status = loop {
            if let Some(status) = self.learner.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "the learner does not end");
            traces.iter_mut().for_each(MemoryTrace::sample);
            let actors = self.actors.iter().filter_map(|actor| processor::seconds(actor.id())).sum();
            if let Some(learner) = processor::seconds(self.learner.id()) {
                (processor, seconds) = ([learner, actors], started.elapsed().as_secs_f64());
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        // 1 is the honest end of a run that solves nothing.
        if !matches!(status.code(), Some(0 | 1)) {
            let log = std::fs::read_to_string(&self.learner_log)?;
            bail!("the learner ended with {status}: {}", log.lines().last().unwrap_or_default());
        }
        Ok(Watched { memory: traces.map(|trace| trace.report()), processor, seconds })
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

/// Frames a second between the first row behind the warm-up with all actors and the last row before the end.
fn steady_state(path: &Path, plan: &RunPlan) -> anyhow::Result<(f64, Row)> {
    let rows: Vec<Row> = csv::Reader::from_path(path)?.deserialize().collect::<Result<_, _>>()?;
    let is_warm = |row: &Row| match plan.until {
        Until::Frames(frames) => row.frames >= frames / 5,
        Until::Time(time) => row.seconds >= time.as_secs_f64() / 5.0,
    };
    // The last row is written at the end of the shut-down.
    let mut running = rows[..rows.len().saturating_sub(1)].to_vec();
    // Where an update takes longer than a report, only the first row behind it tells when it ended.
    running.dedup_by_key(|row| row.frames);
    let all_connected = |row: &&Row| row.actors_connected == plan.actors;
    let first = running.iter().filter(all_connected).find(|row| is_warm(row));
    let last = running.iter().rfind(all_connected);
    let (Some(first), Some(last)) = (first, last) else {
        bail!("the run ended before all {} actors were connected and warm; raise the frames", plan.actors);
    };
    let seconds = last.seconds - first.seconds;
    ensure!(seconds >= 0.5, "only {seconds:.2} s of steady state; raise the frames");
    Ok(((last.frames - first.frames) as f64 / seconds, *last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_joining_and_shut_down_do_not_count() {
        let header = "seconds,frames,policy_lag_mean_updates,actors_connected,produced,refused,lost\n";
        let row = |seconds: f64, frames: u64, actors: usize| format!("{seconds},{frames},2.5,{actors},100,1,0\n");
        let joining = [row(0.1, 0, 1), row(1.0, 300, 1)];
        let steady = [row(2.0, 400, 2), row(3.0, 900, 2), row(3.5, 900, 2)];
        let rows = [&joining[..], &steady, &[row(5.0, 1000, 0)]].concat();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        std::fs::write(&path, format!("{header}{}", rows.concat())).unwrap();
        let plan = RunPlan { program: PathBuf::new(), actors: 2, flags: Vec::new(), until: Until::Frames(1000) };
        let (frames_per_second, last) = steady_state(&path, &plan).unwrap();
        assert_eq!((frames_per_second, last.frames), (500.0, 900));
    }
}
