//! All wiring of a learner: makes the channels, starts the stages, watches over them, and shuts them down in the order of
//! the data.

use crate::admission::PolicyLagGate;
use crate::batcher::Batcher;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::store::CheckpointStore;
use crate::checkpoint::writer::{self, CheckpointReport, CheckpointSlot};
use crate::config::Config;
use crate::device::ComputeDevice;
use crate::device_choice;
use crate::initialise::initial_parameters;
use crate::ledger::{Account, Ledger};
use crate::metrics;
use crate::model_file::{self, ModelDescription};
use crate::progress::Progress;
use crate::publisher::{Publisher, WantedEncodings, WeightsSlot};
use crate::registry::{Registry, TakeUps};
use crate::report::console::{self, Console};
use crate::report::csv::MetricsCsv;
use crate::report::doctor::{Circumstances, Diagnosis, diagnose};
use crate::report::shares::{RecentShares, Shares, Totals};
use crate::report::summary::{RunEnd, Summary};
use crate::report::{Rates, View, curve};
use crate::run_dir::RunDir;
use crate::service::{self, Shared};
use crate::stage::{self, Stage};
use crate::standing::{Finish, RunState, Standing};
use crate::step::LearnerStep;
use crate::trainer::{Trained, Trainer, TrainingEnd};
use anyhow::Context;
use impala_common::ids::{ActorIndex, Session, WeightsVersion};
use impala_common::network::NetworkSpec;
use impala_common::spec::Agreement;
use impala_common::wire::pb;
use rand::RngExt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

/// Time that actors have to say farewell and the server to close its connections.
const GRACE: Duration = Duration::from_secs(2);
/// Time between two reports of a completed run, in which nothing changes but who asks.
const IDLE_REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes in flight on one stream and on one connection: room for a large trajectory, so that the windows that bound the
/// policy lag are the actors', not HTTP/2's.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// The health service's name for readiness: serving while actors may register or get weights.
pub const HEALTH_LEARNER: &str = "impala.v1.Learner";
/// The same for training: serving until it is over.
pub const HEALTH_TRAINING: &str = "impala.v1.Training";

/// When a peer that has fallen silent is given up: after the sum of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence after which it is asked for a sign of life.
    pub interval: Duration,
    /// Time that it has to answer.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), timeout: Duration::from_secs(10) }
    }
}

/// A learner that has its port but has not begun.
#[derive(Debug)]
pub struct Learner {
    config: Config,
    checkpoint: Option<Checkpoint>,
    listener: TcpListener,
    address: SocketAddr,
    device: ComputeDevice,
    standing: Arc<Standing>,
    keepalive: Keepalive,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Outcome {
    /// In numbers.
    pub summary: Summary,
    /// The network that `parameters` belong to.
    pub network: NetworkSpec,
    /// The final parameters.
    pub parameters: Vec<f32>,
}

impl Learner {
    /// Chooses and opens the device and binds the port, for a run that begins or goes on from `checkpoint`. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// The device is not to be had, or the port is taken.
    pub async fn bind(config: Config, checkpoint: Option<Checkpoint>) -> anyhow::Result<Self> {
        let choosing = config.clone();
        let device = tokio::task::spawn_blocking(move || device_choice::open(&choosing)).await??;
        let listen = config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}: choose another --listen (port 0 takes a free one)"))?;
        let address = listener.local_addr()?;
        let (standing, keepalive) = (Arc::default(), Keepalive::default());
        Ok(Self { config, checkpoint, listener, address, device, standing, keepalive })
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

    /// Where it computes.
    pub fn device(&self) -> &ComputeDevice {
        &self.device
    }

    /// Settles how the machine is split between this learner and its actors.
    #[must_use]
    pub fn with_split(self, actors: u32, learner_threads: usize) -> Self {
        Self { config: self.config.with_split(actors, learner_threads), ..self }
    }

    /// Trains until the task is solved, a budget ends, something breaks or `stop` is cancelled; then shuts down cleanly and
    /// writes the model and the learning curve. With `keep_serving` a training that came to its own end is written at once,
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
        // 0 takes one per core. A second learner in the process, as in tests, keeps the pool of the first.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(self.config.learner_threads).build_global();
        tracing::info!("{}", self.device.note());
        tracing::info!(address = %self.address, run = %run_dir.path().display(), "learner ready");
        let needed = self.config.actors_needed();
        if needed > 1 {
            tracing::info!("a batch needs {needed} actors: training waits while fewer are connected");
        }
        let mut running = Running::start(self, run_dir, store, shows_progress)?;
        let end = running.watch_over(&stop).await;
        running.shut_down(end, &stop).await
    }
}

/// The stages at work.
struct Running {
    config: Config,
    run_dir: RunDir,
    network: NetworkSpec,
    shared: Arc<Shared>,
    gate: PolicyLagGate,
    progress: Arc<Mutex<Progress>>,
    standing: Arc<Standing>,
    slot: WeightsSlot,
    /// Updates done by earlier processes of the run.
    updates_before: u64,
    /// Dropped when the last one is handed over.
    checkpoints: Option<CheckpointSlot>,
    checkpointer: Stage<CheckpointReport>,
    trainer: Stage<(TrainingEnd, Trained)>,
    batcher: Stage<()>,
    publisher: Stage<()>,
    stop_batcher: CancellationToken,
    server: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
    stop_server: CancellationToken,
    health: tonic_health::server::HealthReporter,
    lockstep_broken: mpsc::Receiver<ActorIndex>,
    reporter: Reporter,
    /// Noted when the run ends, before everybody leaves.
    at_the_end: Option<Circumstances>,
}

/// What a run begins with: the numbers of a checkpoint, or those of the start.
struct Origin {
    step: LearnerStep,
    progress: Progress,
    account: Account,
    take_ups: TakeUps,
}

impl Origin {
    fn new(config: &Config, device: ComputeDevice, checkpoint: Option<Checkpoint>) -> Self {
        let (network, progress) = (config.network(), Progress::new(config.solved_return));
        let Some(checkpoint) = checkpoint else {
            let parameters = initial_parameters(&network, config.seed);
            let step = LearnerStep::new(network, parameters, config.step(), device);
            return Self { step, progress, account: Account::default(), take_ups: TakeUps::default() };
        };
        let updates = checkpoint.progress.updates;
        tracing::info!(updates, frames = checkpoint.progress.frames, "the run goes on from a checkpoint");
        let is_same_goal = checkpoint.config.solved_return == config.solved_return;
        let mut step = LearnerStep::new(network, checkpoint.parameters, config.step(), device);
        step.restore_optimiser(checkpoint.optimiser);
        Self {
            step,
            progress: progress.resume(checkpoint.progress, is_same_goal),
            account: checkpoint.account,
            take_ups: TakeUps { updates, states: checkpoint.actor_states },
        }
    }
}

/// Why watching ended, with the trainer's result if it ended by itself.
struct Ended {
    end: RunEnd,
    trained: Option<Trained>,
}

impl Running {
    fn start(learner: Learner, run_dir: RunDir, store: CheckpointStore, shows_progress: bool) -> anyhow::Result<Self> {
        let Learner { config, checkpoint, listener, device, standing, keepalive, .. } = learner;
        let network = config.network();
        let (checkpoints, checkpointer) = writer::channel(store, config.checkpoints_kept, checkpoint.as_ref());
        let resumes = checkpoint.is_some();
        let Origin { step, progress, account, take_ups } = Origin::new(&config, device, checkpoint);
        let ledger = Arc::new(Ledger::resumed(account));
        let gate = PolicyLagGate::new(config.policy_lag_max);
        let updates_before = progress.updates;
        gate.advance(WeightsVersion(updates_before));
        let progress = Arc::new(Mutex::new(progress));
        let slot = WeightsSlot::default();
        let wanted = Arc::new(WantedEncodings::default());
        let stop_batcher = CancellationToken::new();
        let stop_server = CancellationToken::new();

        // Trajectories between the sockets and the batcher. The actors' windows bound the lag end to end, so this only
        // decouples the two sides; a trajectory takes about 30 bytes a frame.
        let (queue, admitted) = mpsc::channel(2 * config.trajectories_per_batch() + 16);
        // One finished batch: it is there when the trainer comes back, and adds one update of lag.
        let (staged_sender, staged) = std::sync::mpsc::sync_channel(1);
        // The newest version only.
        let (published_sender, published) = watch::channel(None);
        // One broken actor ends a deterministic run.
        let (lockstep_sender, lockstep_broken) = mpsc::channel(1);

        let trainer = Trainer {
            config: config.clone(),
            step,
            staged,
            slot: slot.clone(),
            gate: gate.clone(),
            progress: progress.clone(),
            ledger: ledger.clone(),
            actor_states: take_ups.states.clone(),
            checkpoints: checkpoints.clone(),
        };
        let batcher = Batcher {
            queue: admitted,
            staged: staged_sender,
            gate: gate.clone(),
            trajectories_per_batch: config.trajectories_per_batch(),
            lockstep: config.lockstep(),
            updates_before,
            stop: stop_batcher.clone(),
        };
        let publisher = Publisher { slot: slot.clone(), published: published_sender, wanted: wanted.clone() };
        let runtime = tokio::runtime::Handle::current();
        let shared = Arc::new(Shared {
            registry: Registry::new(
                agreement(&config),
                take_ups,
                ledger.clone(),
                published.clone(),
                rand::rng().random(),
            ),
            ledger,
            gate: gate.clone(),
            queue,
            published,
            wanted,
            standing: standing.clone(),
            actors_needed: actors_needed(&config),
            progress: progress.clone(),
            lockstep_broken: lockstep_sender,
        });
        let (health, server) = serve(listener, shared.clone(), keepalive, stop_server.clone())?;
        Ok(Self {
            reporter: Reporter::new(&run_dir, resumes, shows_progress),
            updates_before,
            checkpoints: Some(checkpoints),
            checkpointer: stage::spawn("checkpointer", {
                let runtime = runtime.clone();
                move || checkpointer.run(&runtime)
            })?,
            at_the_end: None,
            trainer: stage::spawn("trainer", move || trainer.run())?,
            batcher: stage::spawn("batcher", move || batcher.run(&runtime))?,
            publisher: stage::spawn("publisher", move || publisher.run())?,
            config,
            run_dir,
            network,
            shared,
            gate,
            progress,
            standing,
            slot,
            stop_batcher,
            server,
            stop_server,
            health,
            lockstep_broken,
        })
    }

    /// Reports until something ends the run.
    async fn watch_over(&mut self, stop: &CancellationToken) -> Ended {
        let mut tick = tokio::time::interval(self.config.report_interval());
        let taken = self.progress.lock().expect("no holder of the progress panics").before();
        let deadline = tokio::time::sleep(self.config.time_max().saturating_sub(taken));
        tokio::pin!(deadline);
        let end = loop {
            tokio::select! {
                trained = self.trainer.ended() => return trainer_ended(trained),
                // The batcher also ends when the trainer does, whose own end is then about to be told.
                Err(panic) = self.batcher.ended(), if self.batcher.is_running() => break failed("batcher", &panic),
                Err(panic) = self.publisher.ended(), if self.publisher.is_running() => break failed("publisher", &panic),
                Err(panic) = self.checkpointer.ended(), if self.checkpointer.is_running() => break failed("checkpointer", &panic),
                served = &mut self.server => break RunEnd::Failed(format!("the gRPC server ended: {served:?}")),
                Some(index) = self.lockstep_broken.recv() => {
                    break RunEnd::Failed(format!("actor {index} left a deterministic run before its end; start the run again"));
                }
                () = stop.cancelled() => break RunEnd::Interrupted,
                () = &mut deadline => break self.out_of_time(),
                _ = tick.tick() => self.report(),
            }
        };
        Ended { end, trained: None }
    }

    fn out_of_time(&self) -> RunEnd {
        match self.progress.lock().expect("no holder of the progress panics").solved {
            Some(_) => RunEnd::SolvedTimeBudget,
            None => RunEnd::TimeBudget,
        }
    }

    fn report(&mut self) {
        let progress = self.progress.lock().expect("no holder of the progress panics").clone();
        let circumstances = self.at_the_end.unwrap_or_else(|| self.circumstances());
        let actors = *self.shared.registry.connected().borrow();
        metrics::record_state(self.standing.state(actors, self.shared.actors_needed));
        let time_left = self.config.time_max().saturating_sub(progress.elapsed());
        self.reporter.report(&progress, self.shared.ledger.account(), actors, &self.gate, &circumstances, time_left);
    }

    /// Who is here.
    fn circumstances(&self) -> Circumstances {
        let actors = *self.shared.registry.connected().borrow();
        let actors_needed = self.shared.actors_needed;
        Circumstances { actors, actors_needed, is_lockstep: self.config.deterministic }
    }

    /// Where the time of the run went so far.
    fn shares(&self) -> Shares {
        let progress = self.progress.lock().expect("no holder of the progress panics");
        Shares::between(&self.reporter.start, &Totals::now(&progress, &self.shared.ledger.account()))
    }

    /// Follows the data: nobody is taken any more, streams end, the queue drains, the step finishes, results are written. A
    /// completed run that keeps serving stays there until `stop`.
    async fn shut_down(mut self, ended: Ended, stop: &CancellationToken) -> anyhow::Result<Outcome> {
        let Ended { mut end, trained } = ended;
        let keeps_serving = self.config.keep_serving;
        // Without a frame it is a failure, which another start may well mend.
        let is_completed = end.is_completion() && self.trained_frames() > 0;
        if !(keeps_serving && is_completed) {
            self.announce_stop(end.to_string()).await;
        }
        let circumstances = self.circumstances();
        // Who leaves with the end is not missing; who was not there when the time ran out is.
        let actors = match end {
            RunEnd::TimeBudget => circumstances.actors,
            _ => circumstances.actors.max(circumstances.actors_needed),
        };
        self.at_the_end = Some(Circumstances { actors, ..circumstances });
        self.standing.finish(Finish { reason: end.to_string(), actors_wait: keeps_serving });
        self.stop_batcher.cancel();
        let trained = match self.trainer.ended().await {
            Ok(at_last) => trained.or(at_last.map(|(_, trained)| trained)),
            Err(panic) => {
                end = failed("trainer", &panic);
                None
            }
        };
        let shares = self.shares();
        if let Err(panic) = self.batcher.ended().await {
            end = failed("batcher", &panic);
        }
        let deadline = tokio::time::Instant::now() + GRACE;
        let mut connected = self.shared.registry.connected();
        if tokio::time::timeout_at(deadline, connected.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!(actors = *connected.borrow(), "actors did not say farewell in time");
        }
        let mut trained = trained;
        let checkpoints = self.write_last_checkpoint(trained.as_mut()).await.unwrap_or_else(|panic| {
            end = failed("checkpointer", &panic);
            CheckpointReport::default()
        });
        let step = trained.map(|trained| trained.step);
        if keeps_serving && is_completed && end.is_completion() {
            return self.serve_on(end, step, shares, checkpoints, stop).await;
        }
        self.announce_stop(end.to_string()).await;
        if let Err(panic) = self.close(deadline).await {
            end = failed("publisher", &panic);
        }
        self.report();
        self.reporter.console.iter().for_each(Console::clear);
        self.write_results(end, step, shares, checkpoints)
    }

    /// Everything is decided by now, so nothing is in flight in it.
    async fn write_last_checkpoint(&mut self, trained: Option<&mut Trained>) -> Result<CheckpointReport, String> {
        let Some(checkpoints) = self.checkpoints.take() else { return Ok(CheckpointReport::default()) };
        let progress = self.progress.lock().expect("no holder of the progress panics").clone();
        if let Some(Trained { step, actor_states }) = trained.filter(|_| progress.updates > self.updates_before) {
            let account = self.shared.ledger.account();
            let last = Checkpoint::new(&self.config, step, &progress, account, std::mem::take(actor_states));
            let slot = checkpoints.clone();
            // The writer may still be at work on the one before; without a writer its end tells why.
            let _ = tokio::task::spawn_blocking(move || slot.put(last)).await;
        }
        drop(checkpoints);
        self.checkpointer.ended().await.map(Option::unwrap_or_default)
    }

    fn trained_frames(&self) -> u64 {
        self.progress.lock().expect("no holder of the progress panics").frames
    }

    /// From now on nobody is to be sent here; those who are here may finish. First of all that a stop does, so that probes
    /// and load balancers look away while the rest takes its time.
    async fn announce_stop(&self, reason: String) {
        self.standing.stop(reason);
        for service in [HEALTH_LEARNER, HEALTH_TRAINING] {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
        metrics::record_state(RunState::Stopping);
    }

    /// Ends publisher and server.
    async fn close(&mut self, deadline: tokio::time::Instant) -> Result<(), String> {
        self.slot.close();
        let published = self.publisher.ended().await.map(drop);
        self.stop_server.cancel();
        // What a stubborn peer still holds open ends with the process.
        if !self.server.is_finished() {
            let _ = tokio::time::timeout_at(deadline, &mut self.server).await;
        }
        published
    }

    /// A completed run: its results are written, its final model is served until `stop`.
    async fn serve_on(
        mut self,
        end: RunEnd,
        mut step: Option<LearnerStep>,
        shares: Shares,
        checkpoints: CheckpointReport,
        stop: &CancellationToken,
    ) -> anyhow::Result<Outcome> {
        if let Some(step) = &mut step {
            self.publish_final(step).await;
        }
        self.report();
        let has_watcher = self.reporter.end();
        let reason = end.to_string();
        let result = self.write_results(end, step, shares, checkpoints);
        match &result {
            Ok(Outcome { summary, .. }) => {
                let (frames, updates, mean_return) = (summary.frames, summary.updates, summary.mean_return);
                tracing::info!(
                    result = reason,
                    frames,
                    updates,
                    mean_return,
                    account = %summary.account,
                    "training is over; serving the final model until a signal"
                );
                if has_watcher {
                    console::note(&format!("{summary}\nserving the final model until a signal (Ctrl-C)"));
                }
            }
            // What there is can be served all the same; the exit code will tell.
            Err(error) => tracing::error!("serving the final model, but its results are lost: {error:#}"),
        }
        self.standing.complete();
        self.health.set_service_status(HEALTH_TRAINING, ServingStatus::NotServing).await;
        let broken = self.idle(stop).await;
        self.announce_stop(broken.clone().unwrap_or_else(|| "asked to stop, training was over".into())).await;
        let closed = self.close(tokio::time::Instant::now() + GRACE).await;
        match broken.or(closed.err()) {
            Some(reason) => anyhow::bail!("the run was completed, but then {reason}"),
            None => result,
        }
    }

    /// Waits for `stop`; tells what broke before.
    async fn idle(&mut self, stop: &CancellationToken) -> Option<String> {
        let mut tick = tokio::time::interval(IDLE_REPORT_INTERVAL);
        loop {
            tokio::select! {
                Err(panic) = self.publisher.ended(), if self.publisher.is_running() => {
                    return Some(format!("the publisher broke: {panic}"));
                }
                served = &mut self.server => return Some(format!("the gRPC server ended: {served:?}")),
                () = stop.cancelled() => return None,
                _ = tick.tick() => self.report(),
            }
        }
    }

    /// Brings the last version to whoever asks for weights, also where not every version is published.
    async fn publish_final(&self, step: &mut LearnerStep) {
        let last = self.gate.current();
        let mut published = self.shared.published.clone();
        if published.borrow().as_ref().is_some_and(|newest| newest.version == last) {
            return;
        }
        self.slot.put(last, step.parameters());
        // A publisher that broke is noticed by who watches over it.
        let _ = published.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.version == last)).await;
    }

    fn write_results(
        &self,
        end: RunEnd,
        step: Option<LearnerStep>,
        shares: Shares,
        checkpoints: CheckpointReport,
    ) -> anyhow::Result<Outcome> {
        let progress = self.progress.lock().expect("no holder of the progress panics").clone();
        let is_deserted = end == RunEnd::TimeBudget && progress.frames == 0;
        let needed = self.config.actors_needed();
        let end = match is_deserted {
            true => RunEnd::Failed(format!(
                "no batch came within the time budget: it takes {needed} connected actors or more"
            )),
            false => end,
        };
        let circumstances = self.at_the_end.unwrap_or_default();
        let account = self.shared.ledger.account();
        let mut summary = Summary::new(end, &progress, account, shares, &circumstances);
        summary.checkpoints = checkpoints;
        summary.resumed_from = (self.updates_before > 0).then_some(self.updates_before);
        let title = format!("{}, seed {}", self.config.environment, self.config.seed);
        let svg = self.run_dir.file("learning_curve.svg");
        if let Err(error) = curve::draw(&svg, &title, &progress.curve, self.config.solved_return) {
            tracing::warn!(%error, "cannot write the learning curve");
        }
        let Some(mut step) = step else {
            anyhow::bail!("{}; no model is left to save", summary.end);
        };
        for (name, content) in [("summary.txt", format!("{summary}\n")), ("summary.json", summary.to_json())] {
            let path = self.run_dir.file(name);
            std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let description = ModelDescription {
            environment: self.config.environment,
            activation: self.config.activation,
            frames: progress.frames,
            updates: progress.updates,
        };
        let path = self.run_dir.file("model.safetensors");
        model_file::save(&path, &self.network, step.parameters(), &description)
            .with_context(|| format!("{}", path.display()))?;
        Ok(Outcome { summary, network: self.network.clone(), parameters: step.parameters().to_vec() })
    }
}

fn trainer_ended(trained: Result<Option<(TrainingEnd, Trained)>, String>) -> Ended {
    let (end, trained) = match trained {
        Ok(Some((TrainingEnd::Solved, step))) => (RunEnd::Solved, Some(step)),
        Ok(Some((TrainingEnd::FramesBudget, step))) => (RunEnd::FramesBudget, Some(step)),
        Ok(Some((TrainingEnd::Diverged(error), step))) => (RunEnd::Failed(error.to_string()), Some(step)),
        // Nobody has asked the batcher to stop: it broke, and its panic is reported when it is joined.
        Ok(Some((TrainingEnd::Stopped, step))) => (failed("batcher", "it ended too early"), Some(step)),
        Ok(None) => (failed("trainer", "its end was told twice"), None),
        Err(panic) => (failed("trainer", &panic), None),
    };
    Ended { end, trained }
}

/// Actors that must be connected for training to go on.
fn actors_needed(config: &Config) -> usize {
    config.lockstep().map_or_else(|| config.actors_needed(), |lockstep| lockstep.actors as usize)
}

fn failed(stage: &str, reason: &str) -> RunEnd {
    RunEnd::Failed(format!("the {stage} broke: {reason}"))
}

/// What every actor of the run agrees to, but for what the registry fills in.
pub fn agreement(config: &Config) -> Agreement {
    Agreement {
        session: Session(0),
        actor_index: ActorIndex(0),
        environment: config.environment.spec(),
        network: config.network(),
        unroll_length: config.unroll_length,
        environments_per_actor: config.environments_per_actor,
        seed: config.seed,
        encoding: config.weights_encoding,
        in_flight_max: config.in_flight_max,
        lockstep: config.lockstep(),
    }
}

/// The running server and how it ended.
pub type ServerTask = tokio::task::JoinHandle<Result<(), tonic::transport::Error>>;

/// Starts the gRPC server with health and reflection; it ends with `stop`. Must be called inside a tokio runtime.
///
/// # Errors
/// The description of the service cannot be read: a bug.
pub fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    keepalive: Keepalive,
    stop: CancellationToken,
) -> anyhow::Result<(tonic_health::server::HealthReporter, ServerTask)> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("cannot describe the service")?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let router = Server::builder()
        .http2_keepalive_interval(Some(keepalive.interval))
        .http2_keepalive_timeout(Some(keepalive.timeout))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(service::server(shared))
        .add_service(health_service)
        .add_service(reflection);
    let reporter = health.clone();
    let task = tokio::spawn(async move {
        for service in [HEALTH_LEARNER, HEALTH_TRAINING] {
            reporter.set_service_status(service, ServingStatus::Serving).await;
        }
        router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await
    });
    Ok((health, task))
}

/// Where reports go.
struct Reporter {
    rates: Rates,
    start: Totals,
    recent: RecentShares,
    csv: Option<MetricsCsv>,
    console: Option<Console>,
    /// Whether training is over: then nothing limits it any more.
    is_over: bool,
}

impl Reporter {
    fn new(run_dir: &RunDir, resumes: bool, shows_progress: bool) -> Self {
        let csv = MetricsCsv::open(&run_dir.file("metrics.csv"), resumes);
        let csv = csv.inspect_err(|error| tracing::warn!(%error, "cannot open metrics.csv; the training goes on")).ok();
        let start = Totals::at_the_start();
        let (rates, recent) = (Rates::default(), RecentShares::new(start));
        Self { rates, start, recent, csv, console: shows_progress.then(Console::new), is_over: false }
    }

    /// The display ends and nothing more is written; metrics go on. Tells whether there was a display.
    fn end(&mut self) -> bool {
        (self.csv, self.is_over) = (None, true);
        self.console.take().inspect(Console::clear).is_some()
    }

    fn report(
        &mut self,
        progress: &Progress,
        account: Account,
        actors_connected: usize,
        gate: &PolicyLagGate,
        circumstances: &Circumstances,
        time_left: Duration,
    ) {
        if progress.first_batch().is_none() {
            // How busy the machine was before the first batch says nothing about the run.
            self.start = Totals::at_the_start();
            self.recent = RecentShares::new(self.start);
        }
        let (frames_per_second, busy) = self.rates.update(progress);
        let shares = self.recent.update(Totals::now(progress, &account));
        let diagnosis = &if self.is_over { Diagnosis::default() } else { diagnose(&shares, circumstances) };
        let view = View { progress, account, actors_connected, frames_per_second, busy, shares, diagnosis, time_left };
        metrics::report(&view, gate);
        if let Some(console) = &mut self.console {
            console.show(&view);
        }
        let written = self.csv.as_mut().map_or(Ok(()), |csv| csv.append(&view));
        if let Err(error) = written {
            tracing::warn!(%error, "cannot write metrics.csv any more; the training goes on");
            self.csv = None;
        }
    }
}
