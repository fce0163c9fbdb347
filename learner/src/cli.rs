//! The command line of a learner alone.

use crate::app::launch::{self, Display, Plan};
use crate::config;
use crate::config::settings::GivenSettings;
use crate::report::sinks::console;
use anyhow::{Context, anyhow};
use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};
use impala_common::channel::{Dialler, client, url};
use impala_common::process::elsewhere::ElsewhereArgs;
use impala_env::Registry;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of a learner.
#[derive(Clone, Debug, clap::Args)]
pub struct LearnerArgs {
    /// TOML file with the same settings, keys with `_` for `-`. Flags and IMPALA_* environment variables win over it.
    #[arg(long, env = "IMPALA_CONFIG", hide_env = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Resume a run from its newest intact checkpoint: the run's directory, or the URL of its checkpoints. Its settings hold where
    /// none are given. RUN#best, or the file of a checkpoint, begins a run of its own at that checkpoint.
    #[arg(long, env = "IMPALA_RESUME", hide_env_values = true, value_name = "RUN")]
    pub resume: Option<String>,

    /// Where this program does not have the environment, and neither environment_spec nor a checkpoint says its shape: wait for the first
    /// actor that has it, and take its word.
    #[arg(long, env = "IMPALA_ACCEPT_SPEC", hide_env_values = true, num_args = 0..=1, default_missing_value = "true")]
    #[arg(default_value = "false", hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub accept_spec: bool,

    /// A name that at most one process has at a time, such as that of a pod: of the checkpoints in an object store, a process takes
    /// over at once from an earlier one of the same name. Without it, it waits up to 20 s where another one was at work a moment ago.
    #[arg(long, env = "IMPALA_CHECKPOINT_OWNER", hide_env_values = true, value_name = "NAME")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub checkpoint_owner: Option<String>,

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

impl LearnerArgs {
    /// The same on the one environment of a program of one's own, where one is named and nothing else says on what to train.
    ///
    /// # Errors
    /// The program does not tell its environments, or has several; the configuration file cannot be read.
    pub fn on_only_environment(mut self, elsewhere: &ElsewhereArgs) -> anyhow::Result<Self> {
        if elsewhere.actor_program.is_none() || self.resume.is_some() {
            return Ok(self);
        }
        let given = config::given(self.settings.clone(), self.config.as_deref())?;
        if given.task.environment.is_none() {
            self.settings.task.environment = elsewhere.only_environment().map_err(|reason| anyhow!(reason))?;
        }
        Ok(self)
    }
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
    let mut flags = GivenSettings::default();
    flags.serving.listen = args.listen;
    // The other settings are the learner's business: it asks for what runs, not for what might.
    let listen = config::given(flags, args.config.as_deref())?.serving.complete()?.listen;
    let address = url::from_here(listen).map_err(anyhow::Error::msg)?;
    let dialler = Dialler::new(address.to_string().parse().map_err(anyhow::Error::msg)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let health = runtime.block_on(client::health(&dialler));
    health.with_context(|| format!("the learner at {address} is not healthy"))?;
    console::print(&format!("the learner at {address} is ready\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a learner to its end, for the process's `main`; `registry` has the environments that it may train on.
///
/// # Errors
/// The configuration is refused, or the learner cannot start or write its results.
pub fn run(args: LearnerArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let settle = if args.accept_spec && !args.print_config { Plan::settle_by_actors } else { Plan::settle };
    let plan = settle(args.settings, args.config.as_deref(), args.resume.as_deref(), registry)?;
    let plan = plan.with_owner(args.checkpoint_owner);
    if args.print_config {
        console::print(&plan.config.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    // On a terminal the progress line has standard error to itself; elsewhere logs are what is wanted there.
    let is_terminal = std::io::stderr().is_terminal();
    let shows_progress = is_terminal && !args.quiet;
    let display = Display { logs_to_file: is_terminal, prints_notes: is_terminal, shows_progress };
    let serving = plan.config.serving.clone();
    launch::block_on(&serving, async {
        let launched = plan.bring_up(display, |learner| Ok((learner, None))).await?;
        if is_terminal {
            let (address, metrics) = (launched.learner.address(), launched.probes.address());
            let run = launched.run_dir.path().display();
            console::note(&format!("learner at {address}, metrics at http://{metrics}/metrics, logs in {run}"));
        }
        launched.run().await
    })
}
