//! The processes of a siege: a learner with actors that train, and one that has nothing to do.

use super::attacks::Target;
use anyhow::{Context, bail};
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time that a learner has to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that ends with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).context("cannot start the program")
    }

    /// Resident memory, bytes.
    fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the process has ended")?;
        let kilobytes: u64 = rss.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }
}

/// A learner without actors.
pub struct Bystander {
    learner: Process,
    target: Target,
    _runs: TempDir,
}

impl Bystander {
    /// Starts one and waits until it listens.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(program: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let runs = tempfile::tempdir()?;
        let (learner, target) = learner(program, runs.path(), flags)?;
        Ok(Self { learner, target, _runs: runs })
    }

    /// Where it is attacked.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Its resident memory, bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn memory(&self) -> anyhow::Result<u64> {
        self.learner.memory()
    }
}

/// A run: a learner and two actors.
pub struct Victim {
    learner: Process,
    actors: Vec<Process>,
    target: Target,
    started: Instant,
    runs: TempDir,
}

impl Victim {
    /// Starts a run that goes on for so long.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(program: &Path, time: Duration) -> anyhow::Result<Self> {
        let runs = tempfile::tempdir()?;
        let started = Instant::now();
        let time = time.as_secs().to_string();
        let flags =
            ["--time-max", &time, "--frames-max", "281474976710656", "--frames-after-solved", "281474976710656"];
        let (learner, target) = learner(program, runs.path(), &flags)?;
        let actor = || {
            let mut command = Command::new(program);
            Process::start(command.args(["actor", "--learner", &target.grpc.to_string()]))
        };
        let actors = vec![actor()?, actor()?];
        Ok(Self { learner, actors, target, started, runs })
    }

    /// Where it is attacked.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Seconds since its start.
    pub fn age(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Its learner's resident memory, bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn memory(&self) -> anyhow::Result<u64> {
        self.learner.memory()
    }

    /// Ends it; gives the frames that it trained.
    ///
    /// # Errors
    /// It left no record.
    pub fn end(self) -> anyhow::Result<Frames> {
        let Self { learner, actors, runs, .. } = self;
        drop(learner);
        drop(actors);
        let csv =
            std::fs::read_dir(runs.path())?.next().context("the run left no directory")??.path().join("metrics.csv");
        // Its last line may have been cut off.
        let rows = csv::Reader::from_path(csv)?.into_deserialize().map_while(Result::ok).collect();
        Ok(Frames(rows))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Row {
    seconds: f64,
    frames: u64,
}

/// What a run trained, by time.
pub struct Frames(Vec<Row>);

impl Frames {
    /// Frames a second between two ages of the run, seconds.
    pub fn a_second(&self, (from, to): (f64, f64)) -> f64 {
        let within: Vec<_> = self.0.iter().filter(|row| (from..=to).contains(&row.seconds)).collect();
        let [first, .., last] = within.as_slice() else { return f64::NAN };
        (last.frames - first.frames) as f64 / (last.seconds - first.seconds)
    }
}

fn learner(program: &Path, runs: &Path, flags: &[&str]) -> anyhow::Result<(Process, Target)> {
    let target = Target { grpc: free_port()?, metrics: free_port()? };
    let mut command = Command::new(program);
    command.args(["learner", "--quiet", "--device", "cpu", "--runs-dir"]).arg(runs).args(flags);
    command.args(["--listen", &target.grpc.to_string(), "--metrics-listen", &target.metrics.to_string()]);
    let learner = Process::start(&mut command)?;
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(target.grpc).is_err() {
        if Instant::now() > deadline {
            bail!("the learner does not listen on {}", target.grpc);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((learner, target))
}

fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The program beside this one.
///
/// # Errors
/// It cannot be told where that is.
pub fn program_beside() -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("impala"))
}
