//! The command line of a learner alone.

use crate::app::{Learner, Outcome};
use crate::config::Config;
use crate::config::settings::GivenSettings;
use crate::metrics;
use crate::report::summary::RunEnd;
use crate::run_dir::RunDir;
use impala_common::{shutdown, telemetry};
use std::path::PathBuf;
use std::process::ExitCode;
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

    /// Print the resolved configuration as TOML and exit.
    #[arg(long)]
    pub print_config: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "each setting has its own help")]
    pub settings: GivenSettings,
}

/// Runs a learner to its end, for the process's `main`.
///
/// # Errors
/// The configuration is refused, or the learner cannot start or write its results.
pub fn run(args: LearnerArgs) -> anyhow::Result<ExitCode> {
    let config = Config::resolve(args.settings, args.config.as_deref())?;
    if args.print_config {
        print_text(&config.to_toml());
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::init_logs(config.log_format, None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let run_dir = RunDir::create(&config)?;
        let stop = shutdown::on_signal()?;
        let learner = Learner::bind(config.clone(), run_dir.clone(), true).await?;
        serve_metrics(&config, stop.child_token()).await?;
        let outcome = learner.run(stop).await?;
        print_text(&format!("{}\nrun           {}\n", outcome.summary, run_dir.path().display()));
        Ok(exit_code(&outcome))
    })
}

/// Installs the recorder and serves it as the configuration says.
///
/// # Errors
/// The address is taken.
pub async fn serve_metrics(config: &Config, stop: CancellationToken) -> anyhow::Result<()> {
    let recorder = telemetry::install_recorder(metrics::BUCKETS)?;
    metrics::describe();
    let address = telemetry::serve_metrics(config.metrics_listen, recorder, stop).await?;
    tracing::info!("metrics at http://{address}/metrics");
    Ok(())
}

/// 0 for a solved task.
pub fn exit_code(outcome: &Outcome) -> ExitCode {
    match outcome.summary.end {
        RunEnd::Solved => ExitCode::SUCCESS,
        RunEnd::Interrupted => ExitCode::from(EXIT_INTERRUPTED),
        RunEnd::FramesBudget | RunEnd::TimeBudget | RunEnd::Failed(_) => ExitCode::from(EXIT_UNSOLVED),
    }
}

/// Results go to standard output, so that they can be piped.
#[allow(clippy::print_stdout, reason = "the result of the program")]
pub fn print_text(text: &str) {
    print!("{text}");
}
