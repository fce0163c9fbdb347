//! `impala train`: one learner in this process, actors in their own, on this machine.

use crate::actors::ActorProcesses;
use crate::split::{self, Demand};
use anyhow::Context;
use impala_common::{shutdown, telemetry};
use impala_learner::app::{Learner, Outcome};
use impala_learner::cli::{LearnerArgs, exit_code, print_note, print_text, serve_metrics};
use impala_learner::config::{self, Config, OpenSplit};
use impala_learner::report::summary::{RunEnd, Summary};
use impala_learner::run::resume::{Beginning, default_store};
use impala_learner::run::run_dir::RunDir;
use impala_policy::evaluate;
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Episodes of the greedy evaluation.
const EVALUATION_EPISODES: usize = 100;
/// Time without any actor process after which the run is given up.
const DESERTED: Duration = Duration::from_secs(2);

/// Trains, evaluates, prints the summary. `started` is the start of the process.
///
/// # Errors
/// The configuration is refused, or learner or actors cannot start or write their results.
pub(crate) fn run(args: LearnerArgs, started: Instant) -> anyhow::Result<ExitCode> {
    let LearnerArgs { config: file, resume, print_config, quiet, settings } = args;
    // The actors are told the port, so any free one will do; two runs on a machine do not meet.
    let given = config::given(settings, file.as_deref())?;
    let has_listen = given.listen.is_some();
    let beginning = Beginning::find(given, resume.as_deref())?;
    let given = beginning.given.clone();
    // The actors of a deterministic run are part of what it computes: they do not depend on the machine.
    let open = OpenSplit {
        actors: given.actors.is_none() && given.deterministic != Some(true),
        learner_threads: given.learner_threads.is_none(),
    };
    let mut config = Config::complete(given)?;
    if !has_listen {
        config = config.with_derived_listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    }
    config = config.with_open_split(open);
    beginning.check(&config)?;
    if !open.actors {
        config.check_actors()?;
    }
    if config.keep_serving {
        anyhow::bail!(
            "keep_serving = true: `train` ends with its run; use `impala learner --keep-serving` and start actors beside it"
        );
    }
    if print_config {
        print_text(&config.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let Trained { outcome, training_end, run_dir, seconds_before } =
        runtime.block_on(train(config.clone(), beginning, open, !quiet))?;
    let trained = started.elapsed();

    let network = &outcome.network;
    let evaluation =
        evaluate::greedy(config.environment, network, &outcome.parameters, EVALUATION_EPISODES, config.seed);
    // Of this process: a resumed run had its first batch in an earlier one.
    let training = outcome.summary.seconds - outcome.summary.seconds_to_first_batch.max(seconds_before);
    let times = Times {
        start_up: training_end.saturating_duration_since(started).as_secs_f64() - training,
        training,
        shut_down: (started + trained).saturating_duration_since(training_end).as_secs_f64(),
        evaluation: (started.elapsed() - trained).as_secs_f64(),
    };
    let (mean, min, max) = (evaluation.mean(), evaluation.min(), evaluation.max());
    let greedy = Greedy { episodes: EVALUATION_EPISODES, mean, min: min.into(), max: max.into() };
    Report { summary: &outcome.summary, solved_return: config.solved_return, greedy, seconds_by_phase: times }
        .publish(&run_dir)?;
    Ok(exit_code(&outcome))
}

/// What training leaves.
struct Trained {
    outcome: Outcome,
    training_end: Instant,
    run_dir: RunDir,
    /// What earlier processes of a resumed run took.
    seconds_before: f64,
}

/// Runs learner and actors to the end of the run. Nothing is written before the ports are bound.
async fn train(
    config: Config,
    mut beginning: Beginning,
    open: OpenSplit,
    shows_progress: bool,
) -> anyhow::Result<Trained> {
    let stop = shutdown::on_signal()?;
    let note = beginning.note();
    let checkpoint = beginning.found.take().map(|found| found.checkpoint);
    let seconds_before = checkpoint.as_ref().map_or(0.0, |checkpoint| checkpoint.progress.seconds);
    let learner = Learner::bind(config, checkpoint).await?;
    let (learner, choice) = tokio::task::spawn_blocking(move || settle_split(learner, open)).await??;
    let config = &learner.config().clone();
    let metrics = serve_metrics(&learner, stop.child_token()).await?;
    let run_dir = RunDir::create(config, beginning.run_dir.as_deref())?;
    let store = beginning.store.unwrap_or_else(|| default_store(run_dir.path()));
    telemetry::init_logs(config.log_format, Some(&run_dir.file("learner.log")))?;
    tracing::info!("metrics at http://{metrics}/metrics");
    run_dir.warning().iter().for_each(|warning| tracing::warn!("{warning}"));
    for note in note.into_iter().chain(choice) {
        tracing::info!("{note}");
        if shows_progress {
            print_note(&note);
        }
    }
    let mut actors = ActorProcesses::start(config, learner.address(), run_dir.path())?;
    let run_over = CancellationToken::new();
    let learner_started = Instant::now();
    let training = async {
        let outcome = learner.run(run_dir.clone(), store, shows_progress, stop.clone()).await;
        run_over.cancel();
        outcome
    };
    let watching = async {
        actors.watch_over(&run_over).await;
        // The actors may be the first to know that the run is over.
        let waited_in_vain = tokio::time::timeout(DESERTED, run_over.cancelled()).await.is_err();
        // An interrupt ends the actors too, and the learner may be about to follow.
        let is_deserted = waited_in_vain && !stop.is_cancelled();
        if is_deserted {
            stop.cancel();
        }
        is_deserted
    };
    let (outcome, is_deserted) = tokio::join!(training, watching);
    actors.finish().await;
    let mut outcome = outcome?;
    // Desertion ends a run like an interrupt; any other end has a reason of its own.
    if is_deserted && outcome.summary.end == RunEnd::Interrupted {
        let reason = format!("too few actor processes are left; see the logs in {}", run_dir.path().display());
        outcome.summary.end = RunEnd::Failed(reason);
    }
    let training_end = learner_started + Duration::from_secs_f64((outcome.summary.seconds - seconds_before).max(0.0));
    Ok(Trained { outcome, training_end, run_dir, seconds_before })
}

/// Chooses what nobody gave of actors and learner threads, and says so if it took a measurement.
fn settle_split(learner: Learner, open: OpenSplit) -> anyhow::Result<(Learner, Option<String>)> {
    let config = learner.config();
    let (cores, actors) = (std::thread::available_parallelism().map_or(1, NonZero::get), config.actors);
    if !open.actors {
        // Where the actors are settled, the learner has what they leave of all cores: on two, a large batch was trained
        // 1.7 times as fast by two threads beside an actor as by one.
        let threads = if open.learner_threads { cores } else { config.learner_threads };
        return Ok((learner.with_split(actors, threads), None));
    }
    let costs = split::measure(config, learner.device(), open, cores)?;
    let demand = Demand {
        trajectories_per_batch: config.trajectories_per_batch(),
        frames: config.unroll_length * config.environments_per_actor,
        in_flight_max: config.in_flight_max,
    };
    let split = split::split(cores, &costs, demand);
    let threads = if open.learner_threads { split.learner_threads } else { config.learner_threads };
    let learner = learner.with_split(u32::try_from(split.actors)?, threads);
    learner.config().check_actors()?;
    Ok((learner, Some(split.to_string())))
}

/// Where the wall time went, seconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Times {
    /// From the start of the process until the trainer had its first batch.
    start_up: f64,
    training: f64,
    shut_down: f64,
    evaluation: f64,
}

/// The greedy policy over fresh episodes.
#[derive(Clone, Copy, Debug, Serialize)]
struct Greedy {
    episodes: usize,
    mean: f64,
    min: f64,
    max: f64,
}

/// `summary.json`: everything that the printed summary tells, for scripts.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// The goal that both the training's and the greedy policy's mean are measured by.
    solved_return: f64,
    greedy: Greedy,
    seconds_by_phase: Times,
}

impl Report<'_> {
    /// Prints the report and leaves it in the run's directory as `summary.txt` and `summary.json`.
    fn publish(&self, run_dir: &RunDir) -> anyhow::Result<()> {
        let text = format!("{self}run           {}\n", run_dir.path().display());
        let json = format!("{}\n", serde_json::to_string_pretty(self)?);
        for (name, content) in [("summary.txt", &text), ("summary.json", &json)] {
            let path = run_dir.file(name);
            std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        print_text(&text)
    }
}

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Greedy { episodes, mean, min, max } = self.greedy;
        let Times { start_up, training, shut_down, evaluation } = self.seconds_by_phase;
        let wall = start_up + training + shut_down + evaluation;
        writeln!(f, "{}", self.summary)?;
        writeln!(f, "greedy        mean {mean:.2}, min {min:.2}, max {max:.2} over {episodes} fresh episodes")?;
        writeln!(
            f,
            "wall time     {wall:.2} s = {start_up:.2} start-up + {training:.2} training + {shut_down:.2} shut-down + \
             {evaluation:.2} evaluation"
        )
    }
}
