//! `impala train`: one learner in this process, actors in their own, on this machine.

use crate::actors::ActorProcesses;
use crate::browser;
use crate::split::{self, Demand};
use impala_common::process::elsewhere::ElsewhereArgs;
use impala_env::Registry;
use impala_learner::app::launch::{self, Display, Launched, Plan, Possession, Telemetry};
use impala_learner::app::{Finished, Learner, Outcome};
use impala_learner::cli::LearnerArgs;
use impala_learner::config::{Config, OpenSplit};
use impala_learner::report::sinks::console;
use impala_learner::report::summary::{self, RunEnd, Summary};
use impala_policy::evaluate::{self, EvaluationPlan, Mode, Score};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Episodes of the evaluation of a run that has verified none of its policies.
const EVALUATION_EPISODES: usize = 100;
/// Time without any actor process after which the run is given up.
const DESERTED: Duration = Duration::from_secs(2);

/// Flags of a learner with its actors.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TrainArgs {
    /// Open the live view in a browser.
    #[arg(long)]
    open: bool,

    #[command(flatten)]
    learner: LearnerArgs,
}

/// Trains, evaluates, prints the summary. `started` is the start of the process.
///
/// # Errors
/// The configuration is refused, or learner or actors cannot start or write their results.
pub(crate) fn run(
    args: TrainArgs,
    elsewhere: &ElsewhereArgs,
    registry: &Registry,
    started: Instant,
) -> anyhow::Result<ExitCode> {
    let TrainArgs { open: opens_page, learner: args } = args;
    if args.accept_spec {
        anyhow::bail!(
            "--accept-spec: `train` has its actors' environments; use `impala learner --accept-spec` and start actors beside it"
        );
    }
    let args = args.on_only_environment(elsewhere)?;
    let plan = Plan::settle(args.settings, args.config.as_deref(), args.resume.as_deref(), registry)?;
    let mut plan = plan.with_owner(args.checkpoint_owner);
    let open = adapt(&mut plan)?;
    if opens_page && !plan.config.serving.is_web() {
        anyhow::bail!("--open: this run has no live view to open; add --web, or leave out --open");
    }
    if args.print_config {
        console::print(&plan.config.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    let shows_progress = !args.quiet;
    let display = Display { logs_to_file: true, prints_notes: shows_progress, shows_progress };
    let seconds_before = plan.seconds_before();
    let serving = plan.config.serving.clone();
    launch::block_on(&serving, async {
        let mut launched = plan.bring_up(display, move |learner| settle_split(learner, open)).await?;
        if let Some(results) = launched.results.take() {
            return launched.tell_again(&results).await;
        }
        if opens_page {
            browser::open(launched.probes.address());
        }
        let (config, run_dir) = (launched.learner.config().clone(), launched.run_dir.clone());
        let stop = launched.stop.clone();
        let trained = train(launched, elsewhere, started, seconds_before).await?;
        let mut printed = Ok(());
        let write = |outcome: &Outcome| {
            let report = Report::new(&config, outcome, &trained.marks)?;
            let written = summary::write(&run_dir, &report);
            // Also where it could not be written.
            printed = summary::print(&run_dir, &report);
            written
        };
        let outcome = trained.finished.conclude(write, &stop).await;
        if let Some(possession) = trained.possession {
            possession.release().await;
        }
        trained.probes.end().await;
        printed?;
        let outcome = outcome?;
        Ok(outcome.summary.end.exit_code(false))
    })
}

/// Changes what is different where learner and actors share a machine; tells what is settled only when the run starts.
fn adapt(plan: &mut Plan) -> anyhow::Result<OpenSplit> {
    let environment = plan.config.environment();
    if !environment.can_be_made() {
        anyhow::bail!(
            "environment = {}: neither this program nor the actors that `train` starts have it; use `impala learner` and start actors beside it that have",
            environment.name()
        );
    }
    let given = plan.given();
    // The actors of a deterministic run are part of what it computes: they do not depend on the machine.
    let open = OpenSplit {
        actors: given.rollout.actors.is_none() && given.task.deterministic != Some(true),
        learner_threads: given.compute.learner_threads.is_none(),
    };
    if !plan.names_listen {
        // The actors are told the port, so any free one will do; two runs on a machine do not meet.
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        plan.config = plan.config.clone().with_derived_listen(any);
    }
    plan.config = plan.config.clone().with_open_split(open);
    if !open.actors {
        plan.config.check_actors()?;
    }
    if plan.config.serving.keep_serving {
        anyhow::bail!(
            "keep_serving = true: `train` ends with its run; use `impala learner --keep-serving` and start actors beside it"
        );
    }
    Ok(open)
}

/// What learner and actors leave.
struct Trained {
    finished: Finished,
    marks: Marks,
    probes: Telemetry,
    possession: Option<Possession>,
}

/// Moments by which the wall time is divided.
struct Marks {
    process_started: Instant,
    learner_started: Instant,
    /// Learner and actors have ended.
    ended: Instant,
    /// What earlier processes of a resumed run took.
    seconds_before: f64,
}

/// Runs learner and actors to the end of the run.
async fn train(
    launched: Launched,
    elsewhere: &ElsewhereArgs,
    process_started: Instant,
    seconds_before: f64,
) -> anyhow::Result<Trained> {
    let Launched { learner, run_dir, store, stop, shows_progress, probes, possession, .. } = launched;
    let count = if learner.is_over() { 0 } else { learner.config().rollout.actors };
    let mut actors = ActorProcesses::start(count, (learner.config(), elsewhere), learner.address(), run_dir.path())?;
    let run_over = CancellationToken::new();
    let learner_started = Instant::now();
    let training = async {
        let finished = learner.train(run_dir.clone(), store, shows_progress, &stop).await;
        run_over.cancel();
        finished
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
    let (finished, is_deserted) = tokio::join!(training, watching);
    actors.finish().await;
    let mut finished = finished?;
    finished.settle(&run_dir, shows_progress, &stop).await;
    // Desertion ends a run like an interrupt; any other end has a reason of its own.
    if let Ok(Outcome { summary, .. }) = &mut finished.outcome
        && is_deserted
        && summary.end == RunEnd::Interrupted
    {
        let reason = format!("too few actor processes are left; see the logs in {}", run_dir.path().display());
        summary.end = RunEnd::Failed(reason);
    }
    let marks = Marks { process_started, learner_started, ended: Instant::now(), seconds_before };
    Ok(Trained { finished, marks, probes, possession })
}

/// Chooses what nobody gave of actors and learner threads, and says so if it took a measurement.
fn settle_split(learner: Learner, open: OpenSplit) -> anyhow::Result<(Learner, Option<String>)> {
    let config = learner.config();
    let (cores, actors) = (std::thread::available_parallelism().map_or(1, NonZero::get), config.rollout.actors);
    if !open.actors {
        // Where the actors are settled, the learner has what they leave of all cores: on two, a large batch was trained
        // 1.7 times as fast by two threads beside an actor as by one.
        let threads = if open.learner_threads { cores } else { config.compute.learner_threads };
        return Ok((learner.with_split(actors, threads), None));
    }
    let costs = split::measure(config, learner.device(), open, cores)?;
    let demand = Demand {
        trajectories_per_batch: config.few_columns() / config.rollout.environments_per_actor,
        trajectories_needed: config.fixed_trajectories().unwrap_or(1),
        frames: config.rollout.frames_per_trajectory(),
        in_flight_max: config.rollout.in_flight_max,
        network_threads: config.serving.network_threads(),
    };
    let split = split::split(cores, &costs, demand);
    let threads = if open.learner_threads { split.learner_threads } else { config.compute.learner_threads };
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

/// `summary.json`: everything that the printed summary tells, for scripts.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// The goal that both the training's and the evaluated policy's mean are measured by.
    solved_return: f64,
    /// What the policy that the run leaves reached in fresh episodes, by the most probable actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    greedy: Option<Score>,
    /// The same by actions drawn from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampled: Option<Score>,
    seconds_by_phase: Times,
}

impl<'a> Report<'a> {
    /// Adds it up. Evaluates the policy of an unsolved run, which takes a moment; that of a solved one was.
    fn new(config: &Config, outcome: &'a Outcome, marks: &Marks) -> anyhow::Result<Self> {
        let Outcome { summary, network, parameters } = outcome;
        let Marks { process_started, learner_started, ended, seconds_before } = *marks;
        let (mode, score) = match &summary.verification.verified {
            Some(verified) => (verified.mode, verified.score),
            None => {
                let mode = config.goal.evaluation;
                let plan = EvaluationPlan { mode, ..EvaluationPlan::new(EVALUATION_EPISODES, config.task.seed) };
                let play = || evaluate::play(config.environment(), network, parameters, plan, &|| false);
                // Metrics and probes go on meanwhile.
                (mode, tokio::task::block_in_place(play)?.score())
            }
        };
        let by = |wanted| (mode == wanted).then_some(score);
        // Of this process: a resumed run had its first batch in an earlier one.
        let training = summary.seconds - summary.seconds_to_first_batch.max(seconds_before);
        let training_end = learner_started + Duration::from_secs_f64((summary.seconds - seconds_before).max(0.0));
        Ok(Self {
            summary,
            solved_return: config.solved_return(),
            greedy: by(Mode::Greedy),
            sampled: by(Mode::Sampled),
            seconds_by_phase: Times {
                start_up: training_end.saturating_duration_since(process_started).as_secs_f64() - training,
                training,
                shut_down: ended.saturating_duration_since(training_end).as_secs_f64(),
                evaluation: ended.elapsed().as_secs_f64(),
            },
        })
    }
}

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Times { start_up, training, shut_down, evaluation } = self.seconds_by_phase;
        let wall = start_up + training + shut_down + evaluation;
        writeln!(f, "{}", self.summary)?;
        if self.summary.verification.verified.is_none() {
            for (mode, score) in [(Mode::Greedy, &self.greedy), (Mode::Sampled, &self.sampled)] {
                score.iter().try_for_each(|score| writeln!(f, "{}", summary::evaluation_line(mode, score)))?;
            }
        }
        write!(
            f,
            "wall time     {wall:.2} s = {start_up:.2} start-up + {training:.2} training + {shut_down:.2} shut-down + \
             {evaluation:.2} evaluation"
        )
    }
}
