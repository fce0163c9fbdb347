//! All wiring of a learner: makes the channels, starts the stages, watches over them, and shuts them down in the order of
//! the data. [`launch`] brings a learner up, [`Learner`] is one that has its port.

mod acceptance;
mod completed;
mod ending;
mod endpoint;
mod initial_state;
pub mod launch;
mod pipeline;
mod reporting;
mod running;

use crate::config::Config;
use crate::fit::calibration::Workload;
use crate::fit::device_choice;
use crate::handover::run_state::Standing;
use crate::learn::compute::ComputeDevice;
use crate::report::sinks::console;
use crate::report::sinks::mlflow::Remainder;
use crate::report::summary::{self, RunEnd, StoredSummary, Summary};
use crate::run::checkpoint::Checkpoint;
use crate::run::checkpoint_store::CheckpointStore;
use crate::run::run_dir::RunDir;
pub use crate::service::server::{Keepalive, ServerTask, incoming, serve};
use anyhow::Context;
pub use completed::Completed;
use impala_policy::network::NetworkSpec;
use impala_web::Feed;
pub use pipeline::follow_plan;
use running::Running;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Time that actors have to say farewell and the server to close its connections.
pub const GRACE: Duration = Duration::from_secs(2);

/// Time that the last checkpoint of a process has, with the one that may be under way.
pub const LAST_CHECKPOINT_MAX: Duration = Duration::from_secs(20);

/// A learner that has its port but has not begun.
#[derive(Debug)]
pub struct Learner {
    config: Config,
    checkpoint: Option<Checkpoint>,
    /// What a new run begins with, if not with random parameters.
    parameters: Option<Vec<f32>>,
    listener: TcpListener,
    address: SocketAddr,
    device: ComputeDevice,
    standing: Arc<Standing>,
    keepalive: Keepalive,
    writes_first: bool,
    /// Who looks at the run in a browser, if anybody may.
    feed: Option<Feed>,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Outcome {
    /// The run in numbers.
    pub summary: Summary,
    /// The network that `parameters` belong to.
    pub network: NetworkSpec,
    /// The final parameters.
    pub parameters: Vec<f32>,
}

/// A training that is over: everything is written but the summary, to which a program may add something.
#[derive(Debug)]
pub struct Finished {
    /// What it left.
    pub outcome: anyhow::Result<Outcome>,
    /// Whether the model could be written.
    model: anyhow::Result<()>,
    /// What is left to send to an MLflow server.
    mlflow: Option<Remainder>,
    /// A completed run whose model is to be served on.
    pub completed: Option<Completed>,
}

impl Learner {
    /// Chooses and opens the device and binds the port, for a run that begins or goes on from `checkpoint`. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// The device is not to be had, or the port is taken.
    pub async fn bind(config: Config, checkpoint: Option<Checkpoint>) -> anyhow::Result<Self> {
        let device = open_device(&config).await?;
        let listen = config.serving.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| cannot_listen(listen))?;
        Self::with(device, listener, config, checkpoint)
    }

    /// The same on a port that is bound.
    ///
    /// # Errors
    /// The device is not to be had.
    pub(crate) async fn on(
        listener: TcpListener,
        config: Config,
        checkpoint: Option<Checkpoint>,
    ) -> anyhow::Result<Self> {
        let device = open_device(&config).await?;
        Self::with(device, listener, config, checkpoint)
    }

    fn with(
        device: ComputeDevice,
        listener: TcpListener,
        config: Config,
        checkpoint: Option<Checkpoint>,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let (standing, keepalive) = (Arc::default(), Keepalive::default());
        let (parameters, writes_first, feed) = (None, false, None);
        Ok(Self { config, checkpoint, parameters, listener, address, device, standing, keepalive, writes_first, feed })
    }

    /// Where actors reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The settings of its run.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How its run stands, from now on.
    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// Gives up silent actors sooner or later than by default.
    #[must_use]
    pub fn with_keepalive(self, keepalive: Keepalive) -> Self {
        Self { keepalive, ..self }
    }

    /// Writes a checkpoint before anything is trained.
    #[must_use]
    pub fn with_first_checkpoint(self) -> Self {
        Self { writes_first: true, ..self }
    }

    /// Begins with these parameters, which are its network's, instead of random ones, unless it goes on from a checkpoint.
    #[must_use]
    pub fn with_parameters(self, parameters: Vec<f32>) -> Self {
        Self { parameters: Some(parameters), ..self }
    }

    /// Tells the run to whoever looks at it in a browser.
    #[must_use]
    pub fn with_feed(self, feed: Option<Feed>) -> Self {
        Self { feed, ..self }
    }

    /// Where it computes.
    pub fn device(&self) -> &ComputeDevice {
        &self.device
    }

    /// Whether nothing is left to train: the checkpoint that it goes on from has reached the goal, or used up a budget.
    pub fn is_over(&self) -> bool {
        let goal = &self.config.goal;
        self.checkpoint.as_ref().is_some_and(|checkpoint| {
            let progress = initial_state::resumed_progress(&self.config, checkpoint);
            let is_out_of_time = progress.before() >= goal.time_max.duration();
            is_out_of_time || progress.has_reached(goal.frames_max, goal.frames_after_solved)
        })
    }

    /// The results of its run, where it is over and they lie in its directory. To run it again would only write them anew, with the
    /// times and counts of a process that did nothing. A learner that is to serve the model of such a run does run.
    pub fn results(&self, run_dir: &RunDir) -> Option<StoredSummary> {
        let frames = self.checkpoint.as_ref()?.progress.frames;
        let is_repetition = self.is_over() && !self.config.serving.keep_serving;
        let stored = is_repetition.then(|| StoredSummary::read(run_dir)).flatten()?;
        (stored.end.is_completion() && stored.frames == frames).then_some(stored)
    }

    /// Settles how the machine is split between this learner and its actors.
    #[must_use]
    pub fn with_split(self, actors: u32, learner_threads: usize) -> Self {
        Self { config: self.config.with_split(actors, learner_threads), ..self }
    }

    /// Trains until the task is solved, a budget ends, something breaks or `stop` is cancelled; then shuts down cleanly and
    /// writes model, learning curve and summary. With `keep_serving` a training that came to its own end is written at once,
    /// and the final model is served until `stop`.
    ///
    /// # Errors
    /// The threads cannot be started or the results not be written. A training that failed is an `Ok` whose summary says so.
    pub async fn run(
        self,
        run_dir: RunDir,
        store: CheckpointStore,
        shows_progress: bool,
        stop: CancellationToken,
    ) -> anyhow::Result<Outcome> {
        let mut finished = self.train(run_dir.clone(), store, shows_progress, &stop).await?;
        let completed = finished.completed.take();
        finished.settle(&run_dir, shows_progress, &stop).await;
        let result = finished.conclude(|outcome| summary::write(&run_dir, &outcome.summary), &stop).await;
        match completed {
            Some(completed) => completed.serve_until(&stop, result).await,
            None => result,
        }
    }

    /// The same without the summary, and without the time in which a completed run is served on.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub async fn train(
        self,
        run_dir: RunDir,
        store: CheckpointStore,
        shows_progress: bool,
        stop: &CancellationToken,
    ) -> anyhow::Result<Finished> {
        // 0 takes one per core. A second learner in the process, as in tests, keeps the pool of the first.
        let threads = self.config.compute.learner_threads;
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        tracing::info!("{}", self.device.note());
        tracing::info!(address = %self.address, run = run_dir.name(), run_dir = %run_dir.path().display(), "learner ready");
        let needed = self.config.actors_needed();
        if needed > 1 {
            tracing::info!("a batch needs {needed} actors: training waits while fewer are connected");
        }
        let mut running = Running::start(self, run_dir, store, shows_progress).await?;
        let end = running.watch_over(stop).await;
        Ok(running.shut_down(end).await)
    }
}

/// Measures and compiles where the device is not given, which may take seconds.
async fn open_device(config: &Config) -> anyhow::Result<ComputeDevice> {
    let (compute, is_deterministic) = (config.compute.clone(), config.task.deterministic);
    let workload = Workload::of(config);
    let choosing = move || device_choice::open(&compute, is_deterministic, &workload);
    Ok(tokio::task::spawn_blocking(choosing).await??)
}

fn cannot_listen(listen: SocketAddr) -> String {
    format!("cannot listen on {listen}: choose another --listen (port 0 takes a free one)")
}

/// A person is told what is waited for after this time.
const PATIENCE_WITHOUT_A_WORD: Duration = Duration::from_millis(500);

impl Finished {
    /// Waits for an MLflow server to take what is left, within a bound and not beyond a `stop` that is asked for meanwhile; the summary
    /// says what became of it.
    pub async fn settle(&mut self, run_dir: &RunDir, shows_progress: bool, stop: &CancellationToken) {
        let Some(mlflow) = &mut self.mlflow else { return };
        // Whoever loses patience meanwhile has it already; what could not be written is told when it is written for good.
        let _ = self.outcome.as_ref().map(|outcome| summary::write(run_dir, &outcome.summary));
        let settling = mlflow.settle(stop);
        tokio::pin!(settling);
        let account = match tokio::time::timeout(PATIENCE_WITHOUT_A_WORD, &mut settling).await {
            Ok(account) => account,
            Err(_) => {
                let text = "MLflow: sending what is left, for a few seconds at most (Ctrl-C ends at once)";
                tracing::info!("{text}");
                if shows_progress {
                    console::note(text);
                }
                settling.await
            }
        };
        if let Ok(outcome) = &mut self.outcome {
            outcome.summary.mlflow = Some(account);
        }
    }

    /// Writes the summary with `write`, and sends it to an MLflow server where the run has one, which may take a moment, not beyond
    /// `stop`. What of the run could not be written is told after that: first of all the numbers.
    ///
    /// # Errors
    /// Something could not be written, or nothing is left to write.
    pub async fn conclude(
        self,
        write: impl FnOnce(&Outcome) -> anyhow::Result<()>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Outcome> {
        let Self { outcome, model, mlflow, .. } = self;
        let written = outcome.as_ref().map_or(Ok(()), write);
        if let Some(mlflow) = mlflow {
            let failed = |error: &anyhow::Error| RunEnd::Failed(error.to_string());
            let end = outcome.as_ref().map_or_else(failed, |outcome| outcome.summary.end.clone());
            mlflow.close(&end, stop).await;
        }
        let outcome = outcome?;
        written?;
        model?;
        Ok(outcome)
    }
}
