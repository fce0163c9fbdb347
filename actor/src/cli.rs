//! The command line of an actor, as a program of its own and as a part of the person's tool.

use crate::app::{self, ActorConfig, ActorReport};
use crate::health;
use crate::metrics;
use anyhow::{Context, bail};
use clap::builder::BoolishValueParser;
use impala_common::channel::LearnerUrl;
use impala_common::process::logs::{self, LogFormat};
use impala_common::process::{errors, line, probes, signals, surroundings};
use impala_env::Registry;
use impala_env::spec::EnvironmentName;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time for a farewell after the parent's death, before the process ends without one.
const ORPHAN_GRACE: Duration = Duration::from_secs(3);

/// Steps environments for a learner until it ends the run. All hyperparameters come from the learner.
#[derive(Clone, Debug, clap::Args)]
pub struct ActorArgs {
    /// Where the learner listens: http://HOST:PORT, dns:///HOST:PORT or HOST:PORT. A name is looked up anew at every attempt
    /// and all of its addresses are tried. The actor waits for the learner, at the start and whenever it goes away.
    #[arg(long, value_name = "URL", env = "IMPALA_LEARNER", default_value = "http://127.0.0.1:50051")]
    pub learner: LearnerUrl,

    /// Name of this actor in the learner's logs and metrics; keep it the same when the actor is restarted, e.g. the pod's
    /// name [default: HOSTNAME-PID]
    #[arg(long, value_name = "NAME", env = "IMPALA_ACTOR_NAME")]
    pub name: Option<String>,

    /// Place of this actor in the run, from 0. With the learner's seed it decides every random draw; no two live actors
    /// may share it [default: the learner chooses a free one]
    #[arg(long, value_name = "INDEX", env = "IMPALA_ACTOR_INDEX")]
    pub index: Option<u32>,

    /// Work only for a learner that trains on this environment, e.g. acrobot-v1; one of gymnasium (gym:LunarLander-v3) is
    /// worked for only where it is named here [default: any that is built in]
    #[arg(long, value_name = "NAME", env = "IMPALA_ENVIRONMENT")]
    pub environment: Option<EnvironmentName>,

    /// Address that serves Prometheus metrics at /metrics, and /livez and /readyz for probes; port 0 takes a free one, which the log names; `off` serves none
    #[arg(long, value_name = "HOST:PORT|off", env = "IMPALA_METRICS_LISTEN", default_value = "127.0.0.1:0")]
    pub metrics_listen: MetricsListen,

    /// How to write log lines to standard error; RUST_LOG chooses which, `info` and above without it
    #[arg(long, value_name = "FORMAT", env = "IMPALA_LOG_FORMAT", value_enum, default_value = "human")]
    pub log_format: LogFormat,

    /// Wait also for a learner that this actor does not fit, of another release or for another environment, and ask again: in a
    /// cluster, where learner and actors are replaced one after the other
    #[arg(long, env = "IMPALA_WAIT", num_args = 0..=1, default_value = "false", default_missing_value = "true", hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub wait: bool,

    /// End when standard input closes, as it does when the parent process dies
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// Whether an actor on this machine lives: for health checks of containers.
#[derive(Clone, Debug, clap::Args)]
pub struct HealthArgs {
    /// Address that the actor serves its metrics on; a wildcard means loopback
    #[arg(long, value_name = "IP:PORT", env = "IMPALA_METRICS_LISTEN")]
    pub metrics_listen: Option<MetricsListen>,

    /// An actor that waits for its learner is not healthy either
    #[arg(long)]
    pub ready: bool,
}

/// Asks the actor for its health and says it in a sentence. Takes a few seconds at most.
///
/// # Errors
/// It is not healthy, does not answer, or serves no metrics.
pub fn health(args: &HealthArgs) -> anyhow::Result<()> {
    let Some(MetricsListen(Some(listen))) = args.metrics_listen else {
        bail!(
            "give the address of the actor's metrics: --metrics-listen or IMPALA_METRICS_LISTEN, e.g. 127.0.0.1:9091"
        );
    };
    let sentence = health::health(listen, args.ready)?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{sentence}").context("cannot write to standard output")
}

/// Where to serve metrics, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsListen(pub Option<SocketAddr>);

impl FromStr for MetricsListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let refuse = |_| format!("`{text}` is no address: give IP and port, e.g. 127.0.0.1:9091, or `off`");
        text.parse().map(|address| Self(Some(address))).map_err(refuse)
    }
}

/// Runs an actor for the environments of `registry` until the learner ends the run or a signal asks it to stop.
///
/// # Errors
/// Whatever keeps the actor from its work for good, in a sentence for the person who started it.
pub fn run(args: ActorArgs, registry: &Registry) -> anyhow::Result<()> {
    errors::speak(args.log_format);
    let environments = offered(registry, args.environment.as_ref())?;
    logs::init(args.log_format, None)?;
    // One thread: short unrolls share it with the sockets, long ones go to the blocking pool.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    let report = runtime.block_on(run_async(args, environments));
    // A look-up that hangs in the system's resolver must not hold up the end.
    runtime.shutdown_background();
    log_report(&report?);
    Ok(())
}

async fn run_async(args: ActorArgs, environments: Registry) -> anyhow::Result<ActorReport> {
    let shutdown = signals::on_signal().context("cannot listen for signals")?;
    if args.exit_with_parent {
        exit_with_parent(shutdown.clone())?;
    }
    let name = args.name.unwrap_or_else(default_name);
    line::of_actor(&name);
    let config = ActorConfig {
        index: args.index,
        waits: args.wait,
        on_registered: line::of_place,
        ..ActorConfig::new(args.learner, name, environments)
    };
    let _probes = if let MetricsListen(Some(address)) = args.metrics_listen {
        let handle = probes::install_recorder(&metrics::BUCKETS)?;
        metrics::describe();
        let standing = config.standing.clone();
        let readiness = Arc::new(move || standing.borrow().readiness());
        let probes = probes::serve(address, handle, readiness, probes::no_pages())?;
        tracing::info!("metrics at http://{}/metrics", probes.address());
        Some(probes)
    } else {
        None
    };
    Ok(app::run(config, shutdown).await?)
}

/// All environments, or the one that is wanted.
fn offered(registry: &Registry, wanted: Option<&EnvironmentName>) -> anyhow::Result<Registry> {
    let Some(name) = wanted else { return Ok(registry.clone()) };
    let kind = registry.get(name).with_context(|| format!("--environment {name}"))?;
    Ok(Registry::only(kind))
}

fn log_report(report: &ActorReport) {
    tracing::info!(
        finish_reason = report.finish_reason.as_deref().unwrap_or("stopped"),
        frames = report.frames,
        trajectories = report.trajectories,
        trained = report.receipts.trained,
        stale = report.receipts.stale,
        shutdown = report.receipts.shutdown,
        lost = report.lost,
        reconnects = report.reconnects,
        "the run is over"
    );
}

/// Host and process: unique among the actors of a cluster, and telling where to look.
fn default_name() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| surroundings::host());
    let pid = std::process::id();
    match host.trim() {
        "" => format!("actor-{pid}"),
        host => format!("{host}-{pid}"),
    }
}

/// Reads standard input to its end, which comes when the last process that holds the other end of the pipe is gone,
/// however it died.
fn exit_with_parent(shutdown: CancellationToken) -> anyhow::Result<()> {
    let wait = move || {
        let mut buffer = [0; 256];
        let mut stdin = std::io::stdin().lock();
        while stdin.read(&mut buffer).is_ok_and(|read| read > 0) {}
        tracing::info!("the parent process is gone or needs no actor any more, stopping");
        shutdown.cancel();
        std::thread::sleep(ORPHAN_GRACE);
        std::process::exit(1);
    };
    // Not joined: it outlives the run, since nothing interrupts the read.
    std::thread::Builder::new().name("parent-watch".into()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches, Parser};

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: ActorArgs,
    }

    fn parse(args: &[&str]) -> Result<ActorArgs, String> {
        let args = std::iter::once("impala-actor").chain(args.iter().copied());
        let matches = Program::command().try_get_matches_from(args).map_err(|error| error.to_string())?;
        Ok(Program::from_arg_matches(&matches).map_err(|error| error.to_string())?.args)
    }

    #[test]
    fn defaults_work_for_a_learner_on_this_machine() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.learner.to_string(), "http://127.0.0.1:50051");
        assert_eq!(args.metrics_listen, MetricsListen(Some(([127, 0, 0, 1], 0).into())));
        assert_eq!((args.name, args.index, args.environment), (None, None, None));
        assert!(!args.exit_with_parent);
        assert!(default_name().ends_with(&format!("-{}", std::process::id())));
    }

    #[test]
    fn bad_values_are_refused_with_flag_value_and_fix() {
        let refusal = |flag, value| parse(&[flag, value]).unwrap_err();
        for (flag, value, fix) in [
            ("--learner", "learner", "http://127.0.0.1:50051"),
            ("--environment", "two words", "cartpole-v1"),
            ("--metrics-listen", "9091", "127.0.0.1:9091"),
            ("--index", "first", "INDEX"),
            ("--log-format", "xml", "json"),
        ] {
            let error = refusal(flag, value);
            assert!(error.contains(flag) && error.contains(value) && error.contains(fix), "{error}");
        }
    }

    #[test]
    fn an_environment_that_nobody_registered_is_refused_with_those_that_are() {
        let environment = parse(&["--environment", "pong"]).unwrap().environment;
        let error = offered(&impala_env::builtin(), environment.as_ref()).unwrap_err();
        let expected = "--environment pong: unknown environment `pong`: use one of cartpole-v1, cartpole-v0, ";
        assert!(format!("{error:#}").starts_with(expected), "{error:#}");
        let only = offered(&impala_env::builtin(), Some(&"catch".parse().unwrap())).unwrap();
        assert_eq!(only.kinds().len(), 1);
    }

    #[test]
    fn metrics_can_be_switched_off() {
        assert_eq!(parse(&["--metrics-listen", "off"]).unwrap().metrics_listen, MetricsListen(None));
    }
}
