//! All wiring of a learner: makes the channels, starts the stages, watches over them, and shuts them down in the order of
//! the data.

use crate::admission::PolicyLagGate;
use crate::batcher::Batcher;
use crate::config::Config;
use crate::device::ComputeDevice;
use crate::device_choice;
use crate::initialise::initial_parameters;
use crate::ledger::{Account, Ledger};
use crate::metrics;
use crate::model_file::{self, ModelDescription};
use crate::progress::Progress;
use crate::publisher::{Publisher, WantedEncodings, WeightsSlot};
use crate::registry::Registry;
use crate::report::console::Console;
use crate::report::csv::MetricsCsv;
use crate::report::doctor::{Circumstances, diagnose};
use crate::report::shares::{RecentShares, Shares, Totals};
use crate::report::summary::{RunEnd, Summary};
use crate::report::{Rates, View, curve};
use crate::run_dir::RunDir;
use crate::service::{self, Shared};
use crate::stage::{self, Stage};
use crate::step::LearnerStep;
use crate::trainer::{Trainer, TrainingEnd};
use anyhow::Context;
use impala_common::ids::{ActorIndex, Session};
use impala_common::network::NetworkSpec;
use impala_common::spec::Agreement;
use impala_common::wire::pb;
use rand::RngExt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Time that actors have to say farewell and the server to close its connections.
pub const GRACE: Duration = Duration::from_secs(2);
/// A silent peer is noticed after the sum of these.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes in flight on one stream and on one connection: room for a large trajectory, so that the windows that bound the
/// policy lag are the actors', not HTTP/2's.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A learner that has its port but has not begun.
#[derive(Debug)]
pub struct Learner {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    device: ComputeDevice,
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
    /// Chooses and opens the device and binds the port. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The device is not to be had, or the port is taken.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let choosing = config.clone();
        let device = tokio::task::spawn_blocking(move || device_choice::open(&choosing)).await??;
        let listen = config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}: choose another --listen (port 0 takes a free one)"))?;
        let address = listener.local_addr()?;
        Ok(Self { config, listener, address, device })
    }

    /// Where actors reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The settings of its run.
    pub fn config(&self) -> &Config {
        &self.config
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
    /// writes the model and the learning curve.
    ///
    /// # Errors
    /// The threads cannot be started or the results not be written. A training that failed is an `Ok` whose summary says so.
    pub async fn run(self, run_dir: RunDir, shows_progress: bool, stop: CancellationToken) -> anyhow::Result<Outcome> {
        // 0 takes one per core. A second learner in the process, as in tests, keeps the pool of the first.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(self.config.learner_threads).build_global();
        tracing::info!("{}", self.device.note());
        tracing::info!(address = %self.address, run = %run_dir.path().display(), "learner ready");
        let needed = self.config.actors_needed();
        if needed > 1 {
            tracing::info!("a batch needs {needed} actors: training waits while fewer are connected");
        }
        let mut running = Running::start(self, run_dir, shows_progress)?;
        let end = running.watch_over(&stop).await;
        running.shut_down(end).await
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
    slot: WeightsSlot,
    trainer: Stage<(TrainingEnd, LearnerStep)>,
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

/// Why watching ended, with the trainer's result if it ended by itself.
struct Ended {
    end: RunEnd,
    trained: Option<LearnerStep>,
}

impl Running {
    fn start(learner: Learner, run_dir: RunDir, shows_progress: bool) -> anyhow::Result<Self> {
        let Learner { config, listener, device, .. } = learner;
        let network = config.network();
        let ledger = Arc::new(Ledger::default());
        let gate = PolicyLagGate::new(config.policy_lag_max);
        let progress = Arc::new(Mutex::new(Progress::new(config.solved_return)));
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
            step: LearnerStep::new(network.clone(), initial_parameters(&network, config.seed), config.step(), device),
            staged,
            slot: slot.clone(),
            gate: gate.clone(),
            progress: progress.clone(),
        };
        let batcher = Batcher {
            queue: admitted,
            staged: staged_sender,
            gate: gate.clone(),
            trajectories_per_batch: config.trajectories_per_batch(),
            lockstep: config.lockstep(),
            stop: stop_batcher.clone(),
        };
        let publisher = Publisher { slot: slot.clone(), published: published_sender, wanted: wanted.clone() };
        let runtime = tokio::runtime::Handle::current();
        let shared = Arc::new(Shared {
            registry: Registry::new(agreement(&config), ledger.clone(), published.clone(), rand::rng().random()),
            ledger,
            gate: gate.clone(),
            queue,
            published,
            wanted,
            finishing: CancellationToken::new(),
            finish_reason: OnceLock::new(),
            lockstep_broken: lockstep_sender,
        });
        let (health, server) = serve(listener, shared.clone(), stop_server.clone())?;
        Ok(Self {
            reporter: Reporter::new(&run_dir, shows_progress),
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
        let deadline = tokio::time::sleep(self.config.time_max());
        tokio::pin!(deadline);
        let end = loop {
            tokio::select! {
                trained = self.trainer.ended() => return trainer_ended(trained),
                // The batcher also ends when the trainer does, whose own end is then about to be told.
                Err(panic) = self.batcher.ended(), if self.batcher.is_running() => break failed("batcher", &panic),
                Err(panic) = self.publisher.ended(), if self.publisher.is_running() => break failed("publisher", &panic),
                served = &mut self.server => break RunEnd::Failed(format!("the gRPC server ended: {served:?}")),
                Some(index) = self.lockstep_broken.recv() => {
                    break RunEnd::Failed(format!("actor {index} left a deterministic run before its end; start the run again"));
                }
                () = stop.cancelled() => break RunEnd::Interrupted,
                () = &mut deadline => break RunEnd::TimeBudget,
                _ = tick.tick() => self.report(),
            }
        };
        Ended { end, trained: None }
    }

    fn report(&mut self) {
        let progress = self.progress.lock().expect("no holder of the progress panics").clone();
        let circumstances = self.at_the_end.unwrap_or_else(|| self.circumstances());
        let actors = *self.shared.registry.connected().borrow();
        let time_left = self.config.time_max().saturating_sub(progress.elapsed());
        self.reporter.report(&progress, self.shared.ledger.account(), actors, &self.gate, &circumstances, time_left);
    }

    /// Who is here.
    fn circumstances(&self) -> Circumstances {
        let actors_needed = match self.config.lockstep() {
            Some(lockstep) => lockstep.actors as usize,
            None => self.config.actors_needed(),
        };
        let actors = *self.shared.registry.connected().borrow();
        Circumstances { actors, actors_needed, is_lockstep: self.config.deterministic }
    }

    /// Where the time of the run went so far.
    fn shares(&self) -> Shares {
        let progress = self.progress.lock().expect("no holder of the progress panics");
        Shares::between(&self.reporter.start, &Totals::now(&progress, &self.shared.ledger.account()))
    }

    /// Follows the data: no new actors, streams end, the queue drains, the step finishes, results are written.
    async fn shut_down(mut self, ended: Ended) -> anyhow::Result<Outcome> {
        let Ended { mut end, trained } = ended;
        self.health.set_not_serving::<pb::learner_server::LearnerServer<service::Service>>().await;
        // Who leaves with the end is not missing.
        let Circumstances { actors, actors_needed, is_lockstep } = self.circumstances();
        self.at_the_end = Some(Circumstances { actors: actors.max(actors_needed), actors_needed, is_lockstep });
        let _ = self.shared.finish_reason.set(end.to_string());
        self.shared.finishing.cancel();
        self.stop_batcher.cancel();
        let step = match self.trainer.ended().await {
            Ok(at_last) => trained.or(at_last.map(|(_, step)| step)),
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
        self.slot.close();
        if let Err(panic) = self.publisher.ended().await {
            end = failed("publisher", &panic);
        }
        self.stop_server.cancel();
        // What a stubborn peer still holds open ends with the process.
        if !self.server.is_finished() {
            let _ = tokio::time::timeout_at(deadline, &mut self.server).await;
        }
        self.report();
        self.reporter.console.iter().for_each(Console::clear);
        self.write_results(end, step, shares)
    }

    fn write_results(self, end: RunEnd, step: Option<LearnerStep>, shares: Shares) -> anyhow::Result<Outcome> {
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
        let summary = Summary::new(end, &progress, self.shared.ledger.account(), shares, &circumstances);
        let title = format!("{}, seed {}", self.config.environment, self.config.seed);
        let svg = self.run_dir.file("learning_curve.svg");
        if let Err(error) = curve::draw(&svg, &title, &progress.curve, self.config.solved_return) {
            tracing::warn!(%error, "cannot write the learning curve");
        }
        let Some(mut step) = step else {
            anyhow::bail!("{}; no model is left to save", summary.end);
        };
        let description = ModelDescription {
            environment: self.config.environment,
            activation: self.config.activation,
            frames: progress.frames,
            updates: progress.updates,
        };
        let path = self.run_dir.file("model.safetensors");
        model_file::save(&path, &self.network, step.parameters(), &description)
            .with_context(|| format!("{}", path.display()))?;
        Ok(Outcome { summary, network: self.network, parameters: step.parameters().to_vec() })
    }
}

fn trainer_ended(trained: Result<Option<(TrainingEnd, LearnerStep)>, String>) -> Ended {
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
    stop: CancellationToken,
) -> anyhow::Result<(tonic_health::server::HealthReporter, ServerTask)> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("cannot describe the service")?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(service::server(shared))
        .add_service(health_service)
        .add_service(reflection);
    let reporter = health.clone();
    let task = tokio::spawn(async move {
        reporter.set_serving::<pb::learner_server::LearnerServer<service::Service>>().await;
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
}

impl Reporter {
    fn new(run_dir: &RunDir, shows_progress: bool) -> Self {
        let csv = MetricsCsv::create(&run_dir.file("metrics.csv"));
        let csv =
            csv.inspect_err(|error| tracing::warn!(%error, "cannot create metrics.csv; the training goes on")).ok();
        let start = Totals::at_the_start();
        let (rates, recent) = (Rates::default(), RecentShares::new(start));
        Self { rates, start, recent, csv, console: shows_progress.then(Console::new) }
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
        let diagnosis = &diagnose(&shares, circumstances);
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
