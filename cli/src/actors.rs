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
/// Time that actors have to end when the run is over.
const GRACE: Duration = Duration::from_secs(3);
/// Of it, the time in which they end by themselves, having heard from the learner that the run is over.
const FAREWELL: Duration = Duration::from_millis(250);
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

    /// Waits for the actors to end by themselves, asks those that do not, and ends those that do not even then. One that came
    /// when the learner was gone already has not heard of the end: it would wait for the next learner.
    pub(crate) async fn finish(mut self) {
        let began = Instant::now();
        while began.elapsed() < GRACE && self.processes.iter_mut().any(|p| matches!(p.child.try_wait(), Ok(None))) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            if began.elapsed() >= FAREWELL {
                self.processes.iter_mut().for_each(|process| drop(process.child.stdin.take()));
            }
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn an_actor_that_came_too_late_is_asked_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        // It waits as an actor does whose learner is gone, until its standard input is closed.
        let waiting = format!("#!/bin/sh\ncat\necho asked > {}\n", path("ended").display());
        std::fs::write(path("actor"), waiting).unwrap();
        std::fs::set_permissions(path("actor"), PermissionsExt::from_mode(0o755)).unwrap();
        let mut actors = ActorProcesses {
            program: path("actor"),
            learner: "http://127.0.0.1:1".into(),
            log_dir: directory.path().to_owned(),
            log_format: "human",
            may_restart: true,
            processes: Vec::new(),
        };
        let child = actors.spawn(0).unwrap();
        actors.processes.push(ActorProcess { index: 0, child, restarts: 0, is_over: false });
        actors.finish().await;
        // One that is killed has not come so far.
        assert_eq!(std::fs::read_to_string(path("ended")).unwrap(), "asked\n");
    }
}
