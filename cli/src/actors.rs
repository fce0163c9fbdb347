//! Actor processes of a run on this machine: started, watched, started again when one dies, ended with the run.

use anyhow::Context;
use impala_common::process::elsewhere::ElsewhereArgs;
use impala_learner::config::Config;
use std::ffi::OsString;
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
/// An actor that dies this often, each time within [`LIFE_MIN`], is not started again: something is wrong that a restart does not
/// mend.
const RESTARTS_MAX: u32 = 10;
/// Pause before an actor that died is started again: the first time none, then this, then twice as long each time.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// An actor that has lived so long begins to count anew.
const LIFE_MIN: Duration = Duration::from_secs(60);

/// The actor processes of one run. Dropped, it ends them.
#[derive(Debug)]
pub(crate) struct ActorProcesses {
    program: PathBuf,
    /// What tells the program to be an actor; one that a person wrote is nothing else.
    command: Option<&'static str>,
    learner: String,
    log_dir: PathBuf,
    log_format: &'static str,
    /// How it finds an environment that is not built in.
    environment: Vec<OsString>,
    may_restart: bool,
    processes: Vec<ActorProcess>,
}

#[derive(Debug)]
struct ActorProcess {
    index: u32,
    child: Child,
    started: Instant,
    /// Restarts since it last lived long.
    restarts: u32,
    /// When it is started again.
    due: Option<Instant>,
    is_over: bool,
}

impl ActorProcess {
    fn new(index: u32, child: Child) -> Self {
        Self { index, child, started: Instant::now(), restarts: 0, due: None, is_over: false }
    }

    /// It has died: tells how long to wait until it is started again, if it is.
    fn died(&mut self, now: Instant) -> Option<Duration> {
        if now.saturating_duration_since(self.started) >= LIFE_MIN {
            self.restarts = 0;
        }
        if self.restarts >= RESTARTS_MAX {
            return None;
        }
        let pause = match self.restarts {
            0 => Duration::ZERO,
            restarts => (PAUSE * 2_u32.saturating_pow(restarts - 1)).min(PAUSE_MAX),
        };
        self.restarts += 1;
        self.due = Some(now + pause);
        Some(pause)
    }
}

impl ActorProcesses {
    /// Starts so many processes of this very program, or of one that a person wrote.
    ///
    /// # Errors
    /// The program or its log file cannot be opened.
    pub(crate) fn start(
        count: u32,
        (config, elsewhere): (&Config, &ElsewhereArgs),
        learner: SocketAddr,
        log_dir: &Path,
    ) -> anyhow::Result<Self> {
        let (program, command) = match &elsewhere.actor_program {
            Some(program) => (program.clone(), None),
            None => (std::env::current_exe().context("cannot find this program's own file")?, Some("actor")),
        };
        let mut actors = Self {
            program,
            command,
            learner: format!("http://{learner}"),
            log_dir: log_dir.to_owned(),
            log_format: match config.output.log_format {
                impala_common::process::logs::LogFormat::Human => "human",
                impala_common::process::logs::LogFormat::Json => "json",
            },
            environment: elsewhere.for_actor(&config.task.environment),
            // A deterministic run cannot take an actor back: its environments would start anew.
            may_restart: !config.task.deterministic,
            processes: Vec::new(),
        };
        for index in 0..count {
            let child = actors.spawn(index)?;
            actors.processes.push(ActorProcess::new(index, child));
        }
        Ok(actors)
    }

    fn spawn(&self, index: u32) -> anyhow::Result<Child> {
        let path = self.log_dir.join(format!("{}.log", name_of(index)));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot open {}", path.display()))?;
        // Standard input is a pipe that closes when this process ends, however it ends: the actor ends with it.
        let mut command = Command::new(&self.program);
        // The settings of this process are not the actors': each would take the same metrics port, for one.
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("IMPALA_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command
            .args(self.command)
            .args(["--exit-with-parent", "--learner", &self.learner, "--log-format", self.log_format])
            .args(["--name", &name_of(index), "--index", &index.to_string()])
            .args(&self.environment)
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
        let (process, now) = (&mut self.processes[place], Instant::now());
        if process.is_over {
            return;
        }
        let index = process.index;
        if let Some(due) = process.due {
            if due > now {
                return;
            }
            match self.spawn(index) {
                Ok(child) => {
                    let process = &mut self.processes[place];
                    (process.child, process.started, process.due) = (child, now, None);
                }
                // Such as a machine without a free process: it counts as one that died at once.
                Err(error) => {
                    self.processes[place].started = now;
                    self.again(place, &format!("{error:#}"), now);
                }
            }
            return;
        }
        let Ok(Some(status)) = process.child.try_wait() else { return };
        // Success means that it was asked to end: by the learner at the end of the run, or by a person's signal.
        if status.success() {
            process.is_over = true;
            return;
        }
        self.again(place, &status.to_string(), now);
    }

    /// An actor has ended, or could not be started: it is to be started again after a pause, or given up.
    fn again(&mut self, place: usize, reason: &str, now: Instant) {
        let process = &mut self.processes[place];
        let (index, actor) = (process.index, name_of(process.index));
        let pause = if self.may_restart { process.died(now) } else { None };
        match pause {
            Some(pause) => {
                let pause_seconds = pause.as_secs_f64();
                tracing::warn!(actor, index, reason, pause_seconds, "an actor process ended; starting it again");
            }
            None => {
                process.is_over = true;
                tracing::error!(
                    actor,
                    index,
                    reason,
                    "an actor process ended and is not started again; see {actor}.log"
                );
            }
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

/// Name of the actor at this place, and of its log.
fn name_of(index: u32) -> String {
    format!("actor-{index}")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn pauses_between_restarts_grow_and_a_long_life_forgives() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let mut actor = ActorProcess::new(0, child);
        let born = actor.started;
        let pauses: Vec<_> = std::iter::from_fn(|| actor.died(born)).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(actor.died(born + LIFE_MIN), Some(Duration::ZERO));
        assert_eq!(actor.died(born), Some(PAUSE));
    }

    #[test]
    fn an_actor_that_cannot_be_started_counts_as_one_that_died_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut actors = ActorProcesses {
            program: directory.path().join("no such program"),
            command: None,
            learner: "http://127.0.0.1:1".into(),
            log_dir: directory.path().to_owned(),
            log_format: "human",
            environment: Vec::new(),
            may_restart: true,
            processes: Vec::new(),
        };
        let mut dead = Command::new("false").spawn().unwrap();
        dead.wait().unwrap();
        let Some(long_ago) = Instant::now().checked_sub(LIFE_MIN * 2) else { return };
        actors.processes.push(ActorProcess { started: long_ago, ..ActorProcess::new(0, dead) });
        for restarts in 1..=RESTARTS_MAX {
            actors.look_after(0);
            assert_eq!(actors.processes[0].restarts, restarts);
            actors.processes[0].due = Some(Instant::now());
        }
        actors.look_after(0);
        assert!(actors.processes[0].is_over);
    }

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
            command: None,
            learner: "http://127.0.0.1:1".into(),
            log_dir: directory.path().to_owned(),
            log_format: "human",
            environment: Vec::new(),
            may_restart: true,
            processes: Vec::new(),
        };
        let child = actors.spawn(0).unwrap();
        actors.processes.push(ActorProcess::new(0, child));
        actors.finish().await;
        // One that is killed has not come so far.
        assert_eq!(std::fs::read_to_string(path("ended")).unwrap(), "asked\n");
    }
}
