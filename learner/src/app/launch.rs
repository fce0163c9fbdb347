//! The one order in which a learner comes up, for every program that has one: settings, what the run goes on from, port,
//! metrics and probes, the run's directory, logs, notes; then the run, its summary, the shut-down.
//!
//! Nothing is written before the ports are bound. Metrics and probes answer to the last: they end with [`Launched`].

use super::{Learner, acceptance};
use crate::config::environment_shape::EnvironmentShape;
use crate::config::serving::Serving;
use crate::config::settings::GivenSettings;
use crate::config::{self, Config, ConfigError};
use crate::handover::metrics;
use crate::report::gpus::GpuWatch;
use crate::report::sinks::{console, mlflow, prometheus};
use crate::report::summary::{self, StoredSummary};
use crate::run::checkpoint_store::CheckpointStore;
use crate::run::initial_model;
use crate::run::policy_source::NamedPolicy;
use crate::run::resume::{Beginning, default_store};
use crate::run::run_dir::RunDir;
use crate::service::first_actor::Told;
use anyhow::Context;
use impala_common::process::errors::{self, Level};
use impala_common::process::probes::{self, Probes};
use impala_common::process::{line, logs, signals, threads};
use impala_env::Registry;
pub use impala_store::Possession;
use impala_web::{Feed, live};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// A run whose settings are complete and checked, before anything is opened.
#[derive(Debug)]
pub struct Plan {
    /// The settings.
    pub config: Config,
    /// Whether a person named the address to listen on, now and not in an earlier process of the run.
    pub names_listen: bool,
    beginning: Beginning,
    /// What a new run begins with, if not with random parameters.
    initial: Option<NamedPolicy>,
    owner: Option<String>,
    /// Who told the shape of the environment, and where that was heard.
    told: Option<(Told, std::net::TcpListener)>,
}

/// What a program shows while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Display {
    /// Logs go to a file in the run's directory, and only warnings to standard error.
    pub logs_to_file: bool,
    /// What the run begins with is told on standard error too, not only in the log.
    pub prints_notes: bool,
    /// A progress line stands on standard error.
    pub shows_progress: bool,
}

/// A learner that is up: its ports are bound, its directory is made, its logs are open; nothing is trained yet. Dropped, it
/// ends metrics and probes.
#[derive(Debug)]
pub struct Launched {
    /// The learner.
    pub learner: Learner,
    /// The directory of its run.
    pub run_dir: RunDir,
    /// Where its checkpoints go.
    pub store: CheckpointStore,
    /// Cancelled by the first signal.
    pub stop: CancellationToken,
    /// Whether the run shows a progress line.
    pub shows_progress: bool,
    /// Metrics and probes, as long as it lives.
    pub probes: Telemetry,
    /// No other process works with the checkpoints; nothing where the directory of the run sees to that.
    pub possession: Option<Possession>,
    /// What the run came to, where an earlier process ended it: there is nothing to run.
    pub results: Option<StoredSummary>,
}

/// Metrics and probes, and what is measured for them beside the run. They end when it is dropped.
#[derive(Debug)]
pub struct Telemetry {
    probes: Probes,
    feed: Option<Feed>,
    _gpus: GpuWatch,
}

impl Telemetry {
    /// Where metrics and probes are served.
    pub fn address(&self) -> SocketAddr {
        self.probes.address()
    }

    /// Tells the pages that are open how the run ended, and ends.
    pub async fn end(self) {
        if let Some(feed) = self.feed.as_ref().filter(|feed| feed.is_watched()) {
            feed.end();
            tokio::time::sleep(LAST_WORDS).await;
        }
        // It may wait for a thread that asks the driver of a GPU.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

/// Time in which pages hear of the end, where there are any, before their server goes: a page at the other end of a continent is a tenth
/// of a second away.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl Plan {
    /// Completes what a person gave with the file, what a checkpoint of the run recorded, and the defaults; `registry` has
    /// the environments that the program may train on.
    ///
    /// # Errors
    /// A setting is refused or does not fit the checkpoint, or the run to resume is not there.
    pub fn settle(
        given: GivenSettings,
        file: Option<&Path>,
        resume: Option<&str>,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        // So that also what is refused is told in it.
        given.output.log_format.iter().for_each(|format| errors::speak(*format));
        let given = config::given(given, file)?;
        given.output.log_format.iter().for_each(|format| errors::speak(*format));
        let names_listen = given.serving.listen.is_some();
        let beginning = Beginning::find(given, resume, registry)?;
        let mut config = Config::complete(beginning.given.clone(), registry)?;
        errors::speak(config.output.log_format);
        if config.output.mlflow.is_some() {
            mlflow::check_credentials()?;
        }
        beginning.check(&config)?;
        let initial = match beginning.checkpoint() {
            Some(_) => None,
            None => initial_model::of(&mut config, registry)?,
        };
        Ok(Self { config, names_listen, beginning, initial, owner: None, told: None })
    }

    /// The same; where this program does not have the environment and neither settings nor a checkpoint say its shape, waits at the
    /// learner's address for the first actor that has it, and takes the actor's word for it. To be called where no runtime is.
    ///
    /// # Errors
    /// As of [`Plan::settle`]; the port is taken, or a signal came before an actor.
    #[allow(clippy::needless_pass_by_value, reason = "the shape of `settle`, in whose place it is called")]
    pub fn settle_by_actors(
        given: GivenSettings,
        file: Option<&Path>,
        resume: Option<&str>,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let refused = match Self::settle(given.clone(), file, resume, registry) {
            Ok(plan) => return Ok(plan),
            Err(refused) => refused,
        };
        let Some(ConfigError::Environment { name, .. }) = refused.downcast_ref() else { return Err(refused) };
        let serving = config::given(given.clone(), file)?.serving.complete()?;
        let listener = acceptance::listen(name, serving.listen)?;
        let mut refused_before = String::new();
        loop {
            let told = acceptance::wait_for(name, &listener)?;
            let mut given = given.clone();
            given.task.environment_spec = Some(EnvironmentShape::of(&told.spec));
            let refused = match Self::settle(given, file, resume, registry) {
                Ok(plan) => return Ok(Self { told: Some((told, listener)), ..plan }),
                Err(refused) => refused,
            };
            // No actor's word ends a learner: one of another shape may come.
            if !matches!(refused.downcast_ref(), Some(ConfigError::Invalid { .. })) {
                return Err(refused);
            }
            let reason = format!("{}, with which this learner cannot train: {refused:#}", acceptance::note(&told));
            if reason != refused_before {
                errors::tell(Level::Warn, format_args!("{reason}; waiting for another actor"));
                refused_before = reason;
            }
        }
    }

    /// Takes an object store with the run's checkpoints as the process of this name; see [`take`](impala_store::Store::take).
    #[must_use]
    pub fn with_owner(self, owner: Option<String>) -> Self {
        Self { owner, ..self }
    }

    /// What a person gave, now or in an earlier process of the run.
    pub fn given(&self) -> &GivenSettings {
        &self.beginning.given
    }

    /// Seconds that earlier processes of the run took.
    pub fn seconds_before(&self) -> f64 {
        self.beginning.checkpoint().map_or(0.0, |checkpoint| checkpoint.progress.seconds)
    }

    /// Opens everything in its order. `settle` has the last word on the learner before anything is written, and says what it
    /// chose; it may take its time.
    ///
    /// # Errors
    /// A port is taken, the device is not to be had, a directory or file cannot be written, or `settle` fails.
    pub async fn bring_up(
        self,
        display: Display,
        settle: impl FnOnce(Learner) -> anyhow::Result<(Learner, Option<String>)> + Send + 'static,
    ) -> anyhow::Result<Launched> {
        let Self { config, mut beginning, initial, owner, told, .. } = self;
        let stop = signals::on_signal()?;
        let begins_with = |policy: &NamedPolicy| format!("beginning with the parameters of {}", policy.source);
        let note = beginning.note().or_else(|| initial.as_ref().map(begins_with));
        let writes_first = beginning.needs_checkpoint(config.checkpoints.checkpoint_every);
        let skipped = beginning.skipped().to_vec();
        let update = beginning.update();
        let checkpoint = beginning.found.take().map(|found| found.checkpoint);
        let accepted = told.as_ref().map(|(told, _)| acceptance::note(told));
        let learner = match told {
            Some((_, listener)) => Learner::on(TcpListener::from_std(listener)?, config, checkpoint).await?,
            None => Learner::bind(config, checkpoint).await?,
        };
        let learner = initial.into_iter().fold(learner, |learner, policy| learner.with_parameters(policy.parameters));
        let learner = if writes_first { learner.with_first_checkpoint() } else { learner };
        let (learner, choice) = tokio::task::spawn_blocking(move || settle(learner)).await??;
        let feed = learner.config().serving.is_web().then(Feed::new);
        let probes = serve_metrics(&learner, feed.as_ref())?;
        let learner = learner.with_feed(feed);
        let mut run_dir = RunDir::take(learner.config(), beginning.run_dir.as_deref())?;
        let log_file = display.logs_to_file.then(|| run_dir.file("learner.log"));
        line::of_run(run_dir.name());
        logs::init(learner.config().output.log_format, log_file.as_deref())?;
        tracing::info!("metrics at http://{}/metrics", probes.address());
        let page = learner.config().serving.is_web().then(|| format!("live view at http://{}/", probes.address()));
        let store = beginning.store.take().unwrap_or_else(|| default_store(run_dir.path()));
        let (store, possession) = match store.is_directory(run_dir.path()) {
            // It has been taken.
            true => (store.held_by(run_dir.hold()), None),
            false => {
                let taking = store.take(owner.as_deref(), |text| tracing::warn!("{text}"));
                let taken = stop.run_until_cancelled(taking).await;
                let (store, possession) = taken.context("stopped before the checkpoints were this process's")??;
                (store, Some(possession))
            }
        };
        if let Err(overtaken) = beginning.check_store(&store).await {
            if let Some(possession) = possession {
                possession.release().await;
            }
            return Err(overtaken.into());
        }
        store.begin(update).await?;
        let results = learner.results(&run_dir);
        if results.is_none() {
            run_dir.record(learner.config())?;
        }
        let doubts = possession.iter().filter_map(Possession::doubt);
        let skipped = skipped.into_iter().map(|skipped| format!("passed over a newer checkpoint: {skipped}"));
        for warning in run_dir.warnings().iter().cloned().chain(doubts).chain(skipped) {
            tracing::warn!("{warning}");
        }
        // Whoever did not choose the port cannot know it.
        let is_free = learner.config().serving.listen.port() == 0;
        let place = is_free.then(|| format!("learner at http://{} (for status, eval and render)", learner.address()));
        // Nobody is to go there where there is nothing to run.
        let places = place.into_iter().chain(page).filter(|_| results.is_none());
        for note in note.into_iter().chain(accepted).chain(choice).chain(places) {
            tracing::info!("{note}");
            if display.prints_notes {
                console::note(&note);
            }
        }
        let shows_progress = display.shows_progress;
        Ok(Launched { learner, run_dir, store, stop, shows_progress, probes, possession, results })
    }
}

impl Launched {
    /// Runs the learner alone to its end and prints the summary; gives the exit code of the result.
    ///
    /// # Errors
    /// See [`Learner::run`].
    pub async fn run(mut self) -> anyhow::Result<ExitCode> {
        if let Some(results) = self.results.take() {
            return self.tell_again(&results).await;
        }
        let Self { learner, run_dir, store, stop, shows_progress, probes, possession, .. } = self;
        let stays = learner.config().serving.keep_serving;
        let outcome = learner.run(run_dir.clone(), store, shows_progress, stop).await;
        let printed = outcome.as_ref().map_or(Ok(()), |outcome| summary::print(&run_dir, &outcome.summary));
        if let Some(possession) = possession {
            possession.release().await;
        }
        probes.end().await;
        let outcome = outcome?;
        printed?;
        Ok(outcome.summary.end.exit_code(stays))
    }

    /// Ends without a run, because an earlier process ended it: prints what it came to, and changes nothing. Gives the exit code of that
    /// result.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub async fn tell_again(self, results: &StoredSummary) -> anyhow::Result<ExitCode> {
        let more = results.end.budget().unwrap_or("--frames-after-solved");
        let text = format!("the run is over, these are its results; a higher {more} lets it go on");
        tracing::info!("{text}");
        if self.shows_progress {
            console::note(&text);
        }
        let printed = results.print(&self.run_dir);
        if let Some(possession) = self.possession {
            possession.release().await;
        }
        self.probes.end().await;
        printed?;
        Ok(results.end.exit_code(false))
    }
}

/// Most threads that work for the network where that takes long: they encode weights and read large trajectories. Each keeps memory.
const HELPERS: usize = 8;
/// Time that they have to end with the program.
const HELPERS_END: Duration = Duration::from_secs(1);
/// Threads of a learner besides those of the network and of the step: its stages, metrics, GPUs, MLflow with its resolver, and those that
/// wait for files.
const THREADS: usize = 12;

/// Does the work of a program with a learner, on a runtime whose threads are those of the network. What helps it, such as a look-up of a
/// name that hangs in the system's resolver, does not hold up its end.
///
/// # Errors
/// The work's own; the system gives too few threads, or no file handle.
pub fn block_on<T>(serving: &Serving, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = runtime(serving)?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(HELPERS_END);
    result
}

fn runtime(serving: &Serving) -> anyhow::Result<Runtime> {
    let workers = serving.network_threads();
    // A runtime without a thread has no way to say so.
    threads::expect(workers + THREADS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(HELPERS)
        .enable_all()
        .build();
    runtime.context("cannot wait for the network; allow this process more open files (`ulimit -n`)")
}

/// Installs the recorder and serves it, with probes.
fn serve_metrics(learner: &Learner, feed: Option<&Feed>) -> anyhow::Result<Telemetry> {
    let recorder = probes::install_recorder(metrics::BUCKETS)?;
    metrics::describe();
    let standing = learner.standing().clone();
    let readiness = Arc::new(move || standing.readiness());
    let listen = learner.config().serving.metrics_listen;
    let pages = feed.map_or_else(probes::no_pages, |feed| live::router(feed.clone(), listen.ip()));
    let probes = probes::serve(listen, recorder, readiness, pages)?;
    Ok(Telemetry { probes, feed: feed.cloned(), _gpus: GpuWatch::start(prometheus::report_gpu) })
}
