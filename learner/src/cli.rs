//! The command line of a learner alone.

use crate::app::{Learner, Outcome};
use crate::config::settings::GivenSettings;
use crate::config::{self, Config};
use crate::handover::metrics;
use crate::inquiry;
use crate::report::summary::RunEnd;
use crate::run::resume::{Beginning, default_store};
use crate::run::run_dir::RunDir;
use anyhow::Context;
use impala_common::{shutdown, telemetry};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Exit code of a run that ended unsolved.
pub const EXIT_UNSOLVED: u8 = 1;
/// Exit code of a run that a signal ended (128 + SIGINT).
pub const EXIT_INTERRUPTED: u8 = 130;

/// Flags of a learner.
#[derive(Clone, Debug, clap::Args)]
pub struct LearnerArgs {
    /// TOML file with the same settings, keys with `_` for `-`. Flags and IMPALA_* environment variables win over it.
    #[arg(long, env = "IMPALA_CONFIG", hide_env = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Go on with a run that has a checkpoint: the run's directory, or the URL of its checkpoints. Its settings hold where
    /// none are given.
    #[arg(long, env = "IMPALA_RESUME", hide_env_values = true, value_name = "RUN")]
    pub resume: Option<String>,

    /// Print the resolved configuration as TOML and exit.
    #[arg(long)]
    pub print_config: bool,

    /// Show no progress line.
    #[arg(long)]
    pub quiet: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "each setting has its own help")]
    pub settings: GivenSettings,
}

/// Whether a learner on this machine takes actors or serves weights: for health checks of containers.
#[derive(Clone, Debug, clap::Args)]
pub struct HealthArgs {
    /// Address that the learner listens on; a wildcard means loopback [default: that of the configuration file, else
    /// 127.0.0.1:50051]
    #[arg(long, value_name = "IP:PORT", env = "IMPALA_LISTEN", hide_env_values = true)]
    pub listen: Option<SocketAddr>,

    /// The learner's configuration file, which may name that address.
    #[arg(long, env = "IMPALA_CONFIG", hide_env = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Asks the learner for its health and says it in a sentence; exit code 0 or 1. Takes a few seconds at most.
///
/// # Errors
/// It is not healthy, or does not answer; the configuration file cannot be read.
pub fn health(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let flags = GivenSettings { listen: args.listen, ..GivenSettings::default() };
    let listen = config::given(flags, args.config.as_deref())?.or_default().listen;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sentence = runtime.block_on(inquiry::health(listen))?;
    print_text(&format!("{sentence}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a learner to its end, for the process's `main`.
///
/// # Errors
/// The configuration is refused, or the learner cannot start or write its results.
pub fn run(args: LearnerArgs) -> anyhow::Result<ExitCode> {
    let given = config::given(args.settings, args.config.as_deref())?;
    let mut beginning = Beginning::find(given, args.resume.as_deref())?;
    let config = Config::complete(beginning.given.clone())?;
    beginning.check(&config)?;
    if args.print_config {
        print_text(&config.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let stop = shutdown::on_signal()?;
        let note = beginning.note();
        let checkpoint = beginning.found.take().map(|found| found.checkpoint);
        let learner = Learner::bind(config.clone(), checkpoint).await?;
        // Probes and metrics answer to the last: only the end of this block ends them.
        let metrics_stop = CancellationToken::new();
        let _serves_metrics = metrics_stop.clone().drop_guard();
        let metrics = serve_metrics(&learner, metrics_stop).await?;
        let run_dir = RunDir::create(&config, beginning.run_dir.as_deref())?;
        let store = beginning.store.unwrap_or_else(|| default_store(run_dir.path()));
        // On a terminal the progress line has standard error to itself; elsewhere logs are what is wanted there.
        let is_terminal = std::io::stderr().is_terminal();
        let log_file = is_terminal.then(|| run_dir.file("learner.log"));
        telemetry::init_logs(config.log_format, log_file.as_deref())?;
        tracing::info!("metrics at http://{metrics}/metrics");
        note.iter().for_each(|note| tracing::info!("{note}"));
        run_dir.warning().iter().for_each(|warning| tracing::warn!("{warning}"));
        if is_terminal {
            let (address, run) = (learner.address(), run_dir.path().display());
            note.iter().for_each(|note| print_note(note));
            print_note(&format!("learner at {address}, metrics at http://{metrics}/metrics, logs in {run}"));
        }
        let outcome = learner.run(run_dir.clone(), store, is_terminal && !args.quiet, stop).await?;
        print_text(&format!("{}\nrun           {}\n", outcome.summary, run_dir.path().display()))?;
        Ok(exit_code(&outcome))
    })
}

/// Installs the recorder and serves it, with probes, as the learner's configuration says; gives the bound address.
///
/// # Errors
/// The address is taken.
pub async fn serve_metrics(learner: &Learner, stop: CancellationToken) -> anyhow::Result<SocketAddr> {
    let recorder = telemetry::install_recorder(metrics::BUCKETS)?;
    metrics::describe();
    let standing = learner.standing().clone();
    let readiness = Arc::new(move || standing.readiness());
    Ok(telemetry::serve_metrics(learner.config().metrics_listen, recorder, readiness, stop).await?)
}

/// 0 for a solved task.
pub fn exit_code(outcome: &Outcome) -> ExitCode {
    match outcome.summary.end {
        RunEnd::Solved | RunEnd::SolvedTimeBudget => ExitCode::SUCCESS,
        RunEnd::Interrupted => ExitCode::from(EXIT_INTERRUPTED),
        RunEnd::FramesBudget | RunEnd::TimeBudget | RunEnd::Failed(_) => ExitCode::from(EXIT_UNSOLVED),
    }
}

/// Results go to standard output, so that they can be piped.
///
/// # Errors
/// Standard output cannot be written; a reader that has gone is none.
pub fn print_text(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// A line on standard error, which leaves standard output to the results.
#[allow(clippy::print_stderr, reason = "a note for the person at the terminal")]
pub fn print_note(text: &str) {
    eprintln!("{text}");
}
