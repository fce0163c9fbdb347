//! Actor processes of a run on this machine: started, watched, started again when one dies, ended with the run.

use anyhow::Context;
use impala_learner::config::Config;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Time between two looks at the processes.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Time that actors have to end by themselves when the run is over.
const GRACE: Duration = Duration::from_secs(3);
/// An actor that dies this often is not started again: something is wrong that a restart does not mend.
const RESTARTS_MAX: u32 = 10;

/// The actor processes of one run. Dropped, it ends them.
#[derive(Debug)]
pub(crate) struct ActorProcesses {
    program: PathBuf,
    learner: String,
    log_dir: PathBuf,
    log_format: &'static str,
    may_restart: bool,
    processes: Vec<ActorProcess>,
}

#[derive(Debug)]
struct ActorProcess {
    index: u32,
    child: Child,
    restarts: u32,
    is_over: bool,
}

impl ActorProcesses {
    /// Starts the configured number of processes of this very program.
    ///
    /// # Errors
    /// The program or its log file cannot be opened.
    pub(crate) fn start(config: &Config, learner: SocketAddr, log_dir: &Path) -> anyhow::Result<Self> {
        let mut actors = Self {
            program: std::env::current_exe().context("cannot find this program's own file")?,
            learner: format!("http://{learner}"),
            log_dir: log_dir.to_owned(),
            log_format: match config.output.log_format {
                impala_common::process::logs::LogFormat::Human => "human",
                impala_common::process::logs::LogFormat::Json => "json",
            },
            // A deterministic run cannot take an actor back: its environments would start anew.
            may_restart: !config.task.deterministic,
            processes: Vec::new(),
        };
        for index in 0..config.rollout.actors {
            let child = actors.spawn(index)?;
            actors.processes.push(ActorProcess { index, child, restarts: 0, is_over: false });
        }
        Ok(actors)
    }

    fn spawn(&self, index: u32) -> anyhow::Result<Child> {
        let path = self.log_dir.join(format!("actor-{index}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot open {}", path.display()))?;
        // Standard input is a pipe that closes when this process ends, however it ends: the actor ends with it.
        let mut command = Command::new(&self.program);
        // The settings of this process are not the actors': each would take the same metrics port, for one.
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("IMPALA_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command
            .args(["actor", "--exit-with-parent", "--learner", &self.learner, "--log-format", self.log_format])
            .args(["--name", &format!("actor-{index}"), "--index", &index.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {} as an actor", self.program.display()))
    }

    /// Starts again what dies, until `stop`. Returns before only if too few processes are left.
    pub(crate) async fn watch_over(&mut self, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await.is_some() {
            for place in 0..self.processes.len() {
                self.look_after(place);
            }
            let over = self.processes.iter().filter(|process| process.is_over).count();
            // A deterministic run needs every one of them.
            if over == self.processes.len() || over > 0 && !self.may_restart {
                return;
            }
        }
    }

    fn look_after(&mut self, place: usize) {
        let process = &mut self.processes[place];
        let Ok(Some(status)) = process.child.try_wait() else { return };
        if process.is_over {
            return;
        }
        let index = process.index;
        // Success means that it was asked to end: by the learner at the end of the run, or by a person's signal.
        if status.success() {
            process.is_over = true;
            return;
        }
        if !self.may_restart || process.restarts >= RESTARTS_MAX {
            process.is_over = true;
            tracing::error!(index, %status, "an actor process ended and is not started again; see actor-{index}.log");
            return;
        }
        process.restarts += 1;
        tracing::warn!(index, %status, "an actor process ended; starting it again");
        match self.spawn(index) {
            Ok(child) => self.processes[place].child = child,
            Err(error) => tracing::error!(index, error = format!("{error:#}"), "cannot start the actor again"),
        }
    }

    /// Waits for the actors to end by themselves, then ends those that do not.
    pub(crate) async fn finish(mut self) {
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && self.processes.iter_mut().any(|p| matches!(p.child.try_wait(), Ok(None))) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for ActorProcesses {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Fails for those that have ended already.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}
